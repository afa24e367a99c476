"""A GPU whose memory something else has taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def skip_without_gpu() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("numba_cuda")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")


@contextmanager
def leaving(left: int) -> Iterator[None]:
    """All memory of the GPU but `left` bytes is taken; 0: down to the last block."""
    import torch

    torch.cuda.empty_cache()
    taken = []
    for block in (1 << 30, 1 << 26, 1 << 21):
        while torch.cuda.mem_get_info()[0] - block >= left:
            try:
                taken.append(torch.empty(block, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                break
    try:
        yield
    finally:
        taken.clear()
        torch.cuda.empty_cache()
