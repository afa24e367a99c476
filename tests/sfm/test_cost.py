"""Work counted, against the time that it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import no_progress
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import group_cameras
from voxterra.sfm.features.database import open_database
from voxterra.sfm.features.features import extract_features
from voxterra.sfm.features.matching import match_pairs
from voxterra.sfm.features.pairs import exhaustive_pairs
from voxterra.sfm.features.staging import stage_photos
from voxterra.sfm.retry.cost import Effort, count_effort
from voxterra.sfm.retry.rematch import rematch


def test_more_is_more_work():
    small = Effort(np.ones(3), np.array([1000, 2000, 20000]), 3, 500)
    assert small.of_all_before(2) > small.of_all_before(1) > small.megapixels.sum()
    assert small.of_guided(0, 1) < small.of_guided(1, 1) < small.of_guided(1, 2)
    assert small.of_guided(1, 2) < small.of_guided(2, 2)
    assert small.of_hardened(0) < small.of_hardened(2)
    assert replace(small, tried=6).of_all_before(1) > small.of_all_before(1)


@pytest.mark.slow
def test_the_count_tells_the_time(
    shared_data: Callable[[str], Path], photo_set: Callable[..., PhotoSet], tmp_path: Path
) -> None:
    """Guided and hardened matching take as long, in terms of all before, as counted."""
    photos = photo_set(shared_data("uav_brighton_beach") / "images").photos[:4]
    config = SfmConfig(threads=1)
    staged = stage_photos(photos, tmp_path, progress=no_progress)
    database = open_database(photos, staged, group_cameras(photos, config), config, tmp_path)
    pairs = exhaustive_pairs(len(photos))

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        with quiet_colmap():
            work()
        return time.process_time() - start

    def before() -> None:
        extract_features(database, staged, config, progress=no_progress)
        match_pairs(database, staged, pairs, config, progress=no_progress)

    unit = seconds(before)
    effort = count_effort(database, photos, config)
    unit /= effort.of_all_before(0)
    for way in ("guided", "hardened"):
        hardened = way == "hardened"
        counted = sum(effort.of_guided(a, b, hardened=hardened) for a, b in pairs.tolist())
        counted += hardened * sum(effort.of_hardened(i) for i in range(len(photos)))
        took = seconds(
            lambda way=way: rematch(way, database, pairs, staged, config, progress=no_progress)
        )
        assert 0.3 < took / (unit * counted) < 2.0
