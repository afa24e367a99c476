"""Photos of a folder with their cameras and masks, before any is read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from voxterra.core.camera import Camera
from voxterra.core.depth import DepthMaps
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.errors import InputError, NoPhotosError
from voxterra.io.images import PHOTO_SUFFIXES
from voxterra.surface.voxels.scene.scene import ScenePoints, WorldBox

logger = logging.getLogger(__name__)

MASK_FOLDERS = ("masks", "mask")


@dataclass(frozen=True)
class PhotoFile:
    """A photo as it lies there.

    Attributes:
        image: name and pose.
        camera: intrinsics, of a size that may be another than the file's.
        path: the photo.
        mask: its mask, or None; not 0 = object.
        held_out: a file of its own says that it is for testing.
    """

    image: Image
    camera: Camera
    path: Path
    mask: Path | None = None
    held_out: bool = False


@dataclass(frozen=True)
class Listing:
    """What a folder holds; `points` count views as `photos` does."""

    photos: tuple[PhotoFile, ...]
    points: ScenePoints | None = None
    world_box: WorldBox | None = None


def scene_points(points: SparsePoints, n_views: int) -> ScenePoints | None:
    """Points of a reconstruction by the view that saw them; None where there is none."""
    if not len(points):
        return None
    point = np.repeat(np.arange(len(points), dtype=np.int64), np.diff(points.track_start))
    pairs = np.unique(np.column_stack([points.track_image.astype(np.int64), point]), axis=0)
    counts = np.bincount(pairs[:, 0], minlength=n_views)
    return ScenePoints(
        positions=points.positions_in_world,
        view_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        point=pairs[:, 1],
        colors=points.colors,
    )


def points_of(components: Iterable[Reconstruction], maps: DepthMaps) -> ScenePoints | None:
    """Sparse points of all components that the depth maps' views belong to, by view.

    Args:
        components: of a run, in world; those without a view of `maps` are ignored.
        maps: of the same run.

    Returns:
        None where there are no points.
    """
    index = {view.name: i for i, view in enumerate(maps.views)}
    positions, colors, pairs, count = [], [], [], 0
    for reconstruction in components:
        found = scene_points(reconstruction.points, len(reconstruction.images))
        if found is None or not any(image.name in index for image in reconstruction.images):
            continue
        for row, image in enumerate(reconstruction.images):
            if image.name in index:
                seen = found.seen_by(row) + count
                pairs.append(np.column_stack([np.full(len(seen), index[image.name]), seen]))
        positions.append(found.positions)
        colors.append(np.asarray(found.colors))
        count += len(found)
    if not positions:
        return None
    observed = np.concatenate(pairs).astype(np.int64)
    observed = observed[np.lexsort((observed[:, 1], observed[:, 0]))]
    counts = np.bincount(observed[:, 0], minlength=len(maps.views))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return ScenePoints(np.concatenate(positions), start, observed[:, 1], np.concatenate(colors))


def photo_folder(source: Path, name: str) -> Path:
    """The folder of the photos.

    Raises:
        NoPhotosError: there is no such folder; the message lists those that are there.
    """
    folder = source / name
    if folder.is_dir():
        return folder
    there = sorted(p.name for p in source.iterdir() if p.is_dir() and any_photo(p))
    raise NoPhotosError(
        "There is no such folder of photos.",
        where=str(folder),
        next_step=f"Give one with --image_dir_name: {', '.join(there)}."
        if there
        else "Put the photos there, or name their folder with --image_dir_name.",
    )


def any_photo(folder: Path) -> bool:
    """Whether a photo lies right in a folder."""
    return any(p.suffix.lower() in PHOTO_SUFFIXES for p in folder.iterdir())


def photos_in(folder: Path) -> list[Path]:
    """All photos of a folder, sorted by name."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)


def photo_files(reconstruction: Reconstruction, paths: Sequence[Path]) -> list[PhotoFile]:
    """Images of a reconstruction with their files, in its order."""
    return [
        PhotoFile(image, reconstruction.camera_of(image), path)
        for image, path in zip(reconstruction.images, paths, strict=True)
    ]


def found(paths: Sequence[Path], folder: Path) -> list[Path]:
    """The photos, under another ending where the named one is not there (or has none).

    Raises:
        InputError: some are missing; it says how many, and the first of them.
    """
    out, missing = [], []
    for path in paths:
        ends = sorted(PHOTO_SUFFIXES)
        candidates = [path, *(path.with_suffix(e) for e in ends)]
        candidates += [path.with_name(path.name + e) for e in ends]
        there = next((c for c in candidates if c.is_file()), None)
        if there is None or there.suffix.lower() not in PHOTO_SUFFIXES:
            missing.append(path)
        else:
            out.append(there)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} photos are missing, the first is "
            f"{missing[0].relative_to(folder).as_posix()}.",
            where=str(folder),
            next_step="Put them there, or name another folder with --image_dir_name.",
        )
    return out


def with_masks(photos: list[PhotoFile], source: Path) -> tuple[PhotoFile, ...]:
    """Photos with the masks of `masks/`: a/b.jpg has a/b.jpg.png, a/b.png or a/b.jpg there."""
    folder = next((source / n for n in MASK_FOLDERS if (source / n).is_dir()), None)
    if folder is None:
        return tuple(photos)
    files = {path.relative_to(folder).as_posix(): path for path in photos_in(folder)}
    by_stem = {str(PurePosixPath(name).with_suffix("")): path for name, path in files.items()}
    in_order = list(files.values()) if len(files) == len(photos) else None
    matched = [_mask_of(photo.image.name, by_stem) for photo in photos]
    numbered = all(PurePosixPath(p.image.name).stem.isdigit() for p in photos)
    if in_order and not any(matched) and numbered and all(p.stem.isdigit() for p in in_order):
        # IDR numbers its masks 000.png beside photos 000000.png; both are sorted.
        matched = list(in_order)
    if not any(matched) and files:
        raise InputError(
            "No mask belongs to a photo.",
            where=str(folder),
            next_step="Name the mask of a/b.jpg a/b.jpg.png or a/b.png (one for a whole panorama), "
            "or take the folder away.",
        )
    _tell_misnamed([p.image.name for p, m in zip(photos, matched) if m is None], matched, files)
    return tuple(replace(photo, mask=mask) for photo, mask in zip(photos, matched))


def _tell_misnamed(
    bare: Sequence[str], matched: Sequence[Path | None], files: dict[str, Path]
) -> None:
    """Warn of masks of no photo where photos have none: the whole photo would count."""
    used = set(matched)
    spare = sorted(name for name, path in files.items() if path not in used)
    if bare and spare:
        logger.warning(
            "%d masks belong to no photo (%s first), and %d photos count as a whole since they "
            "have none (%s first): the mask of a/b.jpg is a/b.jpg.png or a/b.png.",
            len(spare), spare[0], len(bare), bare[0],
        )  # fmt: skip


def _mask_of(name: str, by_stem: dict[str, Path]) -> Path | None:
    stem = str(PurePosixPath(name).with_suffix(""))
    return by_stem.get(name) or by_stem.get(stem)
