"""The compiled kernels of the sparse-voxel renderer against their slow twins: values, gradients
and where gradients are zero. The same tests run on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from voxel_scene import CAMERAS, VoxelScene, camera_values, intrinsics, look_at, voxel_scene

from voxterra.kernels.voxels import ops
from voxterra.kernels.voxels.math import (
    ALPHA_MIN,
    F_ALL,
    F_DISTORTION,
    F_MEDIAN,
    F_NORMAL,
    F_RGB2,
    F_RISE,
    G_NORMAL,
    G_PRIORITY,
    G_RGB,
    G_SDF,
    G_SHARPNESS,
    P_DEPTH,
    P_DISTORTION,
    P_MEDIAN,
    P_NORMAL,
    P_RGB,
    P_RGB2,
    P_RISE,
    P_T,
    PIXEL,
    R_NORMAL,
    R_RGB,
    R_RGB2,
    R_SDF,
    R_SHARPNESS,
    TRANSMITTANCE_MIN,
)
from voxterra.kernels.voxels.reference import raster as twin
from voxterra.kernels.voxels.reference.prepare import prepare as prepare_twin
from voxterra.testing import assert_grad_close

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
WIDTH, HEIGHT, NEAR = 29, 20, 0.05
OUTPUTS = {
    "colour": slice(P_RGB, P_RGB + 3),
    "transmittance": slice(P_T, P_T + 1),
    "depth": slice(P_DEPTH, P_DEPTH + 1),
    "median": slice(P_MEDIAN, P_MEDIAN + 1),
    "normal": slice(P_NORMAL, P_NORMAL + 3),
    "rgb2": slice(P_RGB2, P_RGB2 + 1),
    "distortion": slice(P_DISTORTION, P_DISTORTION + 1),
}
SCENES = {
    "two levels": {"start": 2, "split_until": 3},
    "supersized": {"start": 1, "split_until": 3, "sharp": 4.0},
    "opaque": {"start": 2, "split_until": 3, "sharp": 9.0, "noise": 0.4},
    "noisy": {"start": 2, "split_until": 3, "noise": 1.2},
}


# Every camera on one scene, and three cameras on the others.
CASES = [(camera, "two levels") for camera in CAMERAS] + [
    (camera, scene)
    for scene in ("supersized", "opaque")
    for camera in ("oblique", "in the grid", "in a room, back")
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The twins' many small operations do not gain from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    return str(request.param)


@dataclass(frozen=True)
class Case:
    """A scene seen by a camera, on a device; and the view's numbers in float64."""

    scene: VoxelScene
    view: ops.View
    camera: Tensor
    degree: int

    def prepare(self, cull: bool = True) -> tuple[Tensor, Tensor]:
        s = self.scene
        values = (s.lo_size, s.level, s.corner_index, s.sdf, s.sh0, s.shs, s.sharpness)
        return ops.prepare(*values, self.view, self.degree, cull=cull)

    def bins(self, rect: Tensor) -> ops.Bins:
        return ops.bin_voxels(rect, self.scene.rank_order, self.view)

    def double(self) -> dict[str, Tensor]:
        names = ("lo_size", "sdf", "sh0", "shs", "sharpness")
        return {k: getattr(self.scene, k).cpu().double() for k in names}

    def twin_records(self, sdf: Tensor | None = None) -> Tensor:
        p = self.double()
        return prepare_twin(
            p["lo_size"],
            self.scene.level.cpu(),
            self.scene.corner_index.cpu(),
            p["sdf"] if sdf is None else sdf,
            p["sh0"],
            p["shs"],
            p["sharpness"],
            self.camera,
            self.degree,
        )

    def twin_rendering(self, record: Tensor, samples: int = 1) -> twin.Rendering:
        size = (self.view.width, self.view.height)
        return twin.rasterize(record, self.scene.path.cpu(), self.camera, *size, samples=samples)


def make_case(device: str, camera: str, scene: str = "two levels", degree: int = 3) -> Case:
    room, eye, target, focal = CAMERAS[camera]
    K, cam_from_world = intrinsics(WIDTH, HEIGHT, focal), look_at(eye, target)
    view = ops.make_view(K, cam_from_world, WIDTH, HEIGHT, NEAR, torch.device(device))
    expected = camera_values(K, cam_from_world, WIDTH, HEIGHT, NEAR)
    torch.testing.assert_close(view.camera.cpu()[:19].double(), expected[:19], rtol=1e-6, atol=1e-6)
    voxels = voxel_scene(len(scene), room=room, degree=3, **SCENES[scene])
    assert len(voxels.path) <= 400
    return Case(voxels.to(device), view, view.camera.cpu().double(), degree)


def random_gradient(seed: int = 0) -> Tensor:
    """Gradient [H, W, 12] of a loss by the pixels; that of the rise holds noise too, which means
    nothing where it was not asked for."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn((HEIGHT, WIDTH, PIXEL), generator=rng)


def sure_pixels(case: Case, records: Tensor) -> Tensor:
    """[H, W] without the pixels that have a segment on a threshold: float32 cannot tell there
    whether it is skipped, nor whether the ray ends, nor which segment holds the median."""
    size = (case.view.width, case.view.height)
    limits = {"alpha_min": 0.0, "transmittance_min": 0.0}
    records = records.detach()
    everything = twin.rasterize(records, case.scene.path.cpu(), case.camera, *size, **limits)
    octant = twin.octants(twin.ray_directions(case.camera, *size))
    sure = torch.ones_like(octant, dtype=torch.bool)
    for (m, _), o in zip(everything.passed, octant.unique(), strict=True):
        edge = ((1 - m - float(ALPHA_MIN)).abs() < 4e-7).any(1)
        light = torch.cumprod(torch.where(1 - m < float(ALPHA_MIN), torch.ones_like(m), m), 1)
        edge |= ((light / float(TRANSMITTANCE_MIN) - 1).abs() < 1e-3).any(1)
        edge |= ((light - 0.5).abs() < 1e-5).any(1)
        sure[octant == o] = ~edge
    assert sure.float().mean() > 0.7
    return sure.reshape(HEIGHT, WIDTH)


@dataclass(frozen=True)
class Expected:
    """What the twins say of a case, for a loss with the gradient `grad_pixels`."""

    sure: Tensor
    pixels: Tensor
    max_weight: Tensor
    records: Tensor
    grad_pixels: Tensor
    grad_records: Tensor
    grad_sdf: Tensor
    priority: Tensor


@cache
def expected_of(camera: str, scene: str) -> Expected:
    case = make_case("cpu", camera, scene)
    sdf = case.double()["sdf"].requires_grad_()
    records = case.twin_records(sdf)
    records.retain_grad()
    sure = sure_pixels(case, records)
    rendering = case.twin_rendering(records)
    grad_pixels = random_gradient() * sure[..., None]
    (rendering.pixels * grad_pixels)[..., :P_RISE].sum().backward()
    assert records.grad is not None and sdf.grad is not None
    return Expected(
        sure,
        rendering.pixels.detach(),
        rendering.max_weight,
        records.detach(),
        grad_pixels,
        records.grad,
        sdf.grad,
        rendering.priority(),
    )


@pytest.mark.parametrize("camera", list(CAMERAS))
def test_records_and_rects(device, camera):
    for degree in (0, 1, 2, 3):
        case = make_case(device, camera, degree=degree)
        record, rect = (t.cpu() for t in case.prepare())
        seen = (rect[:, 2] > rect[:, 0]) & (rect[:, 3] > rect[:, 1])
        expected = case.twin_records()
        torch.testing.assert_close(record[seen].double(), expected[seen], rtol=1e-5, atol=2e-6)
    # Every ray that loses light in a voxel lies in its rectangle.
    direction = twin.ray_directions(case.camera, WIDTH, HEIGHT)
    lo, hi = expected[:, :3], expected[:, :3] + expected[:, 3:4]
    a, b = ((face - case.camera[9:12]) / direction[:, None] for face in (lo, hi))
    enter = torch.minimum(a, b).amax(2).clamp_min(NEAR)
    hit = (torch.maximum(a, b).amin(2) - enter > 1e-5).reshape(HEIGHT, WIDTH, -1)
    lost, octant = torch.zeros(len(direction), len(rect), dtype=bool), twin.octants(direction)
    passed = case.twin_rendering(expected).passed
    for o, (m, order) in zip(octant.unique().tolist(), passed, strict=True):
        lost[torch.nonzero(octant == o), order] = m < 1
    hit &= lost.reshape(hit.shape)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    x, y, r = x[..., None], y[..., None], rect.long()
    inside = (x >= r[:, 0]) & (x < r[:, 2]) & (y >= r[:, 1]) & (y < r[:, 3])
    assert hit.any()
    assert not (hit & ~inside).any()
    assert rect.min() >= 0 and rect[:, 2].max() <= WIDTH and rect[:, 3].max() <= HEIGHT


@pytest.mark.parametrize(("camera", "scene"), CASES)
def test_pixels(device, camera, scene):
    case, expected = make_case(device, camera, scene), expected_of(camera, scene)
    record, rect = case.prepare()
    forward = ops.rasterize_forward(record, rect, case.bins(rect), case.view, max_weight=True)
    for name, part in OUTPUTS.items():
        want = expected.pixels[expected.sure][:, part]
        got = forward.pixels.cpu()[expected.sure][:, part].double()
        assert want.any(), name
        off = (got - want).abs().max().item()
        assert off <= 1e-5 * max(1.0, want.abs().max().item()), f"{name} off by {off:.2e}"
    # The largest weights are taken over the unsure pixels too, which may skip a segment more.
    weight = forward.max_weight.cpu().double()
    torch.testing.assert_close(weight, expected.max_weight, rtol=1e-4, atol=3e-5)
    blended = (forward.last.cpu() >= 0)[expected.sure]
    assert torch.equal(blended, expected.pixels[expected.sure][:, P_T] < 1)


@pytest.mark.parametrize(("camera", "scene"), CASES)
def test_gradients(device, camera, scene):
    case, expected = make_case(device, camera, scene), expected_of(camera, scene)
    s = case.scene
    record, rect = case.prepare()
    bins = case.bins(rect)
    forward = ops.rasterize_forward(record, rect, bins, case.view)
    run = (record, rect, bins, case.view, forward, expected.grad_pixels.to(device))
    exact = ops.rasterize_backward(*run, deterministic=True)
    assert torch.equal(exact, ops.rasterize_backward(*run, deterministic=True))
    lists = (s.lo_size, s.corner_index, s.corner_start, s.corner_slot, s.sdf)
    color = expected.records[:, R_RGB : R_RGB + 3]
    assert (color == 0).any()
    for result in (exact, ops.rasterize_backward(*run)):
        for name, at, to, count in (
            ("distances", R_SDF, G_SDF, 8),
            ("colour", R_RGB, G_RGB, 3),
            ("normal", R_NORMAL, G_NORMAL, 3),
            ("sharpness", R_SHARPNESS, G_SHARPNESS, 1),
        ):
            want = expected.grad_records[:, at : at + count]
            assert (want == 0).any() and (want != 0).any()
            assert_grad_close(result.cpu()[:, to : to + count], want, name=name)
        assert_grad_close(result.cpu()[:, G_PRIORITY], expected.priority, name="priority")
        grad_sdf, grad_rgb = ops.prepare_backward(result, record, *lists)
        grad_color = expected.grad_records[:, R_RGB : R_RGB + 3] * (color > 0)
        assert_grad_close(grad_rgb.cpu(), grad_color, name="colour, clamped")
        assert_grad_close(grad_sdf.cpu(), expected.grad_sdf, name="distances of corners")


def test_gradients_of_each_output(device):
    case, sure = make_case(device, "oblique below"), expected_of("oblique below", "two levels").sure
    record, rect = case.prepare()
    bins = case.bins(rect)
    forward = ops.rasterize_forward(record, rect, bins, case.view)
    records = case.twin_records().requires_grad_()
    pixels = case.twin_rendering(records).pixels
    for name, part in OUTPUTS.items():
        grad_pixels = torch.zeros(HEIGHT, WIDTH, PIXEL)
        grad_pixels[..., part] = random_gradient()[..., part] * sure[..., None]
        (want,) = torch.autograd.grad((pixels * grad_pixels).sum(), records, retain_graph=True)
        run = (record, rect, bins, case.view, forward, grad_pixels.to(device))
        got = ops.rasterize_backward(*run).cpu()
        assert_grad_close(got[:, G_SDF : G_SDF + 8], want[:, R_SDF : R_SDF + 8], name=name)


FEATURES = {
    F_NORMAL: OUTPUTS["normal"],
    F_MEDIAN: OUTPUTS["median"],
    F_RGB2: OUTPUTS["rgb2"],
    F_DISTORTION: OUTPUTS["distortion"],
}


@pytest.mark.parametrize("features", [0, *FEATURES, F_NORMAL | F_DISTORTION])
def test_outputs_left_out_change_nothing_else(device, features):
    case, expected = make_case(device, "oblique"), expected_of("oblique", "two levels")
    record, rect = case.prepare()
    bins = case.bins(rect)
    asked = torch.ones(PIXEL, dtype=torch.bool)
    for bit, part in FEATURES.items():
        asked[part] = bool(features & bit)
    asked[P_RISE] = False
    some = ops.rasterize_forward(record, rect, bins, case.view, features=features)
    everything = ops.rasterize_forward(record, rect, bins, case.view)
    a, b = some.pixels.cpu()[..., asked], everything.pixels.cpu()[..., asked]
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert torch.equal(some.last, everything.last)
    grad_pixels = expected.grad_pixels * asked
    records = case.twin_records().requires_grad_()
    (case.twin_rendering(records).pixels * grad_pixels).sum().backward()
    assert records.grad is not None
    grad = ops.rasterize_backward(record, rect, bins, case.view, some, grad_pixels.to(device))
    assert_grad_close(grad.cpu()[:, G_SDF : G_SDF + 8], records.grad[:, R_SDF : R_SDF + 8])
    assert_grad_close(grad.cpu()[:, G_NORMAL : G_NORMAL + 3], records.grad[:, R_NORMAL:R_RGB2])
    assert_grad_close(grad.cpu()[:, G_RGB : G_RGB + 3], records.grad[:, R_RGB:R_NORMAL])


MORE = [("oblique", "noisy"), ("in the grid", "noisy"), ("in a room, back", "opaque")]


# Each number of samples is compiled by itself.
@pytest.mark.parametrize(
    "samples", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(5, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("camera", "scene"), MORE)
def test_rise_and_parts_of_segments(device, camera, scene, samples):
    case = make_case(device, camera, scene)
    sdf = case.double()["sdf"].requires_grad_()
    records = case.twin_records(sdf)
    records.retain_grad()
    sure = sure_pixels(case, records)
    rendering = case.twin_rendering(records, samples)
    grad_pixels = random_gradient() * sure[..., None]
    (rendering.pixels * grad_pixels).sum().backward()
    record, rect = case.prepare(cull=False)
    bins = case.bins(rect)
    run = (record, rect, bins, case.view)
    forward = ops.rasterize_forward(*run, features=F_ALL | F_RISE, samples=samples)
    want, got = rendering.pixels.detach()[sure], forward.pixels.cpu()[sure].double()
    assert (want[:, P_RISE] > 0.01).float().mean() > 0.02
    assert (got - want).abs().amax() <= 1e-5 * max(1.0, want.abs().max().item())
    grad = ops.rasterize_backward(*run, forward, grad_pixels.to(device), deterministic=True)
    assert records.grad is not None and sdf.grad is not None
    for name, at, to, count in (
        ("distances", R_SDF, G_SDF, 8),
        ("colour", R_RGB, G_RGB, 3),
        ("sharpness", R_SHARPNESS, G_SHARPNESS, 1),
    ):
        assert_grad_close(
            grad.cpu()[:, to : to + count], records.grad[:, at : at + count], name=name
        )
    assert_grad_close(grad.cpu()[:, G_PRIORITY], rendering.priority(), name="priority")
    s = case.scene
    lists = (s.lo_size, s.corner_index, s.corner_start, s.corner_slot, s.sdf)
    assert_grad_close(ops.prepare_backward(grad, record, *lists)[0].cpu(), sdf.grad)


@pytest.mark.parametrize("name", [P_DEPTH, P_DISTORTION, P_RISE])
def test_gradients_of_what_parts_and_rise_change(device, name):
    case = make_case(device, "oblique", "noisy")
    records = case.twin_records().requires_grad_()
    grad_pixels = torch.zeros(HEIGHT, WIDTH, PIXEL)
    sure = sure_pixels(case, records)
    grad_pixels[..., name] = random_gradient()[..., name] * sure
    (case.twin_rendering(records, 3).pixels * grad_pixels).sum().backward()
    record, rect = case.prepare(cull=False)
    run = (record, rect, case.bins(rect), case.view)
    forward = ops.rasterize_forward(*run, features=F_DISTORTION | F_RISE, samples=3)
    got = ops.rasterize_backward(*run, forward, grad_pixels.to(device)).cpu()
    assert records.grad is not None
    assert_grad_close(got[:, G_SDF : G_SDF + 8], records.grad[:, R_SDF : R_SDF + 8])


def test_parts_and_rise_leave_the_rest_as_it_is(device):
    case = make_case(device, "oblique", "noisy")
    sure = sure_pixels(case, case.twin_records())
    record, rect = case.prepare()
    plain = ops.rasterize_forward(record, rect, case.bins(rect), case.view)
    assert not plain.pixels[..., P_RISE].any()
    every, seen = case.prepare(cull=False)
    run = (every, seen, case.bins(seen), case.view)
    assert len(run[2].entry) > len(case.bins(rect).entry)
    every_voxel = ops.rasterize_forward(*run).pixels
    # On a GPU the two kernels of `prepare` are compiled apart: colours may round another way.
    torch.testing.assert_close(every_voxel, plain.pixels, rtol=1e-6, atol=5e-7)
    colour = [*range(P_RGB, P_RGB + 3), P_RGB2]
    shape = [k for k in range(PIXEL) if k not in colour]
    assert torch.equal(every_voxel[..., shape], plain.pixels[..., shape])
    more = ops.rasterize_forward(*run, features=F_ALL | F_RISE, samples=4)
    changed = [P_DEPTH, P_DISTORTION, P_RISE]
    same = [k for k in range(PIXEL) if k not in changed]
    a, b = plain.pixels.cpu()[sure], more.pixels.cpu()[sure]
    torch.testing.assert_close(a[:, same], b[:, same], rtol=2e-6, atol=2e-6)
    assert ((a - b)[:, changed].abs().amax(0) > 1e-4).all()


def test_results_do_not_depend_on_other_views(device):
    # Buffers kept between calls must not carry anything over.
    cases = [make_case(device, name) for name in ("oblique", "in the grid")]
    first = []
    for case in (*cases, *cases):
        record, rect = case.prepare()
        bins = case.bins(rect)
        forward = ops.rasterize_forward(record, rect, bins, case.view, max_weight=True)
        lists = (record, rect, bins, case.view, forward, random_gradient().to(device))
        grad = ops.rasterize_backward(*lists, deterministic=True)
        first.append((forward.pixels.clone(), forward.max_weight, grad.clone()))
    for a, b in zip(first[:2], first[2:], strict=True):
        for x, y in zip(a, b, strict=True):
            assert torch.equal(x, y)


def test_nothing_to_see(device):
    case = make_case(device, "oblique")
    away = np.eye(4)
    away[2, 3] = -5.0  # at z = 5, looking along +z
    K = intrinsics(WIDTH, HEIGHT, 30.0)
    view = ops.make_view(K, away, WIDTH, HEIGHT, NEAR, torch.device(device))
    blind = Case(case.scene, view, view.camera.cpu().double(), 3)
    record, rect = blind.prepare()
    assert ((rect[:, 2] <= rect[:, 0]) | (rect[:, 3] <= rect[:, 1])).all()
    bins = blind.bins(rect)
    forward = ops.rasterize_forward(record, rect, bins, view, max_weight=True)
    assert (forward.pixels[..., P_T] == 1).all()
    assert not forward.pixels[..., :P_T].any() and not forward.pixels[..., P_T + 1 :].any()
    assert (forward.last == -1).all() and not forward.max_weight.any()
    grad = ops.rasterize_backward(record, rect, bins, view, forward, random_gradient().to(device))
    assert not grad.any()
