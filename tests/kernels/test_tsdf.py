"""The integration kernel against a slow twin, one voxel at a time in float64."""

from __future__ import annotations

import numpy as np
import pytest

from voxterra.kernels.fusion.blocks import BLOCK
from voxterra.kernels.fusion.tsdf import VOXELS, finish_blocks, integrate_view

VOXEL = 0.1
BAND = np.array([0.35, 0.001])
HEIGHT, WIDTH = 40, 50
INTRINSICS = np.array([45.0, 44.0, 25.3, 19.6, WIDTH, HEIGHT])


@pytest.fixture
def scene():
    random = np.random.default_rng(3)
    depth = (3.0 + 0.2 * random.standard_normal((HEIGHT, WIDTH))).astype(np.float32)
    depth[random.random(depth.shape) < 0.1] = 0
    normal = random.normal([0, 0, -2], 0.7, (HEIGHT, WIDTH, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    sample = random.integers(0, 256, (HEIGHT, WIDTH, 8)).astype(np.uint8)
    sample[..., :3] = np.rint(normal * 127) + 127
    sample[..., 7] = random.integers(1, 5, depth.shape)
    a = 0.2
    rotation = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    cam_from_world = np.column_stack([rotation, [0.1, -0.2, 0.05]])
    coords = np.array([[0, 0, 3], [-1, 0, 3], [-1, -1, 2], [1, 0, 4], [0, 0, -5]], np.int32)
    return depth, sample, cam_from_world, coords


def slow_twin(depth, sample, cam_from_world, position):
    """(near weight, weight * distance, free weight, measured, looked, source) of one voxel."""
    fx, fy, cx, cy = INTRINSICS[:4]
    x = cam_from_world[:, :3] @ position + cam_from_world[:, 3]
    u, v = fx * x[0] / x[2] + cx, fy * x[1] / x[2] + cy
    if x[2] <= 0 or not (0 <= u < WIDTH and 0 <= v < HEIGHT):
        return 0, 0, 0, 0, 0, 0
    row, column = int(v), int(u)
    d = float(depth[row, column])
    if d <= 0:
        return 0, 0, 0, 0, 1, 0
    trunc = max(BAND[0], BAND[1] * d)
    if d - x[2] < -2 * trunc:
        return 0, 0, 0, 0, 0, 0
    normal = (sample[row, column, :3].astype(float) - 127) / 127
    ray = np.array([(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, 1.0])
    weight = (3.0 / d) ** 2 * sample[row, column, 3] / 255
    facing = -(normal @ ray) / np.linalg.norm(ray)
    distance = normal @ (x - d * ray) if facing > 0.05 else d - x[2]
    weight *= facing if facing > 0.05 else 0.3
    if d - x[2] > 2 * trunc or distance > trunc:
        return 0, 0, weight, 0, 1, 0
    if distance <= -trunc:
        return 0, 0, 0, 0, 1, 0
    weight *= 1.0 if distance > 0 else 1 + distance / trunc
    source = sample[row, column, 7] if abs(distance) <= 0.5 * trunc else 0
    return weight, weight * distance, 0, 1, 1, source


def integrate(scene, times=1):
    depth, sample, cam_from_world, coords = scene
    acc = np.zeros((len(coords), VOXELS, 6), np.float32)
    counts = np.zeros((len(coords), VOXELS, 3), np.uint8)
    for _ in range(times):
        integrate_view(
            acc, counts, coords, VOXEL, depth, sample, cam_from_world, INTRINSICS,
            float(depth.max()), BAND, 3.0,
        )  # fmt: skip
    return acc, counts


def test_integration_equals_its_slow_twin(scene):
    depth, sample, cam_from_world, coords = scene
    acc, counts = integrate(scene)
    k, j, i = np.unravel_index(np.arange(VOXELS), (BLOCK,) * 3)
    local = np.column_stack([i, j, k])
    expected = np.array(
        [
            [slow_twin(depth, sample, cam_from_world, VOXEL * (c * BLOCK + v)) for v in local]
            for c in coords
        ]
    )
    result = np.concatenate([acc[..., :3], counts], axis=-1)
    assert (expected[:4] != 0).any(axis=(0, 1)).all(), "the scene exercises every branch"
    # float32 may put a voxel on a pixel's border into the other pixel.
    close = np.isclose(result, expected, atol=2e-4).all(-1)
    assert close.mean() > 0.999
    assert not result[4].any(), "a block behind the camera is untouched"


def test_blocks_do_not_depend_on_what_else_is_integrated(scene):
    depth, sample, cam_from_world, coords = scene
    together, _ = integrate(scene)
    for b in range(len(coords)):
        alone, _ = integrate((depth, sample, cam_from_world, coords[b : b + 1]))
        assert np.array_equal(alone[0], together[b])


def test_the_best_source_of_a_voxel_counts(scene):
    depth, sample, pose, coords = scene
    sample[..., 7] = 2
    weak = integrate(scene)
    sample[::2, :, 7] = 1
    _, counts = integrate((depth, sample, pose, coords))
    integrate_view(
        *weak, coords, VOXEL, depth, sample, pose, INTRINSICS, float(depth.max()), BAND, 3.0
    )
    assert set(np.unique(counts[..., 2])) == {0, 1, 2}
    assert np.array_equal(weak[1][..., 2], counts[..., 2])


@pytest.mark.parametrize("keep_weak", [False, True])
def test_too_few_views_make_a_voxel_weak_or_unknown_and_free_space_wins_where_it_outweighs(
    keep_weak,
):
    acc = np.zeros((1, VOXELS, 6), np.float32)
    counts = np.zeros((1, VOXELS, 3), np.uint8)
    acc[0, 0, :3], counts[0, 0] = (2.0, 0.1, 0.0), (2, 5, 1)
    acc[0, 1, :3], counts[0, 1] = (2.0, 0.1, 0.0), (1, 5, 1)
    acc[0, 2, :3], counts[0, 2] = (2.0, 0.1, 0.0), (1, 2, 1)
    acc[0, 3, :3], counts[0, 3] = (2.0, 0.1, 3.0), (2, 5, 1)
    acc[0, 4, :3], counts[0, 4] = (2.0, 0.1, 0.0), (2, 5, 2)
    acc[0, 0, 3:] = (20.0, 40.0, 60.0)
    field = np.empty((1, VOXELS), np.float32)
    colors = np.empty((1, VOXELS, 3), np.float32)
    sources = np.empty((1, VOXELS), np.uint8)
    finish_blocks(acc, counts, 2, keep_weak, 1.0, np.float32(VOXEL), field, colors, sources)
    assert field[0, 0] == pytest.approx(0.05)
    assert colors[0, 0].tolist() == [10, 20, 30]
    assert np.isnan(field[0, 1]) != keep_weak
    assert sources[0, :6].tolist() == [1, 2 * keep_weak, 1, 0, 2, 0]
    assert field[0, 2] == pytest.approx(0.05)
    assert field[0, 3] == pytest.approx(VOXEL)
    assert np.isnan(field[0, 5:]).all()


def test_a_band_that_grows_with_depth_reaches_behind_the_farthest_depth(scene):
    depth, sample, _, _ = scene
    depth[:] = 3.0
    band, far = np.array([0.05, 0.3]), 3.0  # a voxel counts as looked at up to 3 + 2 * 0.9
    coords = np.array([[0, 0, 5]], np.int32)
    acc = np.zeros((1, VOXELS, 6), np.float32)
    counts = np.zeros((1, VOXELS, 3), np.uint8)
    pose = np.column_stack([np.eye(3), np.zeros(3)])
    integrate_view(acc, counts, coords, VOXEL, depth, sample, pose, INTRINSICS, far, band, 3.0)
    assert counts[0, :, 1].all()
