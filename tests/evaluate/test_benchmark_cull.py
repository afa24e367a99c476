"""Culling by masks and by what cameras see, of flat meshes before one or two cameras."""

import numpy as np
import pytest
from benchmark_files import joined, plate, write_idr

from voxterra.errors import FormatError, InputError
from voxterra.evaluate.cull import MaskedCameras, inside_masks, read_masked_cameras, seen
from voxterra.evaluate.geometry import Geometry

# Ten pixels a unit at depth 10; the first pixel's centre is at (0.5, 0.5).
K = np.array([[100.0, 0, 60], [0, 100.0, 50], [0, 0, 1]])
AT_10 = np.hstack([np.eye(3), [[0], [0], [10.0]]])  # sees z = 0 from below, 10 away
FROM_ABOVE = np.hstack([np.diag([1.0, -1.0, -1.0]), [[0], [0], [10.0]]])


def cameras(*masks, poses=None):
    poses = [AT_10] * len(masks) if poses is None else poses
    return MaskedCameras(np.array([K] * len(masks)), np.array(poses), tuple(masks))


def left_half():
    mask = np.zeros((100, 120), bool)
    mask[:, :60] = True
    return mask


def used(geometry):
    return geometry.vertices[np.unique(geometry.faces)]


@pytest.mark.parametrize(("dilation", "edge"), [(0, -0.1), (5, 0.4), (12, 1.1)])
def test_faces_outside_of_a_grown_mask_go(dilation, edge):
    # Vertices in the middle of pixels: x = 0.05 is in column 60.
    vertices, faces = plate((-4.0, -4.0), (4.0, 4.0), step=0.1)
    mesh = Geometry(vertices + np.array([0.05, 0.05, 0]), faces)
    kept = used(inside_masks(mesh, cameras(left_half()), dilation))
    assert kept[:, 0].max() == pytest.approx(edge + 0.05)
    assert kept[:, 0].min() == pytest.approx(-3.95)
    assert kept[:, 1].max() == pytest.approx(4.05)


def test_every_view_that_shows_a_place_has_its_say():
    mesh = Geometry(*plate((-4.0, -4.0), (4.0, 4.0), step=0.1))
    everything = np.ones((100, 120), bool)
    both = inside_masks(mesh, cameras(everything, left_half()), 0)
    assert used(both)[:, 0].max() < 0
    # A photo that shows nothing of the mesh takes nothing of it away.
    aside = AT_10.copy()
    aside[0, 3] = 100.0
    nothing = np.zeros((100, 120), bool)
    kept = inside_masks(mesh, cameras(everything, nothing, poses=[AT_10, aside]), 0)
    assert len(kept.faces) == len(mesh.faces)
    # What no photo shows goes, also what lies behind the cameras.
    assert not len(inside_masks(mesh, cameras(everything, poses=[aside]), 0).faces)
    behind = Geometry(mesh.vertices - (0, 0, 20), mesh.faces)
    assert not len(inside_masks(behind, cameras(everything), 0).faces)


def test_points_are_culled_as_vertices_are():
    vertices, _ = plate((-4.0, -4.0), (4.0, 4.0), step=0.1)
    kept = inside_masks(Geometry(vertices, None), cameras(left_half()), 0).vertices
    assert 0.45 < len(kept) / len(vertices) < 0.5 and kept[:, 0].max() < 0


def test_what_others_hide_goes():
    front, back = plate((-2, -2), (2, 2), z=0.0, step=0.25), plate((-2, -2), (2, 2), 3.0, 0.25)
    mesh = Geometry(*joined(front, back))
    everything = np.ones((100, 120), bool)
    kept = used(seen(mesh, cameras(everything)))
    assert (kept[:, 2] == 0).sum() == len(front[0])
    # Perspective shows a rim of the back neither: it is smaller than the front.
    assert not (kept[:, 2] == 3).any()
    two = seen(mesh, cameras(everything, everything, poses=[AT_10, FROM_ABOVE]))
    assert len(two.faces) == len(mesh.faces)
    with pytest.raises(InputError, match="point cloud"):
        seen(Geometry(front[0], None), cameras(everything))


def test_cameras_and_masks_of_a_scene(tmp_path):
    file_K = K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    write_idr(tmp_path, file_K, [AT_10, FROM_ABOVE], [left_half()] * 2, 4.0, (1, 2, 3))
    read = read_masked_cameras(tmp_path)
    np.testing.assert_allclose(read.K[0], K, atol=1e-9)
    np.testing.assert_allclose(read.cam_from_world, [AT_10, FROM_ABOVE], atol=1e-9)
    assert (read.masks[1] == left_half()).all()
    np.testing.assert_allclose(read.world_from_sphere.apply(np.array([1.0, 0, 0])), [5, 2, 3])
    (tmp_path / "mask/001.png").write_bytes(b"none")
    with pytest.raises(FormatError):
        read_masked_cameras(tmp_path)
    (tmp_path / "mask/001.png").unlink()
    with pytest.raises(InputError, match="1 masks, but 2 cameras"):
        read_masked_cameras(tmp_path)
    (tmp_path / "cameras_sphere.npz").unlink()
    with pytest.raises(InputError, match=r"no cameras_sphere\.npz to cull"):
        read_masked_cameras(tmp_path)
