"""Matches between chosen pairs of photos, verified by epipolar geometry."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.core.progress import Progress
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.staging import StagedPhotos


def match_pairs(
    database: Path,
    staged: StagedPhotos,
    pairs: NDArray[np.int64],
    config: SfmConfig,
    *,
    guided: bool = False,
    progress: Progress,
) -> None:
    """Match those of `pairs` ((N, 2) photo indices) that are not in the database yet.

    Args:
        database: with features.
        staged: names of the photos.
        pairs: to match.
        config: threads and seed.
        guided: search again along the epipolar lines of matching pairs, where look-alikes elsewhere
            in the photo do not compete; takes longer.
        progress: called often.
    """
    pair_list = database.with_name("pairs.txt")
    lines = (f"{staged.names[a]} {staged.names[b]}\n" for a, b in pairs)
    pair_list.write_text("".join(lines), encoding="utf-8")
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = config.used_threads
    matching.guided_matching = guided
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = pair_list
    # Small blocks: COLMAP checks its cancellation token between blocks.
    pairing.block_size = 50
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = config.random_seed
    total = max(len(pairs), 1)
    with closing(pycolmap.Database.open(database)) as opened:
        there = sum(opened.exists_matches(int(a) + 1, int(b) + 1) for a, b in pairs)
        others = opened.num_matched_image_pairs() - there

    def work(token: pycolmap.CancellationToken) -> None:
        pycolmap.match_image_pairs(
            database,
            matching_options=matching,
            pairing_options=pairing,
            verification_options=verification,
            device=pycolmap.Device.cpu,
            cancellation_token=token,
        )

    def report() -> None:
        done = min(counter.num_matched_image_pairs() - others, len(pairs))
        progress(done / total, f"matched {done}/{len(pairs)} pairs")

    with closing(pycolmap.Database.open(database)) as counter:
        run_cancellable(work, report, folder=database.parent)
