"""Photos as delivered become a `PhotoSet`."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voxterra.core.photos import Photo, PhotoSet, RejectedFile
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.scope import ScopedThreadPool
from voxterra.errors import InputError, NoPhotosError
from voxterra.imaging.stretch import Stretch
from voxterra.ingest.band_photos import (
    BandMeasurement,
    in_grey_levels,
    measure_bands,
    set_stretches,
)
from voxterra.ingest.checks import require_enough, set_warnings, with_warnings
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.focal import camera_key, exposure_ev, focal_px
from voxterra.ingest.folders import Sources
from voxterra.ingest.matching import match_rows, with_masks
from voxterra.ingest.measure import Measurement, measure
from voxterra.ingest.placing import place, table_against_photos
from voxterra.ingest.sources import find_sources, only_listed
from voxterra.io.bands import band_file, read_bands
from voxterra.io.exif import Exif, read_exif
from voxterra.io.files.disk import cannot_read
from voxterra.io.images import open_image
from voxterra.io.meta_csv import MetaRow, read_meta_csv
from voxterra.io.xmp import Xmp, read_xmp

__all__ = ["ingest_photos", "require_enough"]

logger = logging.getLogger(__name__)


def ingest_photos(
    source: Path | str | Sequence[Path | str],
    config: IngestConfig | None = None,
    *,
    work_dir: Path,
    sha256: Mapping[Path, str] | None = None,
    progress: Progress = no_progress,
) -> PhotoSet:
    """Read the photos of a folder, a zip archive or a list of files, with what is known of each.

    A folder is searched with its subfolders; when it has a folder `images`, that alone holds the
    photos, and `meta.csv` and `masks` lie beside it. Of several files or folders, `meta.csv` and
    `masks` lie in the innermost folder that holds them all. Of equal files one is kept. A file
    that cannot be used is in `PhotoSet.rejected` with the reason and does not stop the others.

    Args:
        source: folder, .zip, photo, or several photos and folders.
        config: see `IngestConfig`; None for the defaults.
        work_dir: zip archives are unpacked into its folder `unpacked`.
        sha256: known hashes by file; these files are not hashed again.
        progress: called per photo; may raise `Cancelled`.

    Returns:
        Photos sorted by id, the path relative to the set's root. One photo is enough here; see
        `require_enough`.

    Raises:
        InputError: the source does not exist or cannot be read.
        NoPhotosError: there is no usable photo.
        FormatError: the zip is damaged or hostile, `meta.csv` has errors, or the list of the photos
            to use names others.
    """
    config = config or IngestConfig()
    sources = find_sources(
        source, config, work_dir=Path(work_dir), progress=part(progress, 0.0, 0.2)
    )
    if config.only is not None:
        sources = only_listed(sources, config.only)
    ids = [path.relative_to(sources.root).as_posix() for path in sources.photos]
    rows, notes = _table(sources, ids)
    read, rejected = _read_all(sources, ids, config, sha256 or {}, part(progress, 0.2, 0.95))
    read, copies = _without_copies(read)
    read, stretches = _stretched(read)
    rejected += copies
    if not read:
        raise _none_usable(sources.root, rejected)
    photos = [_photo(r, rows.get(r.id), config) for r in read]
    photos, mask_rejected, mask_notes = with_masks(photos, sources.masks, picked=sources.picked)
    notes += table_against_photos([(r.id, r.exif, r.xmp) for r in read], rows)
    thumbnails = np.stack([r.measurement.thumbnail for r in read])
    notes += [*sources.notes, *mask_notes, *stretches, *set_warnings(photos, thumbnails)]
    if config.gps_heights == "auto" and any(r.xmp.rtk for r in read):
        notes.append(
            "RTK heights are taken as ellipsoidal; if your base station gave heights above sea "
            "level, set --gps-heights egm96"
        )
    progress(1.0, f"{len(photos)} photos")
    return PhotoSet(
        root=sources.root,
        photos=with_warnings(photos),
        rejected=tuple(sorted((*sources.rejected, *rejected, *mask_rejected), key=_name)),
        warnings=tuple(notes),
    )


def _name(file: RejectedFile) -> str:
    return file.name


@dataclass(frozen=True)
class _Read:
    """What was read from one file."""

    id: str
    path: Path
    sha256: str
    width: int
    height: int
    exif: Exif
    xmp: Xmp
    measurement: Measurement
    of_bands: BandMeasurement | None = None
    stretch: Stretch | None = None


def _read_one(path: Path, photo_id: str, max_megapixels: float, sha256: str | None) -> _Read:
    try:
        if sha256 is None:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_read(error, path) from error
    header = band_file(path, max_megapixels=max_megapixels)
    if header is not None:
        found = measure_bands(read_bands(path, max_megapixels=max_megapixels))
        size, xmp = (header.width, header.height), read_xmp(header.xmp)
        level = in_grey_levels(found, None)  # until the set's stretch is known
        return _Read(photo_id, path, sha256, *size, header.exif, xmp, level, found)
    with open_image(path, max_megapixels=max_megapixels) as image:
        width, height = image.size
        exif = read_exif(image)
        xmp = read_xmp(image.info.get("xmp"))
        return _Read(photo_id, path, sha256, width, height, exif, xmp, measure(image, path))


def _read_all(
    sources: Sources,
    ids: Sequence[str],
    config: IngestConfig,
    sha256: Mapping[Path, str],
    progress: Progress,
) -> tuple[list[_Read], list[RejectedFile]]:
    read: list[_Read] = []
    rejected: list[RejectedFile] = []
    workers = config.workers or min(16, os.cpu_count() or 1)  # Pillow and OpenCV drop the GIL
    with (
        warnings.catch_warnings(),
        ScopedThreadPool(workers, thread_name_prefix="ingest") as pool,
    ):
        # Pillow writes to stderr when EXIF is damaged; here that becomes a warning of the photo.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        waiting = {
            pool.submit(_read_one, path, name, config.max_megapixels, sha256.get(path)): name
            for path, name in zip(sources.photos, ids, strict=True)
        }
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                name = waiting[future]
                try:
                    read.append(future.result())
                except InputError as error:
                    logger.info("%s is left out: %s", name, error.what)
                    rejected.append(RejectedFile(name, error.what))
                except MemoryError:
                    rejected.append(
                        RejectedFile(name, "There is not enough memory to read it: scale it down.")
                    )
                progress(done / len(waiting), f"{done}/{len(waiting)} photos read")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return sorted(read, key=lambda r: r.id), rejected


def _without_copies(read: Sequence[_Read]) -> tuple[list[_Read], list[RejectedFile]]:
    first: dict[str, str] = {}
    kept, dropped = [], []
    for item in read:
        if item.sha256 in first:
            dropped.append(RejectedFile(item.id, f"the same file as {first[item.sha256]}"))
        else:
            first[item.sha256] = item.id
            kept.append(item)
    return kept, dropped


def _stretched(read: Sequence[_Read]) -> tuple[list[_Read], list[str]]:
    """Give photos of more than 8 bits the stretch of their set; also return notes about it."""
    keys = [camera_key(r.exif, r.width, r.height) for r in read]
    stretches, notes = set_stretches([r.of_bands for r in read], keys)
    out = [
        r
        if r.of_bands is None
        else replace(r, stretch=stretch, measurement=in_grey_levels(r.of_bands, stretch))
        for r, stretch in zip(read, stretches, strict=True)
    ]
    return out, notes


def _table(sources: Sources, ids: Sequence[str]) -> tuple[dict[str, MetaRow], list[str]]:
    if sources.meta_csv is None:
        return {}, []
    rows = read_meta_csv(sources.meta_csv)
    matched, unmatched = match_rows(rows, ids)
    notes = []
    name = sources.meta_csv.name
    if unmatched and not sources.picked:
        shown = ", ".join(f"{row.filename} (line {row.line})" for row in unmatched[:3])
        rest = f" and {len(unmatched) - 3} more" if len(unmatched) > 3 else ""
        notes.append(f"{name} names photos that are not there: {shown}{rest}; check the spelling")
    if len(matched) < len(ids):
        missing = [i for i in ids if i not in matched]
        notes.append(
            f"{name} has no row for {len(missing)} photos, such as {missing[0]}; their own "
            "metadata is used"
        )
    return matched, notes


def _photo(read: _Read, row: MetaRow | None, config: IngestConfig) -> Photo:
    exif, width, height = read.exif, read.width, read.height
    gps, attitude, notes = place(exif, read.xmp, row, config)
    if exif.damaged:
        notes.append(
            "its EXIF is damaged, camera and position may be missing: copy it again from the camera"
        )
    return Photo(
        id=read.id,
        path=read.path,
        width=width,
        height=height,
        sha256=read.sha256,
        gps=gps,
        attitude=attitude,
        orientation=exif.orientation,
        make=exif.make,
        model=exif.model,
        focal_mm=exif.focal_mm,
        focal_35mm=exif.focal_35mm,
        focal_px=focal_px(exif, width, height),
        camera_key=camera_key(exif, width, height),
        captured_at=exif.captured_at,
        sharpness=read.measurement.sharpness,
        brightness=read.measurement.brightness,
        exposure_ev=exposure_ev(exif),
        blown=read.measurement.blown,
        black=read.measurement.black,
        height_above_takeoff_m=read.xmp.height_above_takeoff_m,
        stretch=read.stretch,
        warnings=tuple(notes),
    )


def _none_usable(root: Path, rejected: Sequence[RejectedFile]) -> NoPhotosError:
    first = min(rejected, key=_name)
    return NoPhotosError(
        f"None of {len(rejected)} photos can be used; {first.name}: {first.reason}",
        where=str(root),
        next_step="Check that the files were copied completely from the camera.",
    )
