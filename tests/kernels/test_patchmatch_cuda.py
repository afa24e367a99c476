"""Stereo's CUDA kernels against those of the CPU; without a GPU their source runs emulated."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")
pytest.importorskip("numba_cuda")

from emulated_cuda import emulate  # noqa: E402

from voxterra.kernels.stereo import hypotheses as hy  # noqa: E402
from voxterra.kernels.stereo import patchmatch as cpu  # noqa: E402
from voxterra.kernels.stereo import patchmatch_cuda as gpu  # noqa: E402
from voxterra.kernels.stereo import planes as plane_kernels  # noqa: E402
from voxterra.kernels.stereo.planes import Sources, pack_quads  # noqa: E402

# Neither a multiple of a block's size.
HEIGHT, WIDTH, VIEWS = 37, 70, 3
TRUTH = 0.2  # inverse depth of the plane that all views see


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "emulated":
        emulate(monkeypatch, gpu)
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    return "cuda"


@pytest.fixture(scope="module")
def sources() -> Sources:
    """Views of another size than the reference, moved along x and y, with noise."""
    rng = np.random.default_rng(2)
    quads, planes, meta, forward, backward = [], [], [], [], []
    start = 0
    for k, (dx, dy) in enumerate([(3, 0), (-4, 1), (0, 5)]):
        wide = np.roll(_image(), (dy, dx), (0, 1))[: HEIGHT - k]
        noisy = np.clip(wide + rng.integers(-9, 9, wide.shape), 0, 255).astype(np.uint8)
        quads.append(pack_quads(noisy).ravel())
        meta.append((start, WIDTH, HEIGHT - k))
        start += noisy.size
        m = np.hstack([np.eye(3), [[dx / TRUTH], [dy / TRUTH], [0.01]]])
        forward.append(m)
        backward.append(np.hstack([m[:, :3], -m[:, 3:]]))
        own = np.zeros((noisy.size, 3))
        own[:, 0] = TRUTH * (1 + 0.01 * rng.normal(size=noisy.size))
        own[rng.random(noisy.size) < 0.1, 0] = 0  # unknown
        planes.append(own)
    return Sources(
        np.concatenate(quads),
        np.concatenate(planes).astype(np.float32),
        np.array(meta, np.int64),
        np.array(forward, np.float32),
        np.array(backward, np.float32),
    )


def _image() -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(1).normal(size=(HEIGHT, WIDTH)), 1.2)
    image = np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)
    image[:9, :12] = 90  # nothing to match
    return image


def _planes() -> np.ndarray:
    rng = np.random.default_rng(3)
    w = rng.uniform(0.1, 0.4, (HEIGHT, WIDTH, 1))
    w[::3] = TRUTH
    return np.concatenate([w, rng.normal(0, 0.002, (HEIGHT, WIDTH, 2))], 2).astype(np.float32)


def _matching(fine: bool, geo_weight: float) -> hy.Matching:
    offsets = hy.patch_offsets(fine=fine)
    spatial = np.exp(-(offsets**2).sum(0) / 50).astype(np.float32)
    return hy.Matching(offsets, spatial, np.float32(14), np.float32(geo_weight))


def _search(salt: int, explorations: int) -> hy.Search:
    values = (90, 90, WIDTH / 2, HEIGHT / 2, 0.05, 0.5, 0.02)
    return hy.Search(*(np.float32(v) for v in values), salt, 8 if explorations else 4, 3,
                     explorations)  # fmt: skip


class Problem:
    """The same problem twice: arrays for the CPU, tensors for the GPU."""

    def __init__(self, sources: Sources, device: str, fine: bool, geo_weight: float):
        matching = _matching(fine, geo_weight)
        self.gray = _image().astype(np.float32)
        self.sources, self.matching = sources, matching
        self.arrays = (
            _planes(),
            np.empty((HEIGHT, WIDTH), np.float32),
            np.empty((HEIGHT, WIDTH, VIEWS), np.float32),
        )

        def up(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array.copy()).to(device)

        self.reference = up(pack_quads(_image()).view(np.int32))
        self.tensors = tuple(map(up, self.arrays))
        self.on_gpu = gpu.GpuSources(up(sources.quads.view(np.int32)), *map(up, sources[1:]))
        self.values = up(gpu.matching_values(matching))

    def evaluate(self) -> None:
        cpu.evaluate(self.gray, *self.arrays, self.sources, self.matching)
        gpu.evaluate(self.reference, *self.tensors, self.on_gpu, self.values)

    def sweep(self, search: hy.Search, color: int) -> None:
        cpu.sweep(self.gray, *self.arrays, self.sources, self.matching, search, color)
        gpu.sweep(self.reference, *self.tensors, self.on_gpu, self.values, search, color)

    def found(self) -> list[np.ndarray]:
        return [t.cpu().numpy() for t in self.tensors]


@pytest.mark.parametrize(("fine", "geo_weight"), [(False, 0.0), (True, 0.12)])
def test_costs_are_those_of_the_cpu(sources, device, fine, geo_weight):
    problem = Problem(sources, device, fine, geo_weight)
    problem.evaluate()
    planes, costs, view_costs = problem.found()
    assert np.abs(costs - problem.arrays[1]).max() < 1e-3
    # At the border of a source view rounding may decide whether it is seen.
    off = np.abs(view_costs - problem.arrays[2])
    assert (off > 1e-3).mean() < 1e-3
    assert np.array_equal(planes, problem.arrays[0])
    assert costs[::3].mean() + 0.3 < costs[1::3].mean()  # the truth costs less


@pytest.mark.parametrize(("fine", "geo_weight", "explorations"), [(False, 0.0, 2), (True, 0.12, 0)])
def test_a_sweep_finds_what_it_finds_on_the_cpu(sources, device, fine, geo_weight, explorations):
    problem = Problem(sources, device, fine, geo_weight)
    problem.evaluate()
    before = [a.copy() for a in problem.arrays]
    problem.sweep(_search(5, explorations), 0)
    planes, costs, view_costs = problem.found()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    other = (x + y) % 2 == 1
    for now, then in zip((planes, view_costs), (before[0], before[2])):
        assert np.allclose(now[other], then[other], atol=1e-3)
        assert not np.allclose(now[~other], then[~other], atol=1e-3)
    # The same hypotheses are tried; where two cost the same, rounding may choose.
    same = np.isclose(planes[..., 0], problem.arrays[0][..., 0], rtol=1e-4)
    assert same.mean() > 0.99
    assert np.abs(costs - problem.arrays[1])[same].max() < 2e-3
    own = view_costs[same] - problem.arrays[2][same]
    assert (np.abs(own) > 2e-3).mean() < 2e-3


def test_all_sweeps_find_the_surface_as_on_the_cpu(sources, device):
    problem = Problem(sources, device, fine=False, geo_weight=0.0)
    problem.evaluate()
    for k in range(6):
        problem.sweep(_search(k, 2), k % 2)
    right = [
        (np.abs(p[8:-8, 8:-8, 0] / TRUTH - 1) < 0.03).mean()
        for p in (problem.found()[0], problem.arrays[0])
    ]
    assert right[1] > 0.9, right
    assert right[0] > right[1] - 0.01


def test_many_source_views(sources, device):
    """More than a kernel for 16 has room for."""
    often = 20
    meta = np.tile(sources.meta, (often // VIEWS + 1, 1))[:often]
    maps = [np.tile(m, (often // VIEWS + 1, 1, 1))[:often] for m in sources[3:]]
    problem = Problem(Sources(sources.quads, sources.planes, meta, *maps), device, False, 0.0)
    shape = (HEIGHT, WIDTH, often)
    problem.arrays = (*problem.arrays[:2], np.empty(shape, np.float32))
    problem.tensors = (*problem.tensors[:2], torch.empty(shape, device=device))
    problem.evaluate()
    problem.sweep(_search(1, 2), 1)
    planes, costs, _ = problem.found()
    same = np.isclose(planes[..., 0], problem.arrays[0][..., 0], rtol=1e-4)
    assert same.mean() > 0.98
    assert np.abs(costs - problem.arrays[1])[same].max() < 2e-3


def test_planes_on_a_finer_grid(device):
    coarse = torch.from_numpy(_planes()).to(device)
    out = torch.empty((61 * 103, 3), device=device)
    gpu.upsample_planes(coarse, out, 61, 103)
    expected = plane_kernels.upsample_planes(_planes(), 61, 103)
    assert np.allclose(out.cpu().numpy().reshape(61, 103, 3), expected, atol=1e-6)


def test_who_agrees(sources, device):
    problem = Problem(sources, device, False, 0.0)
    problem.arrays[0][5, :9, 0] = 0
    planes = torch.from_numpy(problem.arrays[0]).to(device)
    found = gpu.check_consistency(planes, problem.on_gpu, 1.5, 0.01)
    limits = np.float32(1.5), np.float32(0.01)
    expected = plane_kernels.check_consistency(problem.arrays[0], sources, *limits)
    assert expected[0].max() == VIEWS and (expected[1] > expected[0]).any()
    for a, b in zip(found, expected):
        assert a.shape == b.shape
        assert np.isclose(a.cpu().numpy(), b, rtol=1e-4).mean() > 0.998


def test_samples_beyond_a_block_s_margin_are_refused():
    wide = _matching(False, 0.0)._replace(offsets=2 * hy.patch_offsets())
    with pytest.raises(ValueError, match="5 px"):
        gpu.matching_values(wide)


@pytest.mark.parametrize("cc", [pytest.param((8, 0), marks=pytest.mark.nightly), (9, 0)])
@pytest.mark.parametrize("name", ["EVALUATE", "UPSAMPLE", "CHECK", "sweep 16", "sweep 32"])
def test_compiles_without_double_precision(name, cc):
    views = name.split()[1:]
    kernel = gpu.sweep_kernel(int(views[0])) if views else getattr(gpu, name)
    text = kernel.ptx(cc)
    assert f".target sm_{cc[0]}{cc[1]}" in text
    assert not re.search(r"\.f64\b", text)
    assert text.count(".visible .entry") == 1 and "call.uni" not in text
    assert not re.search(r"\b(atom|red)\.", text)  # repeatable


@pytest.mark.parametrize("name", ["EVALUATE", "CHECK", "sweep 16"])
def test_no_strides_are_read(name):
    """A launch tells shapes only: arrays are contiguous, and so are the parts that are taken."""
    kernel = gpu.sweep_kernel(16) if name == "sweep 16" else getattr(gpu, name)
    body = kernel.ptx((9, 0)).split(".visible .entry", 1)[1].split("{", 1)[1]
    read = {int(number) for number in re.findall(r"_param_(\d+)\]", body)}
    at, strides = 0, set()
    for _, dimensions in kernel._words:
        if dimensions:
            strides |= set(range(at + 5 + dimensions, at + 5 + 2 * dimensions))
        at += 5 + 2 * dimensions if dimensions else 1
    assert read and not read & strides


def test_room_for_views_gives_a_kernel_of_its_own():
    assert gpu.sweep_kernel(16)._digest((9, 0)) != gpu.sweep_kernel(32)._digest((9, 0))
