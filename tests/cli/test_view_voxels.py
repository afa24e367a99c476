"""Voxels in the viewer: what is painted, how it keeps up with a camera, and in a real browser."""

from __future__ import annotations

import io
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from voxel_models import around_surface, model_of, octants, sphere, tree

from voxterra.cli.main import main
from voxterra.core.geo import GeoFrame
from voxterra.core.voxels import SH_C0, VoxelModel, decode_paths
from voxterra.errors import MissingPartError
from voxterra.io.depth_store import write_views
from voxterra.io.voxels import write_voxels
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.folder import CONFIG, MODEL, write_training
from voxterra.surface.voxels.options import Training
from voxterra.testing import look_at
from voxterra.viewer.scene import load_scene
from voxterra.viewer.server import serve

pytest.importorskip("torch")
from voxterra.viewer import painter as viewer_painter
from voxterra.viewer.painter import SHOWS, Painter
from voxterra.viewer.voxel_layer import VoxelLayer, view_of

RADIUS = 0.7
FRONT = look_at("front.jpg", (0.0, -3.0, 0.0), (0.0, 0.0, 0.0), width=120, height=90, focal_px=150)


@pytest.fixture(scope="module")
def model() -> VoxelModel:
    """A ball, red in the east (x > 0) and green in the west; its voxels differ by octants."""
    path, level = tree(around_surface(sphere(RADIUS), octants(5, 6)), edge=4.0)
    ball = model_of(sphere(RADIUS), path, level)
    east = decode_paths(path)[:, 0] >= 1 << 15
    colors = np.where(east[:, None], [0.9, 0.1, 0.1], [0.1, 0.8, 0.1])
    sharp = (16 / 4.0 * 2.0 ** np.arange(17)).astype(np.float32)
    background = np.zeros(3, np.float32)
    sh0 = ((colors - 0.5) / SH_C0).astype(np.float32)
    return replace(ball, sh0=sh0, sharpness=sharp, background=background)


@pytest.fixture
def folder(model, tmp_path) -> Path:
    """As `voxterra train` leaves it."""
    write_voxels(model, tmp_path / "ball" / MODEL)
    write_training(Training(None, "images", VoxelConfig()), tmp_path / "ball")
    write_views((FRONT,), tmp_path / "ball")
    return tmp_path / "ball"


@pytest.fixture(scope="module")
def painter(model) -> Painter:
    return Painter(model, "cpu")


def at(picture: np.ndarray, view, point: tuple[float, float, float]) -> np.ndarray:
    """The colour where a view sees a point."""
    (x, y), _ = (a[0] for a in view.project(np.array([point])))
    return picture[int(y), int(x)].astype(int)


def test_colours_are_those_of_the_voxels_where_they_are(painter):
    picture = painter.draw(FRONT)
    assert picture.shape == (90, 120, 3) and picture.dtype == np.uint8
    assert at(picture, FRONT, (0.4, -0.5, 0.3)) == pytest.approx([230, 25, 25], abs=12)
    assert at(picture, FRONT, (-0.4, -0.5, 0.3)) == pytest.approx([25, 204, 25], abs=12)
    assert picture[2, 2].max() < 5  # the background


def test_normals_depth_and_levels(painter, model):
    normal = painter.draw(FRONT, "normal")
    assert at(normal, FRONT, (0, -RADIUS, 0)) == pytest.approx([128, 0, 128], abs=14)
    assert at(normal, FRONT, (0, 0, RADIUS - 0.05))[2] > 190  # up
    depth = painter.draw(FRONT, "depth")
    assert at(depth, FRONT, (0, -RADIUS, 0))[0] > at(depth, FRONT, (0.5, -0.4, 0))[0] > 34
    level = painter.draw(FRONT, "level")
    coarse, fine = at(level, FRONT, (-0.35, -0.5, -0.35)), at(level, FRONT, (0.35, -0.5, -0.35))
    wanted = octants(5, 6)(np.array([[-0.35, -0.5, -0.35], [0.35, -0.5, -0.35]]))
    assert list(wanted) == [5, 6] and painter.levels == (5, 6)
    assert coarse[2] > 2 * coarse[0] and fine[0] > 2 * fine[2]  # blue and red
    for show in SHOWS[1:]:
        assert tuple(painter.draw(FRONT, show)[2, 2]) == (34, 34, 38)
    assert f"level 6: {model.inside_edge * 2 / 64:.3g}" in painter.legend()


def test_large_pictures_of_depth_tell_its_range(painter, model, monkeypatch):
    told = []
    real = viewer_painter.with_text
    monkeypatch.setattr(
        viewer_painter, "with_text", lambda p, text: told.append(text) or real(p, text)
    )
    large = FRONT.resized(480, 360)
    picture = painter.draw(large, "depth")
    near, far = (float(word) for word in told[0].split() if word[0].isdigit())
    assert 2.3 - 0.02 < near < far < 3.0 and told[0].endswith("world units")
    assert picture.shape == (360, 480, 3) and (picture[-30:, :200] > 200).any()
    painter.draw(large), painter.draw(large, "normal"), painter.draw(FRONT, "depth")
    assert len(told) == 1
    on_the_map = replace(model, metadata={"frame": GeoFrame.local(scale_known=True).to_dict()})
    Painter(on_the_map, "cpu").draw(large, "depth")
    assert told[1].endswith(f"{far:g} m")


def camera_at(view, width: int = 1200, height: int = 900) -> SimpleNamespace:
    """The camera of a browser that stands like a view."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(view.cam_from_world[:, :3].T).as_quat(scalar_first=True)
    return SimpleNamespace(
        wxyz=turn, position=view.center_in_world, fov=2 * np.arctan(view.height / 2 / view.K[1, 1]),
        aspect=view.width / view.height, image_width=width, image_height=height,
        on_update=lambda call: None,
    )  # fmt: skip


def test_a_browsers_camera_is_the_view_it_stands_for():
    seen = view_of(camera_at(FRONT), 240)
    assert (seen.width, seen.height) == (240, 180)
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (20, 3))
    assert np.allclose(seen.project(points)[0], FRONT.resized(240, 180).project(points)[0])


class Browsers:
    """A server whose browsers keep what they were sent."""

    def __init__(self):
        self.sent: list[np.ndarray | None] = []

    def on_client_connect(self, call):
        self.connect = call

    def on_client_disconnect(self, call):
        self.disconnect = call

    def open(self, camera) -> SimpleNamespace:
        moves = []
        camera.on_update = moves.append
        scene = SimpleNamespace(set_background_image=lambda image, **_: self.sent.append(image))
        client = SimpleNamespace(client_id=1, camera=camera, scene=scene)
        self.connect(client)
        client.move = lambda: moves[0](None)
        return client

    def wait(self, count: int) -> None:
        end = time.monotonic() + 20
        while len(self.sent) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.sent) >= count


def test_images_are_small_while_the_camera_moves_and_full_at_rest(painter):
    browsers = Browsers()
    layer = VoxelLayer(browsers, painter)
    client = browsers.open(camera_at(FRONT))
    browsers.wait(2)
    quick, full = (image.shape for image in browsers.sent)
    assert quick[1] == 160 and full == (600, 800, 3)
    for _ in range(10):
        client.move()
        time.sleep(0.05)  # always less than REST_S
    moving = [image.shape[1] for image in browsers.sent[2:]]
    assert moving and max(moving) <= 640
    browsers.wait(2 + len(moving) + 1)
    time.sleep(1.0)
    assert browsers.sent[-1].shape == (600, 800, 3)
    count = len(browsers.sent)
    layer.visible = False
    browsers.wait(count + 1)
    assert browsers.sent[-1] is None
    browsers.disconnect(client)
    time.sleep(0.4)
    count = len(browsers.sent)
    layer.visible = True
    time.sleep(0.2)
    assert len(browsers.sent) == count


def test_what_cannot_be_drawn_is_said_in_the_browser_and_logged_once(painter, monkeypatch, caplog):
    said = []
    real = viewer_painter.with_text
    monkeypatch.setattr(
        viewer_painter, "with_text", lambda p, text: said.append(text) or real(p, text)
    )
    draw, broken = Painter.draw, [True]

    def fails(self, view, show="colour"):
        if broken:
            raise RuntimeError("CUDA error: out of memory\nmore lines")
        return draw(self, view, show)

    monkeypatch.setattr(Painter, "draw", fails)
    browsers = Browsers()
    VoxelLayer(browsers, painter)
    client = browsers.open(camera_at(FRONT))
    browsers.wait(2)
    why = "RuntimeError: CUDA error: out of memory"
    assert set(said) == {f"Voxels cannot be drawn: {why}"}
    assert [r.message for r in caplog.records] == [f"voxels cannot be drawn: {why}"]
    broken.clear()
    client.move()
    browsers.wait(4)
    assert browsers.sent[-1].std() > 20  # it is drawn again


def test_the_folder_of_a_model_is_something_to_look_at(folder, model):
    scene = load_scene(folder)
    assert scene.model.n_voxels == model.n_voxels and [v.name for v in scene.views] == ["front.jpg"]
    (folder / MODEL).unlink()
    (folder / "checkpoints").mkdir()
    assert main(["view", str(folder)]) == 3  # a training that has not come to its end


def test_a_run_that_was_trained_has_voxels_too(folder, tmp_path, monkeypatch):
    from voxterra.viewer import scene as viewer_scene

    stage = tmp_path / "run/stages/surface"
    stage.mkdir(parents=True)
    (tmp_path / "run/stages/sfm").mkdir()
    (folder / MODEL).rename(stage / MODEL)
    monkeypatch.setattr(viewer_scene, "_cloud", lambda *_: None)
    assert load_scene(tmp_path / "run").model is not None
    assert (folder / CONFIG).is_file()


def test_without_torch_it_says_how_to_install_it(folder, monkeypatch):
    pytest.importorskip("viser")
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "torch" else real(name))
    with pytest.raises(MissingPartError, match="PyTorch"):
        serve(load_scene(folder), host="127.0.0.1", port=8093)
    assert "torch" in sys.modules


def shares(screenshot: bytes) -> dict[str, float]:
    """Parts of the left and right half of a page's scene that are red and green."""
    pixels = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"), float)[:, :, :3]
    out = {}
    for side, half in (("left", pixels[:, :450]), ("right", pixels[:, 450:])):
        for color, channel in (("red", 0), ("green", 1)):
            others = np.delete(half, channel, axis=2).max(axis=2)
            out[f"{side} {color}"] = float((half[..., channel] > 2 * others + 20).mean())
    return out


def test_a_browser_shows_the_model_and_its_levels(page, folder):
    pytest.importorskip("viser")
    server = serve(load_scene(folder), host="127.0.0.1", port=8092, device="cpu")
    try:
        page.goto(f"http://127.0.0.1:{server.get_port()}")
        page.get_by_text("Cameras (1)").wait_for(timeout=60_000)
        page.get_by_role("checkbox", name="Cameras (1)").uncheck()
        page.wait_for_timeout(3000)
        first = page.screenshot()
        page.get_by_role("combobox", name="Show").click(timeout=5000)
        page.get_by_role("option", name="level").click(timeout=5000)
        page.get_by_text("Edges of voxels").wait_for(timeout=5000)
        page.wait_for_timeout(2000)
        second = page.screenshot()
        page.get_by_role("checkbox", name="Voxels").uncheck()
        page.wait_for_timeout(1500)
        third = page.screenshot()
    finally:
        server.stop()
    if screenshots := os.environ.get("VOXTERRA_SCREENSHOTS"):
        for name, image in (("colour", first), ("level", second), ("off", third)):
            (Path(screenshots) / f"view_voxels_{name}.png").write_bytes(image)
    seen = shares(first)
    assert seen["left green"] > 0.03 and seen["right red"] > 0.03
    assert seen["left red"] < 0.01 and seen["right green"] < 0.01
    assert shares(second)["left green"] < 0.01
    assert max(shares(third).values()) < 0.01
