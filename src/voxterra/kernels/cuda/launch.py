"""Compile a Numba kernel to PTX once, and launch it on torch tensors with little overhead.

Numba's own dispatcher describes every torch tensor again at every launch, tens of microseconds an
array. Here a launch writes pointers and sizes into one prepared buffer of parameters. The compiled
PTX is kept on disk beside the other kernels; the driver turns it into machine code (and keeps that
in a cache of its own).

Parameters of Numba's calling convention for an array of d dimensions are 5 + 2 d 64-bit words:
meminfo, parent, number of items, item size, data, shape[d], strides[d].
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from voxterra import kernels
from voxterra.errors import MissingPartError, VoxterraError

_COMPILING = threading.Lock()
_TYPES: dict[str, tuple[torch.dtype, int, str]] = {
    "f32": (torch.float32, 4, "float32"),
    "i64": (torch.int64, 8, "int64"),
    "i32": (torch.int32, 4, "int32"),
    "i16": (torch.int16, 2, "int16"),
    "i8": (torch.int8, 1, "int8"),
    "u8": (torch.uint8, 1, "uint8"),
}


class Kernel:
    """A CUDA kernel of torch tensors.

    Args:
        pyfunc: kernel as `numba.cuda.jit` takes it, undecorated. It may call `@njit` functions of
            scalars. Numbers it closes over are constants of the compiled code.
        signature: one word a parameter: `f32 i64 i32` (scalars), `f32[] i32[,] i8[]` (contiguous
            arrays of one or more dimensions). A parameter of one dimension takes a contiguous
            tensor of any shape, flattened, or None (length 0).
        launch_bounds: largest number of threads of a block, or (threads, blocks on a
            multiprocessor), for the compiler's choice of registers.
    """

    def __init__(
        self,
        pyfunc: Callable[..., None],
        signature: str,
        launch_bounds: int | tuple[int, ...] | None = None,
    ):
        self._pyfunc, self._signature, self._bounds = pyfunc, signature, launch_bounds
        self._functions: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._words = [_parse(word) for word in signature.split()]
        count = sum(1 if dim == 0 else 5 + 2 * dim for _, dim in self._words)
        self._slots = (ctypes.c_int64 * count)()
        addresses = [ctypes.addressof(self._slots) + 8 * i for i in range(count)]
        self._params = (ctypes.c_void_p * count)(*addresses)
        self._plan = _plan(self._words, self._slots)

    @property
    def name(self) -> str:
        """Name of the kernel in messages and in the cache."""
        return f"{self._pyfunc.__module__}.{self._pyfunc.__qualname__}".replace(".<locals>", "")

    @property
    def loaded(self) -> bool:
        """Whether a GPU has it already."""
        return bool(self._functions)

    def ptx(self, cc: tuple[int, int]) -> str:
        """PTX for compute capability `cc`, compiled now or read from the cache; needs no GPU.

        Raises:
            MissingPartError: numba-cuda or its compiler is not installed.
        """
        path = kernels._cache_dir() / "ptx" / f"{self._digest(cc)}.ptx"
        if path.exists():
            return path.read_text()
        text = self._compile(cc)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(text)
        os.replace(part, path)
        return text

    def launch(self, grid: int | tuple[int, int], block: int, *args: Any) -> None:
        """Run on torch's current stream of the current device.

        Args:
            grid: blocks, (x) or (x, y); nothing runs where it is 0.
            block: threads of a block.
            args: contiguous tensors on that device, and numbers, as the signature says.

        Raises:
            TypeError: a tensor's type, device or layout is not the signature's.
            torch.OutOfMemoryError: the GPU's memory is full.
            VoxterraError: the driver refused.
        """
        gx, gy = (grid, 1) if isinstance(grid, int) else grid
        if gx == 0 or gy == 0:
            return
        if len(args) != len(self._plan):
            raise TypeError(f"{self.name} takes {len(self._plan)} arguments, not {len(args)}")
        device = torch.cuda.current_device()
        function = self._functions.get(device) or self._load(device)
        stream = torch._C._cuda_getCurrentRawStream(device)
        driver, parameters = self._driver, ctypes.addressof(self._params)
        with self._lock:
            self._write(args)
            ran = driver.cuLaunchKernel(function, gx, gy, 1, block, 1, 1, 0, stream, parameters, 0)[
                0
            ]
            if ran == driver.CUresult.CUDA_ERROR_INVALID_CONTEXT:
                # A thread on which torch has not worked yet, such as one of autograd's.
                torch.cuda.set_device(device)
                ran = driver.cuLaunchKernel(
                    function, gx, gy, 1, block, 1, 1, 0, stream, parameters, 0
                )[0]
        if ran:
            _check(driver, ran, f"start {self.name}")

    def _write(self, args: tuple[Any, ...]) -> None:
        slots = self._slots
        for (at, dtype, dim, pack), value in zip(self._plan, args, strict=True):
            if dim == 0:
                slots[at] = int(value) if pack is None else pack(value)
            elif value is None:
                slots[at + 2] = slots[at + 4] = slots[at + 5] = 0
            else:
                if value.dtype is not dtype or not value.is_cuda or not value.is_contiguous():
                    raise TypeError(f"{self.name}: a tensor is not {dtype}, on the GPU, contiguous")
                slots[at + 2] = slots[at + 5] = value.numel()
                slots[at + 4] = value.data_ptr()
                if dim > 1:
                    slots[at + 5 : at + 5 + dim] = value.shape

    def _load(self, device: int) -> Any:
        from cuda.bindings import driver

        torch.cuda.init()
        torch.cuda.set_device(device)  # makes torch's context current, which the driver loads into
        torch.cuda.current_stream(device)
        image = self.ptx(torch.cuda.get_device_capability(device)).encode() + b"\0"
        code, module = driver.cuModuleLoadData(image)
        _check(driver, code, f"load {self.name}")
        entry = re.search(rb"\.entry\s+([^\s(]+)", image)
        assert entry is not None
        code, function = driver.cuModuleGetFunction(module, entry.group(1))
        _check(driver, code, f"find {self.name}")
        self._driver = driver
        self._functions[device] = function
        return function

    def _digest(self, cc: tuple[int, int]) -> str:
        cells = [cell.cell_contents for cell in self._pyfunc.__closure__ or ()]
        constants = [repr(c) for c in cells if isinstance(c, int | float | np.generic)]
        described = (self.name, self._signature, self._bounds, constants, cc, _numba_version())
        return hashlib.sha256(repr(described).encode()).hexdigest()[:24]

    def _compile(self, cc: tuple[int, int]) -> str:
        cuda = import_numba_cuda()
        with _COMPILING, _compile_for(cc):
            text, _ = cuda.compile_ptx(
                self._pyfunc,
                cuda.types.void(*(_numba_type(cuda.types, *word) for word in self._words)),
                fastmath=True,
                cc=cc,
                launch_bounds=self._bounds,
            )
        return str(text)


def import_numba_cuda() -> Any:
    """The module `numba.cuda`.

    Raises:
        MissingPartError: it is not installed.
    """
    # numba-cuda 0.30 names np.row_stack while it is imported, which NumPy 2.5 has removed.
    if not hasattr(np, "row_stack"):
        np.row_stack = np.vstack  # noqa: NPY201
    try:
        from numba import cuda
        from numba.cuda import types

        cuda.types = types
        return cuda
    except ImportError as error:
        raise MissingPartError(
            f"numba-cuda cannot be used: {error}",
            next_step="pip install 'numba-cuda[cu13]'",
        ) from error


def _numba_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("numba-cuda")
    except PackageNotFoundError:
        import_numba_cuda()
        return "unknown"


@contextmanager
def _compile_for(cc: tuple[int, int]) -> Iterator[None]:
    """numba-cuda asks the current device for what to compile a called `@njit` function for; the
    answer here is `cc`, so that kernels also compile where there is no GPU."""
    import importlib

    dispatcher: Any = importlib.import_module("numba.cuda.dispatcher")

    class Device:
        compute_capability = cc

    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: Device
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def _parse(word: str) -> tuple[str, int]:
    match = re.fullmatch(r"([fiu]\d+)(\[(,*)\])?", word)
    if match is None or match[1] not in _TYPES:
        raise ValueError(f"{word!r} is no type of a parameter")
    return match[1], 0 if match[2] is None else 1 + len(match[3])


def _numba_type(types: Any, name: str, dim: int) -> Any:
    scalar = getattr(types, _TYPES[name][2])
    return scalar if dim == 0 else types.Array(scalar, dim, "C")


def _plan(words: list[tuple[str, int]], slots: Any) -> list[tuple[int, Any, int, Any]]:
    """Where each argument goes in `slots`; writes there what never changes."""
    plan: list[tuple[int, Any, int, Any]] = []
    at = 0
    for name, dim in words:
        if dim == 0:
            plan.append((at, None, 0, _float_bits if name == "f32" else None))
            at += 1
            continue
        dtype, size, _ = _TYPES[name]
        slots[at + 3] = slots[at + 5 + 2 * dim - 1] = size
        plan.append((at, dtype, dim, None))
        at += 5 + 2 * dim
    return plan


def _float_bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def _check(driver: Any, code: Any, doing: str) -> None:
    if code == driver.CUresult.CUDA_SUCCESS:
        return
    if code == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise torch.OutOfMemoryError(f"CUDA out of memory: could not {doing}.")
    _, text = driver.cuGetErrorString(code)
    newer = code == driver.CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    raise VoxterraError(
        f"The GPU's driver could not {doing}: {bytes(text or b'').decode() or code}",
        next_step="update the GPU's driver, or install a numba-cuda for its CUDA version"
        if newer
        else "run with CUDA_LAUNCH_BLOCKING=1 to find the failing step, and report it",
    )
