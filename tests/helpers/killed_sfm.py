"""Structure from motion in a process of its own that is killed in the midst of a step."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from pathlib import Path

from voxterra.core.photos import PhotoSet
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct


def killed_while(step: str, photos: PhotoSet, config: SfmConfig, work_dir: Path) -> int:
    """Exit code of a process that does it and is killed in `step` of matching again hardened.

    Args:
        step: how the message of its progress begins, such as "features in".
    """
    # Not forked: COLMAP's threads would be missing in the child.
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_until, args=(step, photos, config, work_dir))
    process.start()
    process.join(120)
    code = process.exitcode
    process.kill()
    assert code is not None, "neither killed nor done"
    return code


def _until(step: str, photos: PhotoSet, config: SfmConfig, work_dir: Path) -> None:
    def report(fraction: float, message: str = "") -> None:
        done = re.match(rf"{step} (\d+)/(\d+)", message)
        if not done or not list(work_dir.glob("*.hardened-*.features.db")):
            return
        if 0 < int(done[1]) < int(done[2]):  # COLMAP's threads are at work
            os.kill(os.getpid(), signal.SIGKILL)

    reconstruct(photos, config, work_dir=work_dir, progress=report)
