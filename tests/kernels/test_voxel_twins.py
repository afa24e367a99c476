"""The slow twin of the voxel rasterizer against finite differences and closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from voxel_scene import CAMERAS, VoxelScene, camera_values, intrinsics, look_at, voxel_scene

from voxterra.kernels.voxels.math import (
    OPACITY_EPS,
    P_DEPTH,
    P_DISTORTION,
    P_MEDIAN,
    P_NORMAL,
    P_RGB,
    P_RGB2,
    P_RISE,
    P_T,
    R_NORMAL,
    R_RGB,
    R_RGB2,
    R_SDF,
    R_SHARPNESS,
    R_SIZE,
)
from voxterra.kernels.voxels.reference.prepare import corner_signs, prepare
from voxterra.kernels.voxels.reference.raster import (
    Rendering,
    front_to_back,
    octants,
    rasterize,
    ray_directions,
)
from voxterra.kernels.voxels.reference.sh import sh_basis
from voxterra.testing import assert_grad_close

WIDTH, HEIGHT = 14, 10
DOUBLE = torch.float64


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The twins' many small operations do not gain from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def camera(name: str, width: int = WIDTH, height: int = HEIGHT) -> tuple[Tensor, bool]:
    room, eye, target, focal = CAMERAS[name]
    K = intrinsics(width, height, focal * width / 32)
    return camera_values(K, look_at(eye, target), width, height, 0.05), room


def render(scene: VoxelScene, cam: Tensor, samples: int = 1, **changed: Tensor) -> Rendering:
    p = {k: changed.get(k, getattr(scene, k)) for k in ("sdf", "sh0", "shs", "sharpness")}
    lists = (scene.lo_size, scene.level, scene.corner_index)
    record = prepare(*lists, p["sdf"], p["sh0"], p["shs"], p["sharpness"], cam, 3)
    # Finite differences: no thresholds to step over.
    limits = {"alpha_min": 0.0, "transmittance_min": 0.0}
    return rasterize(record, scene.path, cam, WIDTH, HEIGHT, samples=samples, **limits)


CHANNELS = {
    "colour": slice(P_RGB, P_RGB + 3),
    "transmittance": slice(P_T, P_T + 1),
    "depth": slice(P_DEPTH, P_DEPTH + 1),
    "normal": slice(P_NORMAL, P_NORMAL + 3),
    "rgb2": slice(P_RGB2, P_RGB2 + 1),
    "distortion": slice(P_DISTORTION, P_DISTORTION + 1),
}


@pytest.mark.parametrize("name", ["oblique", "in a room, back"])
@pytest.mark.parametrize("parameter", ["sdf", "sh0", "shs", "sharpness"])
def test_gradients_are_those_of_finite_differences(name, parameter):
    cam, room = camera(name)
    scene = voxel_scene(1, room=room, dtype=DOUBLE, noise=0.3)
    value = getattr(scene, parameter).clone().requires_grad_()
    pixels = render(scene, cam, **{parameter: value}).pixels
    rng = torch.Generator().manual_seed(5)
    mix = torch.randn(pixels.shape, generator=rng, dtype=DOUBLE)
    (total,) = torch.autograd.grad((pixels * mix).sum(), value, retain_graph=True)
    # Along random directions, and along the entries with the largest gradients.
    ways = [torch.randn(value.shape, generator=rng, dtype=DOUBLE) for _ in range(2)]
    for i in total.abs().flatten().topk(3).indices:
        way = torch.zeros(value.numel(), dtype=DOUBLE)
        way[i] = 1.0
        ways.append(way.reshape(value.shape))
    step = 1e-6
    with torch.no_grad():
        ends = [
            [render(scene, cam, **{parameter: value + move * way}).pixels for move in (step, -step)]
            for way in ways
        ]
    for channel, part in CHANNELS.items():
        (grad,) = torch.autograd.grad((pixels * mix)[..., part].sum(), value, retain_graph=True)
        if parameter in ("sh0", "shs") and channel not in ("colour", "rgb2"):
            assert not grad.any(), channel
            continue
        assert grad.any(), channel
        for way, (up, down) in zip(ways, ends, strict=True):
            found = ((up - down) * mix)[..., part].sum().item() / (2 * step)
            assert (grad * way).sum().item() == pytest.approx(found, rel=2e-5, abs=1e-7), channel


@pytest.mark.parametrize("name", ["oblique", "in a room, back"])
@pytest.mark.parametrize(
    ("channel", "parameter"),
    [(c, p) for c in (P_DEPTH, P_DISTORTION) for p in ("sdf", "sharpness")] + [(P_RISE, "sdf")],
)
def test_gradients_of_parts_and_rise_are_those_of_finite_differences(name, channel, parameter):
    cam, room = camera(name)
    scene = voxel_scene(1, room=room, dtype=DOUBLE, noise=1.2)
    value = getattr(scene, parameter).clone().requires_grad_()
    found = render(scene, cam, 3, **{parameter: value}).pixels[..., channel]
    rng = torch.Generator().manual_seed(5)
    mix = torch.randn(found.shape, generator=rng, dtype=DOUBLE)
    (grad,) = torch.autograd.grad((found * mix).sum(), value)
    plain = getattr(scene, parameter).clone().requires_grad_()
    without = render(scene, cam, **{parameter: plain}).pixels[..., channel]
    (before,) = torch.autograd.grad((without * mix).sum(), plain)
    assert grad.any() and torch.equal(grad, before) == (channel == P_RISE)
    step = 1e-7
    for _ in range(4):
        way = torch.randn(value.shape, generator=rng, dtype=DOUBLE)
        with torch.no_grad():
            up, down = (
                render(scene, cam, 3, **{parameter: value + move * way}).pixels[..., channel]
                for move in (step, -step)
            )
        slope = ((up - down) * mix).sum().item() / (2 * step)
        assert (grad * way).sum().item() == pytest.approx(slope, rel=2e-5, abs=1e-6)


def test_the_sharpness_has_no_part_in_the_rise():
    cam, _ = camera("oblique")
    scene = voxel_scene(1, dtype=DOUBLE, noise=1.2)
    sharpness = scene.sharpness.clone().requires_grad_()
    rise = render(scene, cam, sharpness=sharpness).pixels[..., P_RISE]
    assert (rise > 0).any()
    (grad,) = torch.autograd.grad(rise.sum(), sharpness)
    assert not grad.any()


def one_voxel(f: list[float], s: float = 9.0) -> Tensor:
    """Record [1, 20] of the voxel [0, 1]^3."""
    rgb, normal = [0.2, 0.4, 0.8], [0.0, 0.0, -1.0]
    rgb2 = sum(c * c for c in rgb)
    return torch.tensor([[0, 0, 0, 1, *f, *rgb, *normal, rgb2, s]], dtype=DOUBLE)


def straight(z: float) -> Tensor:
    """Camera of one pixel that looks along +z through (0.5, 0.5)."""
    cam = torch.zeros(20, dtype=DOUBLE)
    cam[:9] = torch.eye(3, dtype=DOUBLE).flatten()
    cam[9:12] = torch.tensor([0.5, 0.5, z], dtype=DOUBLE)
    cam[12:19] = torch.tensor([1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.01], dtype=DOUBLE)
    return cam


def test_one_voxel_in_closed_form():
    # Distances fall from 0.4 at z = 0 to -0.3 at z = 1; a ray through its middle, from z = -2.
    record = one_voxel([0.4, -0.3] * 4).requires_grad_()
    path = torch.zeros(1, dtype=torch.int64)
    rendering = rasterize(record, path, straight(-2.0), 1, 1)
    p = rendering.pixels[0, 0]
    eps = float(OPACITY_EPS)
    phi_in, phi_out = 1 / (1 + math.exp(-9 * 0.4)), 1 / (1 + math.exp(9 * 0.3))
    alpha = 1 - (phi_out + eps) / (phi_in + eps)
    assert p[P_T].item() == pytest.approx(1 - alpha, rel=1e-12)
    assert p[P_RGB : P_RGB + 3].tolist() == pytest.approx([alpha * c for c in (0.2, 0.4, 0.8)])
    assert p[P_DEPTH].item() == pytest.approx(alpha * 2.5)
    assert p[P_NORMAL + 2].item() == pytest.approx(-alpha)
    assert p[P_RGB2].item() == pytest.approx(alpha * 0.84)
    assert p[P_DISTORTION].item() == 0
    assert rendering.max_weight.item() == pytest.approx(alpha)
    phi = 0.5 * (phi_in + eps) - eps
    star = math.log(phi / (1 - phi)) / 9
    u = (0.4 - star) / 0.7
    assert p[P_MEDIAN].item() == pytest.approx(2 + u)
    (grad,) = torch.autograd.grad(p[P_MEDIAN], record)
    # Corners share the ray's entry (z = 0) and exit (z = 1) evenly.
    expected = [(1 - u) / 0.7 / 4, u / 0.7 / 4] * 4
    assert grad[0, R_SDF : R_SDF + 8].tolist() == pytest.approx(expected)
    assert grad[0, R_SHARPNESS] == 0


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_a_segment_in_parts_is_that_many_segments(samples):
    # The field is linear along the ray: 0.4 to -0.3; each part blends by the rule of a whole one.
    record, cam = one_voxel([0.4, -0.3] * 4), straight(-2.0)
    path = torch.zeros(1, dtype=torch.int64)
    p = rasterize(record, path, cam, 1, 1, samples=samples).pixels[0, 0]
    phi = [1 / (1 + math.exp(-9 * (0.4 - 0.7 * k / samples))) for k in range(samples + 1)]
    eps = float(OPACITY_EPS)
    light, depth = 1.0, 0.0
    for k, (before, after) in enumerate(pairwise(phi)):
        alpha = 1 - (after + eps) / (before + eps)
        depth += light * alpha * (2 + (k + 0.5) / samples)
        light *= 1 - alpha
    assert p[P_T].item() == pytest.approx(light, rel=1e-12)
    assert p[P_DEPTH].item() == pytest.approx(depth, rel=1e-12)


def test_a_rise_counts_up_to_the_first_hit():
    # Along z: falls, rises by 0.1 and 0.05, falls through the surface, rises behind it.
    ends = [(0.5, 0.4), (0.4, 0.5), (0.5, 0.55), (0.55, -0.6), (-0.6, 0.2)]
    record = torch.cat([one_voxel([a, b] * 4) for a, b in ends])
    record[:, 2] = torch.arange(5)
    record.requires_grad_()
    path, cam = torch.arange(5), straight(-2.0)
    rise = rasterize(record, path, cam, 1, 1).pixels[0, 0, P_RISE]
    assert rise.item() == pytest.approx(0.15)
    (grad,) = torch.autograd.grad(rise, record)
    expected = torch.zeros_like(record)
    for voxel in (1, 2):
        expected[voxel, R_SDF : R_SDF + 8] = torch.tensor([-0.25, 0.25] * 4)
    torch.testing.assert_close(grad, expected)
    # A rise is counted in edges of its voxel, and a ray that hits nothing has none.
    small = record.detach().clone()
    small[1, R_SIZE] = 0.8
    rise = rasterize(small, path, cam, 1, 1).pixels[0, 0, P_RISE]
    assert rise.item() == pytest.approx(0.1 / 0.8 + 0.05)
    assert rasterize(record[:3].detach(), path[:3], cam, 1, 1).pixels[0, 0, P_RISE] == 0


def test_median_and_its_gradient_follow_their_formula():
    cam, _ = camera("oblique")
    scene = voxel_scene(2, dtype=DOUBLE)
    sdf = scene.sdf.clone().requires_grad_()
    median = render(scene, cam, sdf=sdf).pixels[..., P_MEDIAN]
    seen = median > 0
    assert 10 < seen.sum() < seen.numel()
    # A shift of all distances by d moves a surface of unit gradient by d toward the camera,
    # divided by the cosine; the formula's derivative along that shift is 1 / slope.
    (grad,) = torch.autograd.grad(median.sum(), sdf)
    assert grad.sum() > seen.sum() * 0.8
    # Where the light is half gone, the same pixel's transmittance in front is above, behind below.
    assert (render(scene, cam).pixels[..., P_T][seen] <= 0.5).all()
    assert (render(scene, cam).pixels[..., P_T][~seen] > 0.5).all()


@pytest.mark.parametrize("name", list(CAMERAS))
def test_order_is_front_to_back(name):
    cam, room = camera(name)
    scene = voxel_scene(0, room=room, start=1, split_until=3, dtype=DOUBLE)
    direction = ray_directions(cam, WIDTH, HEIGHT)
    octant = octants(direction)
    origin = cam[9:12]
    lo, hi = scene.lo_size[:, :3], scene.lo_size[:, :3] + scene.lo_size[:, 3:]
    for ray in range(0, len(direction), 7):
        o = int(octant[ray])
        order = front_to_back(scene.path, o)
        assert torch.equal(order.int(), scene.rank_order[o])
        a, b = ((face[order] - origin) / direction[ray] for face in (lo, hi))
        t0, t1 = torch.minimum(a, b).amax(1), torch.maximum(a, b).amin(1)
        hit = (t1 - t0 > 1e-9) & (t1 > 0)
        for (_, leave), (enter, _) in pairwise(zip(t0[hit].tolist(), t1[hit].tolist())):
            assert enter >= leave - 1e-9


def test_light_is_kept_and_thresholds_skip():
    cam, _ = camera("oblique")
    scene = voxel_scene(1, dtype=DOUBLE, sharp=6.0, noise=0.3)
    lists = (scene.lo_size, scene.level, scene.corner_index)
    white = torch.full_like(scene.sh0, 0.5 / 0.28209479177387814)
    record = prepare(*lists, scene.sdf, white, 0 * scene.shs, scene.sharpness, cam, 3)
    free = rasterize(record, scene.path, cam, WIDTH, HEIGHT, alpha_min=0.0, transmittance_min=0.0)
    kept = rasterize(record, scene.path, cam, WIDTH, HEIGHT)
    for rendering in (free, kept):
        p = rendering.pixels
        torch.testing.assert_close(p[..., P_RGB] + p[..., P_T], torch.ones_like(p[..., 0]))
    assert (free.pixels - kept.pixels).abs().amax() < 2e-3
    assert (kept.max_weight > 0).sum() < (free.max_weight > 0).sum()


def test_priority_is_that_of_the_opacities():
    cam, _ = camera("oblique")
    scene = voxel_scene(1, dtype=DOUBLE)
    sdf = scene.sdf.clone().requires_grad_()
    rendering = render(scene, cam, sdf=sdf)
    (rendering.pixels[..., P_T] * 3.0).sum().backward()
    # dT/dalpha_i = -T / (1 - alpha_i)
    light = rendering.pixels[..., P_T].detach().reshape(-1)
    octant = octants(ray_directions(cam, WIDTH, HEIGHT))
    expected = torch.zeros(len(scene.path), dtype=DOUBLE)
    for (m, order), o in zip(rendering.passed, octant.unique(), strict=True):
        m = m.detach()
        expected[order] += ((1 - m) * 3 * light[octant == o][:, None] / m).sum(0)
    torch.testing.assert_close(rendering.priority(), expected)


def test_records_of_a_view():
    cam, _ = camera("from +x")
    scene = voxel_scene(4, dtype=DOUBLE, noise=0.0)
    lists = (scene.lo_size, scene.level, scene.corner_index)
    values = (scene.sdf, scene.sh0, scene.shs, scene.sharpness)
    record = prepare(*lists, *values, cam, 3)
    middle = scene.lo_size[:, :3] + scene.lo_size[:, 3:] / 2
    outward = middle / middle.norm(dim=1, keepdim=True)
    assert ((record[:, R_NORMAL : R_NORMAL + 3] * outward).sum(1) > 0.9).all()
    assert (record[:, R_RGB : R_RGB + 3] >= 0).all()
    torch.testing.assert_close(record[:, R_RGB2], (record[:, R_RGB : R_RGB + 3] ** 2).sum(1))
    flat = prepare(*lists, 0 * scene.sdf + 1, *values[1:], cam, 0)
    assert not flat[:, R_NORMAL : R_NORMAL + 3].any()
    torch.testing.assert_close(
        flat[:, R_RGB : R_RGB + 3], (0.5 + 0.28209479177387814 * scene.sh0).clamp_min(0)
    )
    assert corner_signs(record)[5].tolist() == [1, -1, 1]


def test_spherical_harmonics_are_orthonormal():
    # Gauss-Legendre in z, evenly in angle: exact for products of degree 3.
    z, weight = np.polynomial.legendre.leggauss(8)
    angle = 2 * np.pi * np.arange(16) / 16
    radius = np.sqrt(1 - z**2)
    unit = [
        radius[:, None] * np.cos(angle),
        radius[:, None] * np.sin(angle),
        z[:, None] + 0 * angle,
    ]
    basis = sh_basis(torch.from_numpy(np.stack(unit, -1).reshape(-1, 3)), 3)
    area = torch.from_numpy(np.repeat(weight, 16) * 2 * np.pi / 16)
    torch.testing.assert_close(basis.T @ (basis * area[:, None]), torch.eye(16, dtype=DOUBLE))


def test_a_wrong_gradient_fails():
    expected = np.random.default_rng(0).normal(size=(50, 3))
    expected[::7] = 0
    assert_grad_close(expected * (1 + 2e-5), expected)
    small = expected.copy()
    small[3, 1] = 1e-3
    missing, extra, off = small.copy(), small.copy(), small.copy()
    missing[3, 1] = 0
    extra[7, 2] = 1e-5
    off[5, 1] += 1e-2
    for wrong in (0 * small, missing, extra, off, small * 1.001, np.full_like(small, np.nan)):
        with pytest.raises(AssertionError):
            assert_grad_close(wrong, small)
    with pytest.raises(AssertionError):
        assert_grad_close(small, 0 * small)
    assert_grad_close(0 * small, 0 * small)
