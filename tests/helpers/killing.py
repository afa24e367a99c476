"""Killing a run before any of its operations on files.

A child process kills itself when Python is about to do its Nth operation that changes files: an
audit hook sees them all, so no moment of a commit is left to chance.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from fake_stages import STAGES, FakeConfig

from voxterra.pipeline.run import run

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def killed_at(
    operation: int, source: Path, out: Path, config: FakeConfig | None = None, stages=STAGES
) -> bool:
    """Run in a child that kills itself before that operation; False when it came to its end."""
    child = os.fork()
    if child == 0:
        left = operation

        def hook(event: str, arguments: tuple) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            if event in CHANGES or writes:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            list(run(source, out, config or FakeConfig(), stages=stages))
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def files(out: Path) -> dict[str, str]:
    """Content of all results and deliverables."""
    own = {"fingerprint.json", "source.json"}
    return {
        p.relative_to(out).as_posix(): p.read_text()
        for folder in ("stages", "products")
        for p in (out / folder).rglob("*")
        if p.is_file() and p.name not in own
    }
