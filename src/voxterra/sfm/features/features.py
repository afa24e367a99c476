"""SIFT features of every photo (Lowe, 2004; RootSIFT: Arandjelović and Zisserman, 2012)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pycolmap

from voxterra.adjust.colmap_calls import run_cancellable
from voxterra.core.progress import Progress
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import FeatureCount
from voxterra.sfm.features.staging import StagedPhotos

# Peak of the difference of Gaussians from which on it is a feature, for photos with little texture:
# half of COLMAP's usual.
_LOW_PEAK = 0.5 * 0.02 / 3


def extract_features(
    database: Path,
    staged: StagedPhotos,
    config: SfmConfig,
    *,
    only: frozenset[str] | None = None,
    hardened: bool = False,
    progress: Progress,
) -> None:
    """Find features in the photos that have none in the database yet.

    Args:
        database: of the photos.
        staged: the photos.
        config: sizes and threads.
        only: names of staged photos to use, None for all.
        hardened: also fainter features, each described over its affine shape (Mikolajczyk and
            Schmid, 2004) and several sizes of it (domain-size pooling: Dong and Soatto, 2015),
            which matches over wide baselines and takes several times as long.
        progress: called often.
    """
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = config.max_image_size
    options.num_threads = config.used_threads
    options.sift.max_num_features = config.max_features
    if hardened:
        options.sift.peak_threshold = _LOW_PEAK
        options.sift.estimate_affine_shape = True
        options.sift.domain_size_pooling = True
    total = len(staged.names if only is None else only)

    # COLMAP refuses photos without a mask once it is given a mask folder.
    parts = [(staged.mask_dir, staged.masked_names), (None, staged.unmasked_names)]

    def work(token: pycolmap.CancellationToken) -> None:
        for mask_dir, of_part in parts:
            names = [name for name in of_part if only is None or name in only]
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
        done = min(counter.now(), total)
        progress(done / total, f"features in {done}/{total} photos")

    with closing(pycolmap.Database.open(database)) as opened:
        counter = FeatureCount(opened, len(staged.names))
        run_cancellable(work, report, folder=database.parent)
