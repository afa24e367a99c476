"""The viewer in a real browser: what it draws, and its switches."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import InputError, MissingPartError
from voxterra.io.gltf import write_glb
from voxterra.viewer.scene import Scene, load_scene
from voxterra.viewer.server import serve

RED, GREEN = (200, 30, 30), (30, 180, 40)


def looking_down(x: float, y: float, height: float) -> np.ndarray:
    """cam_from_world of a camera that looks straight down, its top to the north."""
    rotation = np.diag([1.0, -1.0, -1.0])
    return np.hstack([rotation, (-rotation @ [x, y, height])[:, None]])


def small_scene(folder: Path) -> Scene:
    """A red square with a green cloud of points above it, seen by two cameras."""
    corners = np.array([[-5, -5, 0], [5, -5, 0], [5, 5, 0], [-5, 5, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    mesh = TriMesh(corners, faces, np.array([RED] * 4, np.uint8))
    write_glb(mesh, folder / "scene.glb", GeoFrame.local())
    cells = np.stack(np.meshgrid(np.linspace(-5, 5, 60), np.linspace(-5, 5, 60)), -1).reshape(-1, 2)
    points = np.column_stack([cells, np.full(len(cells), 0.5)])
    cloud = PointCloud(points, np.array([GREEN] * len(points), np.uint8))
    nothing = SparsePoints(
        np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), np.zeros(1, np.int64),
        np.zeros(0, np.int32), np.zeros((0, 2)),
    )  # fmt: skip
    camera = Camera("SIMPLE_PINHOLE", 400, 300, (350.0, 200.0, 150.0))
    images = tuple(
        Image(name, 1, looking_down(x, 0.0, 6.0)) for name, x in (("a.jpg", -2.0), ("b.jpg", 2.0))
    )
    components = (Reconstruction({1: camera}, images, nothing),)
    glb = (folder / "scene.glb").read_bytes()
    return Scene("small", glb, cloud, components, GeoFrame.local())


def share(screenshot: bytes, color: tuple[int, int, int]) -> float:
    """Fraction of a picture that has nearly the hue of a colour."""
    pixels = np.asarray(PilImage.open(io.BytesIO(screenshot)).convert("RGB"), float)
    main = int(np.argmax(color))
    others = np.delete(pixels, main, axis=2).max(axis=2)
    return float((pixels[..., main] > 2.0 * others + 10).mean())


def test_mesh_cloud_and_cameras_are_drawn_and_can_be_switched(page, tmp_path):
    pytest.importorskip("viser")
    server = serve(small_scene(tmp_path), host="127.0.0.1", port=8090)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    try:
        page.goto(f"http://127.0.0.1:{server.get_port()}")
        page.get_by_text("Cameras (2)").wait_for(timeout=60_000)
        page.wait_for_timeout(1500)
        first = page.screenshot()
        page.get_by_role("checkbox", name="Mesh").uncheck()
        page.get_by_role("checkbox", name="Cloud (3,600 points)").check()
        page.wait_for_timeout(1500)
        second = page.screenshot()
    finally:
        server.stop()
    if folder := os.environ.get("VOXTERRA_SCREENSHOTS"):
        (Path(folder) / "view_mesh.png").write_bytes(first)
        (Path(folder) / "view_cloud.png").write_bytes(second)
    assert share(first, RED) > 0.05 and share(first, GREEN) < 0.001
    assert share(second, GREEN) > 0.02 and share(second, RED) < 0.005
    assert not failures


def test_without_viser_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(MissingPartError) as caught:
        serve(small_scene(tmp_path), host="127.0.0.1", port=8091)
    # Neither a checkout nor a wheel that no registry has knows the name voxterra[viewer].
    assert f"pip --python {sys.executable} install viser" in str(caught.value)


def test_a_folder_without_cameras_is_an_input_error(tmp_path):
    with pytest.raises(InputError):
        load_scene(tmp_path)
