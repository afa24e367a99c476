"""The orthophoto's kernels against a slow twin in plain NumPy."""

import numpy as np
import pytest

from voxterra.core.camera import PinholeView
from voxterra.kernels.raster.ortho import (
    EDGE_PENALTY,
    LEAST_RISE,
    NEGLIGIBLE,
    OCCLUSION_TOLERANCE,
    blend_view,
    sample_view,
)
from voxterra.testing import look_at

SPREAD = 0.2
NO_MASK = np.zeros((0, 0), np.bool_)
VIEWS = [
    look_at("nadir", (0, 0, 20), (0, 0, 0), width=64, height=48, focal_px=50),
    look_at("oblique", (-12, -9, 15), (0, 0, 0), width=64, height=48, focal_px=60),
    look_at("below", (0, 0, -20), (0, 0, 0), width=64, height=48, focal_px=50),
]


def photo(view: PinholeView, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (view.height, view.width, 3)).astype(np.uint8)
    nearest = rng.choice([10.0, 25.0, np.inf], (24, 32), p=[0.1, 0.6, 0.3]).astype(np.float32)
    near_edge = np.minimum(nearest, np.roll(nearest, 1, 1))
    K = view.K
    intrinsics = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], view.width, view.height])
    return np.ascontiguousarray(view.cam_from_world), intrinsics, image, nearest, near_edge


def twin(point: np.ndarray, view: PinholeView, seed: int) -> tuple[float, np.ndarray]:
    """Log weight (-inf = not seen) and colour of one point, one step after the other."""
    _, _, image, nearest, near_edge = photo(view, seed)
    nothing = -np.inf, np.full(3, np.nan)
    (pixel,), (depth,) = view.project(point[None])
    if depth <= 0:
        return nothing
    u, v = pixel
    border = min(u, v, view.width - u, view.height - v)
    to_camera = view.center_in_world - point
    distance = np.linalg.norm(to_camera)
    rise = to_camera[2]
    if border < 1 or rise < LEAST_RISE * distance:
        return nothing
    row, column = int(v * 24 / view.height), int(u * 32 / view.width)
    tolerance = OCCLUSION_TOLERANCE * depth * distance / rise
    if depth > nearest[row, column] + tolerance:
        return nothing
    tangent = np.hypot(to_camera[0], to_camera[1]) / rise
    weight = -(tangent**2) / (2 * SPREAD**2) - 2 * np.log(depth / view.K[0, 0])
    if depth > near_edge[row, column] + 3 * tolerance:
        weight -= EDGE_PENALTY
    feather = border / (0.06 * min(view.width, view.height))
    weight += 2 * np.log(min(feather, 1.0))
    x, y = u - 0.5, v - 0.5
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, view.width - 1), min(y0 + 1, view.height - 1)
    fx, fy = x - x0, y - y0
    img = image.astype(float)
    color = (img[y0, x0] * (1 - fx) + img[y0, x1] * fx) * (1 - fy)
    return weight, color + (img[y1, x0] * (1 - fx) + img[y1, x1] * fx) * fy


@pytest.mark.parametrize("index", range(len(VIEWS)))
def test_samples_are_the_twins(index: int) -> None:
    view = VIEWS[index]
    points = np.random.default_rng(5).uniform((-14, -12, -2), (14, 12, 6), (400, 3))
    pose, intrinsics, image, nearest, near_edge = photo(view, index)
    found = sample_view(points, pose, intrinsics, image, NO_MASK, nearest, near_edge, SPREAD)
    expected = np.array([twin(p, view, index)[1] for p in points])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert np.isnan(found).all() == (view.name == "below")
    masked = sample_view(
        points, pose, intrinsics, image, np.zeros(image.shape[:2], np.bool_), nearest, near_edge,
        SPREAD,
    )  # fmt: skip
    assert np.isnan(masked).all()


def test_blend_is_the_twins_weighted_mean() -> None:
    rng = np.random.default_rng(2)
    heights = rng.uniform(0, 4, (20, 24)).astype(np.float32)
    heights[3, 4:9] = np.nan
    step, left, top = 8, -6.0, 5.0
    columns, rows = np.meshgrid(np.arange(0, 33, step), np.arange(0, 29, step))
    base = np.stack([left + columns * 0.5, top - rows * 0.5, np.zeros(rows.shape)], axis=2)
    up = np.zeros_like(base)
    up[..., 0], up[..., 2] = 0.01, 1.0  # the vertical leans a little
    color = np.zeros((10, 24, 3), np.float32)
    total = np.zeros((10, 24), np.float32)
    best = np.full((10, 24), -np.inf, np.float32)
    gains = np.array([[1.1, 1.0, 0.9], [0.8, 1.0, 1.2], [1.0, 1.0, 1.0]])
    first = 10  # a strip that does not start at the top
    for index, view in enumerate(VIEWS):
        pose, intrinsics, image, nearest, near_edge = photo(view, index)
        blend_view(
            heights, (first, first + 10, 0, 24), (first, 0), base, up, step, pose, intrinsics,
            image, NO_MASK, nearest, near_edge, SPREAD, gains[index], color, total, best,
        )  # fmt: skip
    mixed = 0
    for r in range(10):
        for c in range(24):
            h = float(heights[first + r, c])
            x, y = left + (c + 0.5) * 0.5, top - (first + r + 0.5) * 0.5
            looks = [twin(np.array([x + 0.01 * h, y, h]), v, i) for i, v in enumerate(VIEWS)]
            weights = np.array([w for w, _ in looks])
            if np.isneginf(weights).all():
                assert total[r, c] == 0
                continue
            share = np.where(
                weights < weights.max() - NEGLIGIBLE, 0, np.exp(weights - weights.max())
            )
            colors = np.nan_to_num(np.array([k for _, k in looks])) * gains
            expected = share @ colors / share.sum()
            # A photo too faint to count may have come first.
            np.testing.assert_allclose(color[r, c] / total[r, c], expected, atol=0.5)
            mixed += int((share > 0.02).sum() > 1)
    assert mixed > 10


def test_cells_without_height_stay_empty() -> None:
    view = VIEWS[0]
    pose, intrinsics, image, nearest, near_edge = photo(view, 0)
    nodes = np.zeros((2, 2, 3))
    color, total = np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.float32)
    best = np.full((4, 4), -np.inf, np.float32)
    blend_view(
        np.full((4, 4), np.nan, np.float32), (0, 4, 0, 4), (0, 0), nodes, nodes, 8, pose,
        intrinsics, image, NO_MASK, nearest, near_edge, SPREAD, np.ones(3), color, total, best,
    )  # fmt: skip
    assert not color.any() and not total.any() and np.isneginf(best).all()
