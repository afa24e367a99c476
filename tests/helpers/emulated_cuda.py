"""The source of CUDA kernels, run on a CPU: a block after the other, a thread after the other.

A kernel may wait once for the other threads of its block (`syncthreads`), before which it writes
only to shared memory, and the same however often: all threads run up to there, then all again,
through to the end.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from voxterra.kernels.cuda.launch import Kernel


class _Waits(Exception):
    pass


class _Cuda:
    """What kernels use of the module `numba.cuda`."""

    def __init__(self) -> None:
        self.threadIdx, self.blockIdx = SimpleNamespace(x=0), SimpleNamespace(x=0, y=0)
        self.blockDim = SimpleNamespace(x=0)
        self.local = SimpleNamespace(array=lambda size, dtype: np.full(size, 77, dtype))
        self.shared = SimpleNamespace(array=self._shared)
        self.arrays: list[np.ndarray] = []
        self.wait, self.asked = False, 0

    def _shared(self, size: int, dtype: Any) -> np.ndarray:
        if self.asked == len(self.arrays):
            self.arrays.append(np.full(size, 77, dtype))
        self.asked += 1
        return self.arrays[self.asked - 1]

    def syncthreads(self) -> None:
        if self.wait:
            raise _Waits

    def run(self, kernel: Any, grid: tuple[int, int], block: int, values: list[Any]) -> None:
        self.blockDim.x = block
        for y, x in np.ndindex(grid[1], grid[0]):
            self.arrays, self.blockIdx = [], SimpleNamespace(x=x, y=y)
            for self.wait in (True, False):
                for thread in range(block):
                    self.threadIdx.x, self.asked = thread, 0
                    try:
                        kernel(*values)
                    except _Waits:
                        continue
                if not self.arrays:  # nothing to wait for: it is done
                    break


def emulate(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Let kernels of `module` run here, on tensors of the CPU."""
    fake = _Cuda()

    def launch(kernel: Kernel, grid: Any, block: int, *args: Any) -> None:
        values = []
        for (kind, dimensions), value in zip(kernel._words, args, strict=True):
            if isinstance(value, torch.Tensor):
                assert value.is_contiguous() and str(value.dtype).endswith(_NAMES[kind])
                values.append(value.numpy() if dimensions > 1 else value.numpy().reshape(-1))
            else:
                values.append(np.float32(value) if kind == "f32" else int(value))
        fake.run(kernel._pyfunc, grid if isinstance(grid, tuple) else (grid, 1), block, values)

    monkeypatch.setattr(module, "cuda", fake)
    monkeypatch.setattr(Kernel, "launch", launch)


_NAMES = {"f32": "float32", "i64": "int64", "i32": "int32", "u8": "uint8"}
