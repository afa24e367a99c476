"""CUDA kernels of the voxel renderer and of stereo compile, without a GPU, to what they should."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba_cuda")

from voxterra.kernels.cuda.launch import Kernel  # noqa: E402
from voxterra.kernels.stereo import patchmatch_cuda  # noqa: E402
from voxterra.kernels.voxels import cuda as package  # noqa: E402
from voxterra.kernels.voxels import math as vm  # noqa: E402
from voxterra.kernels.voxels.cuda import backward, forward, prepare  # noqa: E402
from voxterra.kernels.voxels.cuda import bins as bin  # noqa: E402

CC = (9, 0)
PARAMETER = re.compile(r"\.param \.(\w+) ")


def kernels() -> dict[str, Kernel]:
    """All kernels: those that modules hold, and those made on demand for the options of a call."""
    found = {
        "forward, all": forward.kernel(vm.F_ALL, True),
        "forward, least": forward.kernel(0, False),
        "backward, all": backward.kernel(vm.F_ALL, False),
        "backward, rows": backward.kernel(vm.F_NORMAL, True),
        "forward, rise and parts": forward.kernel(vm.F_ALL | vm.F_RISE, True, samples=3),
        "backward, rise and parts": backward.kernel(vm.F_ALL | vm.F_RISE, False, samples=3),
        "backward, rise and parts in rows": backward.kernel(vm.F_RISE, True, samples=16),
        "prepare": prepare.prepare_kernel(3),
        "prepare, all": prepare.prepare_kernel(3, False),
        "prepare, degree 0": prepare.prepare_kernel(0),
    }
    for key in ("i16", "i32"):
        found[f"emit {key}"] = bin.emit_kernel(key)
        found[f"finish {key}"] = bin.finish_kernel(key)
        found[f"sum {key}"] = backward.sum_kernel(key)
    found["stereo's sweep"] = patchmatch_cuda.sweep_kernel(16)
    for kernel in (patchmatch_cuda.EVALUATE, patchmatch_cuda.UPSAMPLE, patchmatch_cuda.CHECK):
        found[kernel.name] = kernel
    for module in pkgutil.iter_modules(package.__path__):
        members = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        found |= {v.name: v for v in members.values() if isinstance(v, Kernel)}
    return found


KERNELS = kernels()


@pytest.mark.parametrize("name", list(KERNELS))
def test_compiles_without_double_precision(name):
    text = KERNELS[name].ptx(CC)
    assert ".target sm_90" in text
    # One 64-bit number slows a kernel many times; int64 times float32 would make one.
    assert not re.search(r"\.f64\b", text)
    assert text.count(".visible .entry") == 1


@pytest.mark.parametrize("name", list(KERNELS))
def test_parameters_are_those_that_a_launch_writes(name):
    kernel = KERNELS[name]
    entry = KERNELS[name].ptx(CC).split(".visible .entry", 1)[1].split(")", 1)[0]
    want = []
    for dtype, dim in kernel._words:
        scalar = {"f32": "f32", "i32": "u32", "i64": "u64"}
        want += ["u64"] * (5 + 2 * dim) if dim else [scalar[dtype]]
    assert PARAMETER.findall(entry) == want
    assert len(kernel._slots) == len(want)


def test_records_are_read_16_bytes_at_a_time():
    for kernel in (forward.kernel(vm.F_ALL, True), backward.kernel(vm.F_ALL, False)):
        assert kernel.ptx(CC).count("ld.global.nc.v4.f32") >= vm.RECORD // 4


def test_outputs_left_out_cost_nothing():
    full, least = forward.kernel(vm.F_ALL, False).ptx(CC), forward.kernel(0, False).ptx(CC)
    assert "lg2.approx" in full  # the median's logarithm
    assert "lg2.approx" not in least


def test_options_have_kernels_of_their_own_in_the_cache():
    digests = {
        forward.kernel(f, w, samples=n)._digest(CC)
        for f in range(32)
        for w in (False, True)
        for n in (1, 3)
    }
    assert len(digests) == 128
    assert prepare.prepare_kernel(3)._digest(CC) != prepare.prepare_kernel(3, False)._digest(CC)


def test_a_launch_says_what_is_wrong_with_its_arguments():
    kernel = prepare.corners_kernel
    with pytest.raises(TypeError, match="contiguous"):
        kernel._write((torch.zeros(3, dtype=torch.float64), None, None, None, 1))
    with pytest.raises(ValueError, match="f99"):
        Kernel(prepare._corners, "f99[]")
