"""What an interrupted call left behind is used again only by a call that asks the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voxterra.core.photos import PhotoSet
from voxterra.depth.config import DepthConfig, counting_options
from voxterra.depth.source import DepthTask
from voxterra.io.files.atomic import atomic_path

_PARTS = ("work", "depth", "color", "mask", "bands")


def resume_or_clear(
    out_dir: Path,
    tasks: Sequence[DepthTask],
    photos: PhotoSet,
    config: DepthConfig,
    sources: Mapping[str, Any],
) -> None:
    """Empty `out_dir` of depth maps and photos unless they come from this very question.

    Args:
        sources: versions and options of depth sources other than stereo.
    """
    by_id = photos.by_id()
    # Where it is computed does not count: work may be resumed on another machine.
    counting = counting_options(config)
    del counting["aoi"]  # which shows in the views
    views = [task.view for task in tasks]
    question: dict[str, Any] = {
        "config": counting,
        "views": [
            [v.name, v.K.tolist(), v.cam_from_world.tolist(), v.width, v.height, asdict(v.camera)]
            for v in views
        ],
        "sources": [task.neighbours for task in tasks],
        "photos": [by_id[v.name].sha256 for v in views],
    }
    stretches = [by_id[v.name].stretch for v in views]
    if any(stretch is not None for stretch in stretches):
        question["stretches"] = stretches
    if sources:
        question["depth_sources"] = sources
    digest = hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()
    record = out_dir / "question.sha256"
    if record.exists() and record.read_text() == digest:
        return
    for part in _PARTS:
        shutil.rmtree(out_dir / part, ignore_errors=True)
    with atomic_path(record) as temporary:
        temporary.write_text(digest)
