"""SIFT features of every photo (Lowe, 2004; RootSIFT: Arandjelović and Zisserman, 2012)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pycolmap

from voxterra.core.progress import Progress
from voxterra.sfm.background import run_cancellable
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.database import count_photos_with_features
from voxterra.sfm.staging import StagedPhotos


def extract_features(
    database: Path, staged: StagedPhotos, config: SfmConfig, *, progress: Progress
) -> None:
    """Find features in the photos that have none in the database yet."""
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = config.max_image_size
    options.num_threads = config.used_threads
    options.sift.max_num_features = config.max_features
    total = len(staged.names)

    # COLMAP refuses photos without a mask as soon as it is told of masks.
    parts = [(staged.mask_dir, staged.masked_names), (None, staged.unmasked_names)]

    def work(token: pycolmap.CancellationToken) -> None:
        for mask_dir, names in parts:
            if not names or token.is_cancelled:
                continue
            reader = pycolmap.ImageReaderOptions()
            if mask_dir is not None:
                reader.mask_path = mask_dir
            pycolmap.extract_features(
                database,
                staged.image_dir,
                image_names=names,
                reader_options=reader,
                extraction_options=options,
                device=pycolmap.Device.cpu,
                cancellation_token=token,
            )

    def report() -> None:
        done = count_photos_with_features(counter, total)
        progress(done / total, f"features in {done}/{total} photos")

    with closing(pycolmap.Database.open(database)) as counter:
        run_cancellable(work, report, folder=database.parent)
