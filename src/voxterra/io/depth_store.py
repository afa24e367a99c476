"""Depth maps and undistorted photos on disk: a folder that implements `core.depth.DepthMaps`.

Layout: `views.json`, `color/0000.jpg`, `mask/0000.png` (where the photo has one) and
`depth/0000.npz` with depth (float32), normal (int8, x127) and confidence (uint8, x255).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap
from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.json_file import write_json


class DepthStore:
    """Depth maps of a folder, loaded one at a time."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        path = self.folder / "views.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            self._views = tuple(_view_from_dict(v) for v in data["views"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                "This folder does not hold depth maps.",
                where=str(path),
                next_step="Run the depth step again: voxterra depth RUN.",
            ) from error

    @property
    def views(self) -> tuple[PinholeView, ...]:
        return self._views

    def load(self, index: int) -> DepthMap:
        path = depth_path(self.folder, index)
        try:
            with np.load(path) as data:
                depth = data["depth"]
                normal = data["normal"].astype(np.float32) / 127.0
                confidence = data["confidence"].astype(np.float32) / 255.0
        except (OSError, ValueError, KeyError) as error:
            raise FormatError(
                "A depth map is missing or damaged.",
                where=str(path),
                next_step="Run the depth step again: voxterra depth RUN.",
            ) from error
        height, width = depth.shape
        return DepthMap(self._views[index].resized(width, height), depth, normal, confidence)

    def load_color(self, index: int) -> NDArray[np.uint8]:
        with PilImage.open(color_path(self.folder, index)) as image:
            return np.asarray(image.convert("RGB"))

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        path = mask_path(self.folder, index)
        if not path.exists():
            return None
        with PilImage.open(path) as image:
            return np.asarray(image.convert("L")) > 127


def color_path(folder: Path, index: int) -> Path:
    """Where the undistorted photo of view `index` lies."""
    return folder / "color" / f"{index:04d}.jpg"


def mask_path(folder: Path, index: int) -> Path:
    """Where the undistorted mask of view `index` lies, if the photo has one."""
    return folder / "mask" / f"{index:04d}.png"


def depth_path(folder: Path, index: int) -> Path:
    """Where the depth map of view `index` lies."""
    return folder / "depth" / f"{index:04d}.npz"


def write_views(views: tuple[PinholeView, ...], folder: Path) -> None:
    """Write `views.json`, atomically."""
    write_json({"views": [_view_to_dict(v) for v in views]}, folder / "views.json")


def write_depth(depth_map: DepthMap, path: Path) -> None:
    """Write one depth map, atomically."""
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            depth=depth_map.depth.astype(np.float32),
            normal=np.rint(depth_map.normal * 127).astype(np.int8),
            confidence=np.rint(depth_map.confidence * 255).astype(np.uint8),
        )


def write_image(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write an image by its suffix, atomically; JPEG at a quality that stereo does not notice."""
    options: dict[str, Any] = (
        {"quality": 96, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
    )
    with atomic_path(path) as temporary:
        PilImage.fromarray(pixels).save(temporary, **options)


def _view_to_dict(view: PinholeView) -> dict[str, Any]:
    out = asdict(view)
    out["K"] = view.K.tolist()
    out["cam_from_world"] = view.cam_from_world.tolist()
    return out


def _view_from_dict(data: dict[str, Any]) -> PinholeView:
    camera = data["camera"]
    return PinholeView(
        name=data["name"],
        K=np.array(data["K"], np.float64).reshape(3, 3),
        cam_from_world=np.array(data["cam_from_world"], np.float64).reshape(3, 4),
        width=int(data["width"]),
        height=int(data["height"]),
        camera=Camera(camera["model"], camera["width"], camera["height"], tuple(camera["params"])),
        component=int(data["component"]),
    )
