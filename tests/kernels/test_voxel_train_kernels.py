"""Kernels of the voxels' regularisers and optimiser against their slow twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from voxel_scene import LEVELS, VoxelScene, camera_values, intrinsics, look_at, voxel_scene

from voxterra.kernels.voxels import ops_train
from voxterra.kernels.voxels.reference import train as twin
from voxterra.testing import assert_grad_close

DEVICES = ["cpu", "emulated", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where to run; `emulated` runs the source of the CUDA kernels, a thread after the other."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    if request.param == "emulated":
        pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")
        emulate(monkeypatch)
        return "cpu"
    return str(request.param)


def emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxterra.kernels.cuda import launch
    from voxterra.kernels.voxels.cuda import optimise, stencil

    now = SimpleNamespace(thread=0)
    fake = SimpleNamespace(
        grid=lambda dimensions: now.thread, local=SimpleNamespace(array=np.zeros)
    )
    for module in (optimise, stencil):
        monkeypatch.setattr(module, "cuda", fake)

    def run(kernel: launch.Kernel, grid: int, block: int, *args: Any) -> None:
        values = []
        for (_, dimensions), value in zip(kernel._words, args, strict=True):
            if isinstance(value, torch.Tensor):
                assert value.is_contiguous()
                values.append(value.numpy() if dimensions > 1 else value.numpy().reshape(-1))
            elif value is None:
                values.append(np.empty(0, np.float32))
            else:
                values.append(np.float32(value) if isinstance(value, float) else value)
        with np.errstate(all="ignore"):
            for now.thread in range(grid * block):
                kernel._pyfunc(*values)

    monkeypatch.setattr(launch.Kernel, "launch", run)
    monkeypatch.setattr(ops_train, "_on_gpu", lambda tensor: True)


@pytest.fixture(scope="module")
def scene() -> VoxelScene:
    return voxel_scene(3, start=2, split_until=4)


def lattice_rows(scene: VoxelScene) -> tuple[torch.Tensor, torch.Tensor]:
    """Stencils of the corners at the edges of their voxels, a row a (corner, level)."""
    lattice = torch.round((scene.lo_size[:, :3] + 1) / 2 * (1 << LEVELS)).long()
    bits = torch.tensor([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)])
    rows, spacing = [], []
    for level in scene.level.unique().tolist():
        edge = 1 << (LEVELS - level)
        cells = scene.level == level
        corner = lattice[cells][:, None] + edge * bits
        where = dict(
            zip(
                map(tuple, corner.reshape(-1, 3).tolist()),
                scene.corner_index[cells].reshape(-1).tolist(),
            )
        )
        for (x, y, z), index in sorted(where.items()):
            beside = [
                (x - edge, y, z), (x + edge, y, z), (x, y - edge, z),
                (x, y + edge, z), (x, y, z - edge), (x, y, z + edge),
            ]  # fmt: skip
            rows.append([index, *(where.get(place, -1) for place in beside)])
            spacing.append(2.0 / (1 << level))
    return torch.tensor(rows, dtype=torch.int32), torch.tensor(spacing, dtype=torch.float32)


def stencil_twin(
    sdf: torch.Tensor,
    rows: torch.Tensor,
    h: torch.Tensor,
    weights: tuple[float, float],
    reduction: str,
) -> tuple[np.ndarray, np.ndarray]:
    """(the two terms, gradient)."""
    f = sdf.double().requires_grad_()
    terms = twin.stencil_terms(f, rows, h.double())
    both = [getattr(t, reduction)() if len(t) else f.sum() * 0 for t in terms]
    (weights[0] * both[0] + weights[1] * both[1]).backward()
    return np.array([t.item() for t in both]), f.grad.numpy()


@pytest.mark.parametrize("weights", [(0.7, 0.0), (0.0, 0.4), (0.7, 0.4)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_lattice_terms_agree_with_the_twin(scene, device, weights, reduction):
    rows, h = lattice_rows(scene)
    assert (rows[:, 1:] >= 0).all(1).sum() > 30 and (rows < 0).any()
    expected, grad = stencil_twin(scene.sdf, rows, h, weights, reduction)
    got = torch.zeros_like(scene.sdf, device=device)
    on = [t.to(device) for t in (scene.sdf, rows, h)]
    loss = ops_train.stencil_loss(*on, got, *weights, reduction=reduction)
    np.testing.assert_allclose(loss.cpu(), expected, rtol=1e-5)
    assert_grad_close(got.cpu(), grad)


def test_any_block_of_the_lattice_can_be_visited(scene, device):
    rows, h = lattice_rows(scene)
    on = [t.to(device) for t in (scene.sdf, rows, h)]
    for start, count in ((0, 1), (101, 333), (len(rows) - 50, 50)):
        expected, grad = stencil_twin(
            scene.sdf, rows[start : start + count], h[start : start + count], (0.3, 0.2), "mean"
        )
        got = torch.zeros_like(scene.sdf, device=device)
        loss = ops_train.stencil_loss(*on, got, 0.3, 0.2, start, count)
        np.testing.assert_allclose(loss.cpu(), expected, rtol=1e-5, atol=1e-7)
        assert_grad_close(got.cpu(), grad)
    with pytest.raises(ValueError, match="rows"):
        ops_train.stencil_loss(*on, got, 0.3, 0.2, 10, len(rows))


@pytest.mark.parametrize("seed", [0, 7, 4_000_000_007])
def test_eikonal_at_centres_agrees_with_the_twin(scene, device, seed):
    half = twin.chosen(seed, len(scene.path))
    assert 0.4 < half.float().mean() < 0.6
    f = scene.sdf.double().requires_grad_()
    size = scene.lo_size[:, 3]
    expected = twin.voxel_eikonal_terms(f, scene.corner_index, size.double())[half].mean()
    (0.6 * expected).backward()
    on, got = scene.to(device), torch.zeros_like(scene.sdf, device=device)
    lists = (on.corner_index, on.lo_size[:, 3], on.corner_start, on.corner_slot)
    loss = ops_train.voxel_eikonal(on.sdf, *lists, got, 0.6, seed)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_grad_close(got.cpu(), f.grad)


def test_total_variation_agrees_with_the_twin(scene, device):
    f = scene.sdf.double().requires_grad_()
    size = scene.lo_size[:, 3]
    expected = twin.total_variation_terms(f, scene.corner_index, size.double()).sum()
    (0.6 * expected).backward()
    on, got = scene.to(device), torch.zeros_like(scene.sdf, device=device)
    lists = (on.corner_index, on.lo_size[:, 3], on.corner_start, on.corner_slot)
    loss = ops_train.total_variation(on.sdf, *lists, got, 0.6, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_grad_close(got.cpu(), f.grad)


def test_a_plane_costs_nothing_and_gradients_add_up(scene, device):
    rows, h = lattice_rows(scene)
    bits = torch.tensor([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)])
    corners = scene.lo_size[:, None, :3] + scene.lo_size[:, None, 3:] * bits
    position = torch.zeros(len(scene.sdf), 3)
    position[scene.corner_index.reshape(-1).long()] = corners.reshape(-1, 3)
    plane = (position @ torch.tensor([0.6, 0.0, 0.8]) + 0.1).to(device)
    on, got = scene.to(device), torch.full_like(plane, 2.0)
    loss = ops_train.stencil_loss(plane, rows.to(device), h.to(device), got, 1.0, 1.0)
    lists = (on.corner_index, on.lo_size[:, 3], on.corner_start, on.corner_slot)
    flat = ops_train.voxel_eikonal(plane, *lists, got, 1.0, 1)
    assert max(*loss.tolist(), flat.item()) < 1e-9
    torch.testing.assert_close(got, torch.full_like(got, 2.0), atol=1e-4, rtol=0)


def test_it_repeats_bit_for_bit(scene, device):
    import numba

    rows, h = lattice_rows(scene)
    on = scene.to(device)
    lists = (on.corner_index, on.lo_size[:, 3], on.corner_start, on.corner_slot)
    results = []
    threads = numba.get_num_threads()
    for count in (threads, 1):
        numba.set_num_threads(count)
        got = torch.zeros_like(on.sdf)
        ops_train.stencil_loss(on.sdf, rows.to(device), h.to(device), got, 0.5, 0.2)
        ops_train.voxel_eikonal(on.sdf, *lists, got, 0.6, 5)
        ops_train.total_variation(on.sdf, *lists, got, 0.1)
        results.append(got)
    numba.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize("scaled", [False, True])
def test_adam_is_that_of_torch(device, scaled):
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(5000, generator=rng)
    scale = torch.rand(5000, generator=rng) + 0.5 if scaled else None
    beta1, beta2, eps = 0.1, 0.99, 1e-15
    ours = start.clone().to(device)
    m, v = torch.zeros_like(ours), torch.zeros_like(ours)
    theirs = start.double().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.02, betas=(beta1, beta2), eps=eps)
    for step in range(1, 6):
        grad = torch.randn(5000, generator=rng) + 0.01
        assert (grad != 0).all()
        factor = None if scale is None else scale.to(device)
        ops_train.adam(ours, grad.to(device), m, v, 0.02, factor, beta1, beta2, eps, step)
        theirs.grad = grad.double()
        optimiser.step()
    moved = theirs.detach() - start
    expected = start + moved * (1 if scale is None else scale)
    torch.testing.assert_close(ours.cpu().double(), expected, rtol=1e-5, atol=1e-5)
    state = optimiser.state[theirs]
    torch.testing.assert_close(m.cpu().double(), state["exp_avg"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(v.cpu().double(), state["exp_avg_sq"], rtol=1e-4, atol=1e-6)


def test_adam_leaves_what_has_no_gradient(device):
    param, m, v = (torch.full((9,), x, device=device) for x in (1.0, 0.5, 0.25))
    grad = torch.zeros(9, device=device)
    grad[4] = 1e-3
    ops_train.adam(param, grad, m, v, 0.1, None, 0.9, 0.999, 1e-15, 3)
    for tensor, kept in ((param, 1.0), (m, 0.5), (v, 0.25)):
        changed = tensor != kept
        assert changed.nonzero().tolist() == [[4]]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_adam_of_the_colours_is_that_of_torch(scene, device, degree):
    cam = camera_values(intrinsics(32, 24, 30.0), look_at((1.5, 1.9, 1.4), (0, 0, 0)), 32, 24, 0.1)
    on = scene.to(device)
    sh0, shs = on.sh0.clone(), on.shs.clone()
    moments0 = (torch.zeros_like(sh0), torch.zeros_like(sh0))
    moments = (torch.zeros_like(shs), torch.zeros_like(shs))
    hidden = torch.arange(len(sh0)) % 5 == 0
    theirs = [scene.sh0.double().requires_grad_(), scene.shs.double().requires_grad_()]
    groups = [{"params": [theirs[0]], "lr": 0.01}, {"params": [theirs[1]], "lr": 0.002}]
    optimiser = torch.optim.Adam(groups, betas=(0.1, 0.99), eps=1e-15)
    used = (degree + 1) ** 2 - 1
    rng = torch.Generator().manual_seed(1)
    for step in range(1, 4):
        grad = torch.randn(sh0.shape, generator=rng)
        grad[hidden] = 0
        numbers = (degree, 0.01, 0.002, 0.1, 0.99, 1e-15, step)
        state = (sh0, shs, moments0, moments)
        view = cam.float().to(device)
        ops_train.sh_adam(*state, grad.to(device), on.lo_size, view, *numbers)
        first, rest = twin.sh_gradients(grad.double(), scene.lo_size.double(), cam, degree)
        theirs[0].grad = first
        theirs[1].grad = torch.zeros_like(theirs[1])
        theirs[1].grad[:, :used] = rest
        optimiser.step()
    # A basis function near 0 gives a gradient whose sign float32 does not know, and the first
    # steps of Adam are all sign.
    basis = twin.sh_gradients(torch.ones_like(theirs[0]), scene.lo_size.double(), cam, degree)[1]
    sure = torch.ones_like(theirs[1], dtype=torch.bool)
    sure[:, :used] = basis.abs() > 1e-4
    assert sure.float().mean() > 0.98
    torch.testing.assert_close(sh0.cpu().double(), theirs[0].detach(), rtol=1e-5, atol=1e-5)
    difference = (shs.cpu().double() - theirs[1].detach()).abs()
    assert difference[sure].max() < 1e-5
    assert torch.equal(sh0.cpu()[hidden], scene.sh0[hidden])
    assert torch.equal(shs.cpu()[hidden], scene.shs[hidden])
    assert torch.equal(shs.cpu()[:, used:], scene.shs[:, used:])
    assert not torch.equal(sh0.cpu()[~hidden], scene.sh0[~hidden])


def test_gpu_kernels_compile_without_double_precision():
    pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")
    from voxterra.kernels.cuda.launch import Kernel
    from voxterra.kernels.voxels.cuda import optimise, stencil

    kernels = [k for module in (stencil, optimise) for k in vars(module).values()]
    kernels = [k for k in kernels if isinstance(k, Kernel)]
    assert len(kernels) == 8
    for kernel in kernels:
        ptx = kernel.ptx((9, 0))
        assert ".entry" in ptx and ".target sm_90" in ptx, kernel.name
        assert ".f64" not in ptx, f"{kernel.name} computes in double precision"
        assert "atom." not in ptx and "red." not in ptx, f"{kernel.name} is not repeatable"


def test_where_corners_occur_is_the_same_in_blocks(scene, monkeypatch):
    rows = lattice_rows(scene)[0]
    corners = int(scene.corner_index.max()) + 1
    start, slot = ops_train.stencil_adjacency(rows, corners)
    flat = rows.reshape(-1)
    for corner in range(corners):
        mine = slot[start[corner] : start[corner + 1]]
        assert torch.equal(mine, torch.nonzero(flat == corner)[:, 0].int())
    monkeypatch.setattr(ops_train, "_SORTED_TOGETHER", 17)
    again = ops_train.stencil_adjacency(rows, corners)
    assert torch.equal(again[0], start) and torch.equal(again[1], slot)
