"""The stereo kernels against slow twins."""

from __future__ import annotations

import numpy as np

from voxterra.kernels.stereo import hypotheses as hy
from voxterra.kernels.stereo import patchmatch as pm
from voxterra.kernels.stereo.planes import Sources, normals_from_planes, pack_quads, upsample_planes
from voxterra.testing import look_at


def test_quads_hold_the_four_neighbours():
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    quads = pack_quads(gray)
    q = int(quads[1, 2])
    assert [q & 255, q >> 8 & 255, q >> 16 & 255, q >> 24] == [6, 7, 10, 11]
    assert int(quads[2, 3]) == 11 * 0x01010101  # the border repeats


def _smooth_noise(shape: tuple[int, int], seed: int) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


def _twin_cost(ref, src, x, y, shift_x, offsets, spatial, sigma):
    """1 - bilaterally weighted NCC of a patch against the source moved by whole pixels."""
    dx, dy = offsets.astype(int)
    r = ref[y + dy, x + dx].astype(float)
    s = src[y + dy, x + dx + shift_x].astype(float)
    w = spatial / (1 + ((r - float(ref[y, x])) / sigma) ** 2)
    w = w / w.sum()
    mr, ms = w @ r, w @ s
    cov = w @ ((r - mr) * (s - ms))
    return 1 - cov / np.sqrt((w @ (r - mr) ** 2) * (w @ (s - ms) ** 2))


def _one_source(image: np.ndarray, forward: np.ndarray) -> Sources:
    height, width = image.shape
    meta = np.array([[0, width, height]], np.int64)
    none = np.zeros((1, 3), np.float32)
    return Sources(pack_quads(image).ravel(), none, meta, forward, forward)


def test_costs_equal_the_slow_twin():
    ref = _smooth_noise((60, 80), 1)
    src = np.roll(ref, 3, axis=1)  # seen 3 px further right
    src = np.clip(src.astype(int) + np.random.default_rng(2).integers(-9, 9, src.shape), 0, 255)
    src = src.astype(np.uint8)
    # Same orientation, baseline along x: u = x + f t_x w.
    forward = np.zeros((1, 3, 4), np.float32)
    forward[0, :, :3] = np.eye(3)
    forward[0, 0, 3] = 10.0
    offsets = hy.patch_offsets()
    spatial = np.exp(-(offsets**2).sum(0) / 50).astype(np.float32)
    planes = np.zeros((60, 80, 3), np.float32)
    costs = np.empty((60, 80), np.float32)
    view_costs = np.empty((60, 80, 1), np.float32)
    matching = hy.Matching(offsets, spatial, np.float32(14), np.float32(0))
    for shift in (3, 5):
        planes[..., 0] = shift / 10.0
        sources = _one_source(src, forward)
        pm.evaluate(ref.astype(np.float32), planes, costs, view_costs, sources, matching)
        for x, y in [(20, 20), (40, 31), (60, 45)]:
            twin = _twin_cost(ref, src, x, y, shift, offsets, spatial, 14.0)
            assert abs(costs[y, x] - min(twin, float(hy.OUT_OF_VIEW))) < 2e-3


def test_a_plane_that_leaves_the_image_costs_more_than_no_correlation():
    ref = _smooth_noise((40, 40), 3)
    forward = np.zeros((1, 3, 4), np.float32)
    forward[0, :, :3] = np.eye(3)
    forward[0, 0, 3] = 10.0
    planes = np.full((40, 40, 3), 0, np.float32)
    planes[..., 0] = 100.0
    costs = np.empty((40, 40), np.float32)
    matching = hy.Matching(
        hy.patch_offsets(), np.ones(32, np.float32), np.float32(14), np.float32(0)
    )
    view_costs = np.empty((40, 40, 1), np.float32)
    sources = _one_source(ref, forward)
    pm.evaluate(ref.astype(np.float32), planes, costs, view_costs, sources, matching)
    assert (costs == hy.OUT_OF_VIEW).all()


def test_upsampling_keeps_a_plane_a_plane():
    x, y = np.meshgrid(np.arange(40), np.arange(30))
    a, b = 0.002, -0.001
    coarse = np.stack([0.5 + a * x + b * y, np.full(x.shape, a), np.full(x.shape, b)], -1)
    fine = upsample_planes(coarse.astype(np.float32), 60, 80)
    fx = (np.arange(80) + 0.5) / 2 - 0.5
    fy = (np.arange(60) + 0.5) / 2 - 0.5
    assert np.allclose(fine[..., 0], 0.5 + a * fx[None] + b * fy[:, None], atol=1e-6)
    assert np.allclose(fine[..., 1], a / 2)


def test_normals_of_a_tilted_plane():
    view = look_at("a", (0, 0, 5), (0, 0, 0), width=64, height=48, focal_px=50.0)
    normal = np.array([0.3, -0.2, -0.93])
    normal /= np.linalg.norm(normal)
    v, u = np.mgrid[:48, :64].astype(float)
    cx, cy = view.K[0, 2] - 0.5, view.K[1, 2] - 0.5
    rays = np.stack([(u - cx) / 50, (v - cy) / 50, np.ones_like(u)], -1)
    w = (rays @ normal) / (normal @ np.array([0.0, 0.0, 4.0]))
    gy, gx = np.gradient(w)
    planes = np.stack([w, gx, gy], -1).astype(np.float32)
    f32 = np.float32
    found = normals_from_planes(planes, (f32(50), f32(50), f32(cx), f32(cy)))
    assert np.allclose(found, normal, atol=1e-4)


def test_random_numbers_fill_their_range_and_depend_on_every_argument():
    many = np.array([hy.random_of(x, y, 7, 1) for x in range(60) for y in range(60)])
    assert many.min() >= -1 and many.max() < 1
    assert abs(many.mean()) < 0.04 and abs(many.std() - 1 / np.sqrt(3)) < 0.03
    base = hy.random_of(3, 4, 5, 6)
    assert base not in [
        hy.random_of(*a) for a in [(4, 4, 5, 6), (3, 5, 5, 6), (3, 4, 6, 6), (3, 4, 5, 7)]
    ]
