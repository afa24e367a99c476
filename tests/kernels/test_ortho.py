"""The orthophoto's kernels against a slow twin in plain NumPy."""

import numpy as np
import pytest

from voxterra.core.camera import PinholeView
from voxterra.kernels.raster.ortho import (
    EDGE_PENALTY,
    LEAST_RISE,
    LEAST_SHARE,
    NEGLIGIBLE,
    OCCLUSION_TOLERANCE,
    UNCHOSEN,
    add_candidate,
    blend_view,
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


def twin(point: np.ndarray, view: PinholeView, seed: int) -> tuple[float, np.ndarray, bool]:
    """Log weight (-inf = not seen), colour, and whether clear of edges, step by step."""
    _, _, image, nearest, near_edge = photo(view, seed)
    nothing = -np.inf, np.full(3, np.nan), False
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
    clear = bool(depth <= near_edge[row, column] + 3 * tolerance)
    weight -= 0 if clear else EDGE_PENALTY
    feather = border / (0.06 * min(view.width, view.height))
    weight += 2 * np.log(min(feather, 1.0))
    x, y = u - 0.5, v - 0.5
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, view.width - 1), min(y0 + 1, view.height - 1)
    fx, fy = x - x0, y - y0
    img = image.astype(float)
    color = (img[y0, x0] * (1 - fx) + img[y0, x1] * fx) * (1 - fy)
    return weight, color + (img[y1, x0] * (1 - fx) + img[y1, x1] * fx) * fy, clear


def terrain() -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, int]]:
    """Heights of 20 x 24 cells of half a metre, and their lattice; the vertical leans a little."""
    heights = np.random.default_rng(2).uniform(0, 4, (20, 24)).astype(np.float32)
    heights[3, 4:9] = heights[10, 5] = np.nan
    step = 8
    columns, rows = np.meshgrid(np.arange(0, 33, step), np.arange(0, 29, step))
    base = np.stack([-6.0 + columns * 0.5, 5.0 - rows * 0.5, np.zeros(rows.shape)], axis=2)
    up = np.zeros_like(base)
    up[..., 0], up[..., 2] = 0.01, 1.0
    return heights, (base, up, step)


def looks(heights: np.ndarray, row: int, column: int) -> list[tuple[float, np.ndarray, bool]]:
    """What each of `VIEWS` sees of a cell."""
    h = float(heights[row, column])
    point = np.array([-6.0 + (column + 0.5) * 0.5 + 0.01 * h, 5.0 - (row + 0.5) * 0.5, h])
    return [twin(point, view, index) for index, view in enumerate(VIEWS)]


def test_candidates_are_the_twins_best_first() -> None:
    heights, cells = terrain()
    corner, coarse = (2, 0), 2
    chosen = np.full((6, 12, 2), -1, np.int32)
    weight = np.full((6, 12, 2), -np.inf, np.float32)
    color = np.zeros((6, 12, 2, 3), np.uint8)
    for index, view in enumerate(VIEWS):
        pose, intrinsics, image, nearest, near_edge = photo(view, index)
        for usable in (np.zeros(image.shape[:2], np.bool_), NO_MASK):  # the first has no effect
            add_candidate(
                heights, (2, 8, 0, 12), corner, coarse, *cells, pose, intrinsics, image, usable,
                nearest, near_edge, SPREAD, index, chosen, weight, color,
            )  # fmt: skip
    several = 0
    for r in range(6):
        for c in range(12):
            row, column = (r + corner[0]) * coarse + 1, c * coarse + 1
            seen = looks(heights, row, column)
            order = sorted((-w, i) for i, (w, _, _) in enumerate(seen) if w > -np.inf)
            if np.isnan(heights[row, column]):
                order = []
            assert [i for _, i in order] == [i for i in chosen[r, c] if i >= 0]
            for k, (behind, i) in enumerate(order):
                assert weight[r, c, k] == pytest.approx(-behind, abs=1e-3)
                np.testing.assert_allclose(color[r, c, k], seen[i][1], atol=0.6)
            several += len(order) == 2
    assert several > 10


def test_blend_is_the_twins_mean_of_the_shares() -> None:
    heights, cells = terrain()
    color = np.zeros((10, 24, 3), np.float32)
    total = np.zeros((10, 24), np.float32)
    best = np.full((10, 24), -np.inf, np.float32)
    first, coarse = 10, 4  # a strip that does not start at the top
    shares = np.random.default_rng(4).choice([0, 0, 0.4, 1.0], (3, 5, 6)).astype(np.float32)
    for index, view in enumerate(VIEWS):
        pose, intrinsics, image, nearest, near_edge = photo(view, index)
        blend_view(
            heights, (first, first + 10, 0, 24), (first, 0), *cells, pose, intrinsics,
            image, NO_MASK, nearest, near_edge, SPREAD, shares[index], (0, 0), coarse,
            color, total, best,
        )  # fmt: skip
    mixed = chosen = others = 0
    for r in range(10):
        for c in range(24):
            if np.isnan(heights[first + r, c]):
                assert total[r, c] == 0 and best[r, c] == -np.inf
                continue
            seen = looks(heights, first + r, c)
            y = np.clip((first + r + 0.5) / coarse - 0.5, 0, 4)
            x = np.clip((c + 0.5) / coarse - 0.5, 0, 5)
            weights = np.full(3, -np.inf)
            for i, (w, _, clear) in enumerate(seen):
                rows = np.array([np.interp(x, range(6), line) for line in shares[i]])
                own = np.interp(y, range(5), rows)
                if w > -np.inf:
                    weights[i] = np.log(own) if own > LEAST_SHARE and clear else w - UNCHOSEN
            if np.isneginf(weights).all():
                assert total[r, c] == 0
                continue
            part = np.where(
                weights < weights.max() - NEGLIGIBLE, 0, np.exp(weights - weights.max())
            )
            expected = part @ np.nan_to_num(np.array([k for _, k, _ in seen])) / part.sum()
            # A photo too faint to count may have come first.
            np.testing.assert_allclose(color[r, c] / total[r, c], expected, atol=0.5)
            mixed += int((part > 0.02).sum() > 1)
            chosen += int(weights.max() > -UNCHOSEN / 2)
            others += int(weights.max() < -UNCHOSEN / 2)
    assert mixed > 5 and chosen > 10 and others > 10
