"""Sparse voxels in the browser: the server renders what each client's camera sees, and the image
stands behind the scene. While a camera moves it is small enough to keep up; at rest it gets its
full size.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.voxels import VoxelModel
from voxterra.viewer.painter import SHOWS, Painter, Pixels, failure_picture

logger = logging.getLogger(__name__)

REST_S = 0.3
"""A camera that has not moved for this long is at rest."""
QUICK_S = 0.12
"""An image should take no longer than this while the camera moves."""
QUICK_PX = (64, 640)
"""Limits of the longer side of the images while the camera moves."""


def view_of(camera: Any, longer_px: int) -> PinholeView:
    """The pinhole view of a viser camera (x right, y down, z forward), of limited size."""
    from scipy.spatial.transform import Rotation

    aspect = float(camera.aspect)
    height = max(8, round(longer_px / max(1.0, aspect)))
    width = max(8, round(height * aspect))
    focal = height / 2 / np.tan(float(camera.fov) / 2)
    world_from_cam = Rotation.from_quat(np.asarray(camera.wxyz), scalar_first=True).as_matrix()
    turn = world_from_cam.T
    pose = np.column_stack([turn, -turn @ np.asarray(camera.position, np.float64)])
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    params = (focal, focal, width / 2, height / 2)
    return PinholeView("viewer", K, pose, width, height, Camera("PINHOLE", width, height, params))


@dataclass
class _Screen:
    """A browser: when its camera moved, and which images it still needs."""

    client: Any
    moved: float = field(default_factory=time.monotonic)
    quick: bool = True
    full: bool = True

    def touch(self) -> None:
        self.moved, self.quick, self.full = time.monotonic(), True, True


class VoxelLayer:
    """Renders for all browsers of a server, one image at a time, in a thread of its own."""

    def __init__(self, server: Any, painter: Painter):
        self.painter, self.show, self._visible = painter, SHOWS[0], True
        self._screens: dict[int, _Screen] = {}
        self._changed = threading.Condition()
        self._quick_px = 160.0
        self._failed = ""  # why the last picture could not be drawn
        server.on_client_connect(self._connect)
        server.on_client_disconnect(self._disconnect)
        threading.Thread(target=self._work, name="voxterra-view", daemon=True).start()

    @property
    def visible(self) -> bool:
        return self._visible

    @visible.setter
    def visible(self, value: bool) -> None:
        with self._changed:
            self._visible = value
        self.refresh()

    def set_show(self, show: str) -> None:
        """Show one of `SHOWS`."""
        with self._changed:
            self.show = show
        self.refresh()

    def refresh(self) -> None:
        """Send every browser a new image."""
        with self._changed:
            for screen in self._screens.values():
                screen.touch()
            self._changed.notify()

    def _connect(self, client: Any) -> None:
        screen = _Screen(client)

        def moved(_: Any) -> None:
            with self._changed:
                screen.touch()
                self._changed.notify()

        with self._changed:
            self._screens[client.client_id] = screen
            self._changed.notify()
        client.camera.on_update(moved)

    def _disconnect(self, client: Any) -> None:
        with self._changed:
            self._screens.pop(client.client_id, None)

    def _work(self) -> None:
        while True:
            screen, full = self._next()
            try:
                self._send(screen.client, full)
            except Exception:  # the browser is gone, or its camera not there yet: the next one
                logger.debug("no image for a browser", exc_info=True)

    def _next(self) -> tuple[_Screen, bool]:
        """Wait for the next image to draw: for which browser, and whether at full size."""
        with self._changed:
            while True:
                now, wait = time.monotonic(), None
                for screen in sorted(self._screens.values(), key=lambda s: s.moved):
                    if screen.quick:
                        screen.quick = False
                        return screen, False
                    if screen.full:
                        left = screen.moved + REST_S - now
                        if left <= 0:
                            screen.full = False
                            return screen, True
                        wait = left if wait is None else min(wait, left)
                self._changed.wait(wait)

    def _send(self, client: Any, full: bool) -> None:
        if not self.visible:
            client.scene.set_background_image(None)
            return
        longer = max(client.camera.image_width, client.camera.image_height) or self.painter.full_px
        limit = self.painter.full_px if full else self._quick_px
        view = view_of(client.camera, int(min(longer, limit)))
        begun = time.monotonic()
        image = self._draw(view)
        if not full:
            pace = np.sqrt(QUICK_S / max(1e-3, time.monotonic() - begun))
            self._quick_px = float(np.clip(self._quick_px * np.clip(pace, 0.5, 1.5), *QUICK_PX))
        client.scene.set_background_image(image, format="jpeg", jpeg_quality=90 if full else 75)

    def _draw(self, view: PinholeView) -> Pixels:
        """Draw a view, or a picture with the reason why it cannot be drawn; logged once."""
        try:
            picture = self.painter.draw(view, self.show)
        except Exception as error:  # such as a GPU without memory: the next picture may be drawn
            text = f"{type(error).__name__}: {error}".split("\n")[0]
            if text != self._failed:
                logger.error("voxels cannot be drawn: %s", text)
                logger.debug("voxels cannot be drawn", exc_info=True)
            self._failed = text
            return failure_picture(view, text)
        self._failed = ""
        return picture


def add_voxels(server: Any, model: VoxelModel, device: str = "auto") -> VoxelLayer:
    """Show a model behind the scene, with a switch and a choice of quantities.

    Raises:
        UsageError, MissingPartError: there is no such device, or nothing to render with.
    """
    layer = VoxelLayer(server, Painter(model, device))
    switch = server.gui.add_checkbox(f"Voxels ({model.n_voxels:,})", initial_value=True)
    choice = server.gui.add_dropdown("Show", SHOWS, initial_value=SHOWS[0])
    legend = server.gui.add_markdown(layer.painter.legend(), visible=False)
    switch.on_update(_then(lambda: setattr(layer, "visible", switch.value)))

    def choose() -> None:
        legend.visible = choice.value == "level"
        layer.set_show(choice.value)

    choice.on_update(_then(choose))
    return layer


def _then(action: Callable[[], None]) -> Callable[[Any], None]:
    def update(_: Any) -> None:
        action()

    return update
