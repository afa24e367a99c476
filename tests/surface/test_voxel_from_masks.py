"""The visual hull of masks, of a sphere and of a photographed chair."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from voxel_shapes import around, mask_scene, photo, points_in, sphere  # noqa: E402, I001

from voxterra.core.camera import Camera, PinholeView  # noqa: E402
from voxterra.errors import InputError  # noqa: E402
from voxterra.io.ply import read_ply  # noqa: E402
from voxterra.surface.voxels.config import VoxelConfig  # noqa: E402
from voxterra.surface.voxels.octree import Cube  # noqa: E402
from voxterra.surface.voxels.scene.scene import Scene, SceneView  # noqa: E402
from voxterra.surface.voxels.start.bounds import main_bound  # noqa: E402
from voxterra.surface.voxels.start.first_field import initial_sdf  # noqa: E402
from voxterra.surface.voxels.start import from_masks as init_masks  # noqa: E402

CUBE = Cube((0.0, 0.0, 0.0), 2.6, 5)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    monkeypatch.setattr(init_masks, "GRID", 80)


def values(field, points):
    return field(torch.from_numpy(np.asarray(points, np.float32))).numpy()


def test_hull_of_a_sphere():
    field = initial_sdf(mask_scene(around(40), sphere), CUBE, VoxelConfig())
    assert field.report.evidence == "masks"
    assert "40 masks" in field.report.line()
    points = points_in(CUBE.center, CUBE.inside_edge, 20_000)
    true, got = sphere(points), values(field, points)
    # The hull holds the sphere, and is a little larger between the views.
    assert (got[true < -0.02] < 0).all()
    assert (got[true > 0.12] > 0).mean() > 0.999
    assert np.median(np.abs(got - true)[np.abs(true) < 0.2]) < 0.05
    step = np.array([1e-2, 0, 0])
    slope = values(field, points + step) - values(field, points - step)
    assert np.abs(slope).max() < 3e-2


def test_a_mask_that_fails_on_one_photo_costs_little():
    scene = mask_scene(around(40), sphere)
    failed = np.zeros_like(scene.views[0].mask)
    failed[:4, :4] = 255
    views = (replace(scene.views[0], mask=failed), *scene.views[1:])
    field = initial_sdf(replace(scene, views=views), CUBE, VoxelConfig())
    points = points_in(CUBE.center, CUBE.inside_edge, 5000)
    assert (values(field, points)[sphere(points) < -0.05] < 0).all()


def test_masks_without_any_object_name_a_photo():
    views = around(3)
    black = np.zeros((120, 160), np.uint8)
    scene = Scene(tuple(photo(view, None, black) for view in views), None, None, "test")
    with pytest.raises(InputError, match="all are black") as error:
        initial_sdf(scene, CUBE, VoxelConfig())
    assert "0.png" in error.value.where


def test_masks_of_everything_tell_nothing(caplog):
    white = np.full((120, 160), 255, np.uint8)
    scene = Scene(tuple(photo(view, None, white) for view in around(3)), None, None, "test")
    assert initial_sdf(scene, CUBE, VoxelConfig()).report.evidence == "sphere"
    with pytest.raises(InputError, match="no two masks"):
        initial_sdf(scene, CUBE, VoxelConfig(init="masks"))


def test_a_bound_beside_the_object():
    scene = mask_scene(around(8), sphere)
    with pytest.raises(InputError, match="agree on no object"):
        initial_sdf(scene, Cube((1.6, 0.0, 0.0), 0.8, 5), VoxelConfig())


def chair(folder) -> Scene:
    data = json.loads((folder / "transforms_train.json").read_text())
    views = []
    for frame in data["frames"]:
        alpha = np.asarray(Image.open(folder / f"{frame['file_path']}.png"))[..., 3]
        alpha = alpha[1::2, 1::2]
        height, width = alpha.shape
        focal = 0.5 * width / np.tan(0.5 * data["camera_angle_x"])
        world_from_cam = np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        camera = Camera("PINHOLE", width, height, (focal, focal, width / 2, height / 2))
        pose = np.linalg.inv(world_from_cam)[:3]
        view = PinholeView(frame["file_path"], K, pose, width, height, camera)
        views.append(SceneView(view, np.zeros((height, width, 3), np.uint8), alpha))
    return Scene(tuple(views), None, None, "chair")


def test_hull_of_the_chair_holds_the_chair(shared_data, monkeypatch):
    folder = shared_data("object_chair_synthetic")
    monkeypatch.setattr(init_masks, "GRID", 128)
    scene = chair(folder)
    vertices = read_ply(folder / "gt_mesh" / "gt_mesh.ply")[0].vertices.astype(np.float64)
    cube = main_bound(scene, VoxelConfig())
    assert (np.abs(vertices - np.array(cube.center)) < cube.inside_edge / 2).all()
    # The bound is tight: found by the masks, not by the cameras, which are 4 away.
    assert cube.inside_edge < 1.4 * float(np.ptp(vertices, axis=0).max())
    field = initial_sdf(scene, cube, VoxelConfig())
    sdf = values(field, vertices)
    cell = cube.inside_edge / 128
    assert (sdf < cell).mean() > 0.99
    assert (sdf < 0).mean() > 0.9
    assert field.report.inside < 0.25
