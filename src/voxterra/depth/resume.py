"""What an interrupted call left behind is used again only by a call that asks the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path

from voxterra.core.camera import PinholeView
from voxterra.core.photos import PhotoSet
from voxterra.depth.config import DepthConfig
from voxterra.io.files.atomic import atomic_path

_PARTS = ("work", "depth", "color", "mask")


def take_up(
    out_dir: Path,
    views: tuple[PinholeView, ...],
    sources: list[tuple[int, ...]],
    photos: PhotoSet,
    config: DepthConfig,
) -> None:
    """Empty `out_dir` of depth maps and photos unless they come from this very question."""
    by_id = photos.by_id()
    # Where it is computed does not count, so that work may go on on another machine.
    counting = {f.name for f in fields(config) if f.metadata.get("affects_result", True)}
    counting.discard("aoi")  # which shows in the views
    question = {
        "config": {name: value for name, value in asdict(config).items() if name in counting},
        "views": [
            [v.name, v.K.tolist(), v.cam_from_world.tolist(), v.width, v.height, asdict(v.camera)]
            for v in views
        ],
        "sources": sources,
        "photos": [by_id[v.name].sha256 for v in views],
    }
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    record = out_dir / "question.sha256"
    if record.exists() and record.read_text() == digest:
        return
    for part in _PARTS:
        shutil.rmtree(out_dir / part, ignore_errors=True)
    with atomic_path(record) as temporary:
        temporary.write_text(digest)
