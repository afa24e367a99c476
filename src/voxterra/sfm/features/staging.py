"""Stage photos for COLMAP: plain names in one folder, formats that COLMAP reads.

Photo ids may have blanks, sub-folders and any script; COLMAP's list of pairs is split at blanks.
So COLMAP sees `000000.jpg`, `000001.jpg`, ..., and ids are restored when its models are read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from voxterra.core.photos import Photo
from voxterra.core.progress import Progress
from voxterra.core.reconstruction import Reconstruction
from voxterra.errors import FormatError
from voxterra.imaging.stretch import read_picture

_READABLE = {("JPEG", "L"), ("JPEG", "RGB"), ("MPO", "RGB"), ("PNG", "L"), ("PNG", "RGB")}
_CONVERTED = ".converted.jpg"


@dataclass(frozen=True)
class StagedPhotos:
    """Folders where COLMAP finds the photos.

    Attributes:
        image_dir: folder of the photos as COLMAP sees them.
        mask_dir: folder of their masks (`NAME.png`, 0 = ignore), empty when no photo has one.
        names: file names in `image_dir`, one a photo.
        has_mask: whether a photo has a mask, one a photo.
    """

    image_dir: Path
    mask_dir: Path
    names: tuple[str, ...]
    has_mask: tuple[bool, ...]

    @property
    def masked_names(self) -> list[str]:
        return [name for name, masked in zip(self.names, self.has_mask, strict=True) if masked]

    @property
    def unmasked_names(self) -> list[str]:
        return [name for name, masked in zip(self.names, self.has_mask, strict=True) if not masked]


def stage_photos(photos: tuple[Photo, ...], work_dir: Path, *, progress: Progress) -> StagedPhotos:
    """Link photos and masks into `work_dir`, converting what COLMAP does not read.

    Raises:
        FormatError: a photo cannot be read, or a mask has another size than its photo.
    """
    image_dir, mask_dir = work_dir / "images", work_dir / "masks"
    for folder in (image_dir, mask_dir):  # left by an interrupted run with other photos
        shutil.rmtree(folder, ignore_errors=True)
    names = []
    for index, photo in enumerate(photos):
        progress(index / len(photos), f"preparing {index}/{len(photos)} photos")
        suffix = _suffix(photo)
        name = f"{index:06d}{suffix}"
        readable = suffix != _CONVERTED
        convert = None if readable else partial(_convert_photo, photo)
        _place(photo.path, image_dir / name, convert)
        if photo.mask_path is not None:
            _check_mask(photo)
            _place(photo.mask_path, mask_dir / f"{name}.png", _convert_mask)
        names.append(name)
    has_mask = tuple(photo.mask_path is not None for photo in photos)
    return StagedPhotos(image_dir, mask_dir, tuple(names), has_mask)


def _header(path: Path) -> tuple[str, str, tuple[int, int]] | None:
    """Format, mode and size according to Pillow; None for unknown files."""
    try:
        with Image.open(path) as image:
            return image.format or "", image.mode, image.size
    except (UnidentifiedImageError, OSError):
        return None


def _suffix(photo: Photo) -> str:
    header = _header(photo.path)
    if header is None or header[:2] not in _READABLE or photo.stretch is not None:
        return _CONVERTED
    return ".png" if header[0] == "PNG" else ".jpg"


def _check_mask(photo: Photo) -> None:
    assert photo.mask_path is not None
    header = _header(photo.mask_path)
    if header is None or header[2] != (photo.width, photo.height):
        size = "cannot be read" if header is None else f"is {header[2][0]} x {header[2][1]} px"
        raise FormatError(
            f"The mask of {photo.id} {size}; the photo is {photo.width} x {photo.height} px.",
            where=str(photo.mask_path),
            next_step="Save masks as 8 bit PNG of the photo's size, 0 where to ignore.",
        )


def _place(source: Path, target: Path, convert: Callable[[Path, Path], None] | None) -> None:
    """Make `target` from `source`: by a link, or by `convert(source, target)`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if convert is None:
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(source.resolve())
        except OSError:  # Windows without the right to make links
            shutil.copyfile(source, target)
    else:
        convert(source, target)


def _convert_photo(photo: Photo, source: Path, target: Path) -> None:
    Image.fromarray(read_picture(photo)).save(target, "JPEG", quality=95, subsampling=0)


def _convert_mask(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        used = np.asarray(image.convert("L")) > 0
    Image.fromarray(used.astype(np.uint8) * 255).save(target, "PNG", compress_level=1)


def with_photo_ids(
    component: Reconstruction, photos: tuple[Photo, ...], staged: StagedPhotos
) -> Reconstruction:
    """Replace COLMAP's file names by photo ids, and sort the images by id."""
    id_of_name = {name: photo.id for name, photo in zip(staged.names, photos, strict=True)}
    images = [replace(image, name=id_of_name[image.name]) for image in component.images]
    order = sorted(range(len(images)), key=lambda i: images[i].name)
    new_index = np.empty(len(order), np.int32)
    new_index[order] = np.arange(len(order), dtype=np.int32)
    track_image = new_index[component.points.track_image]
    used = {image.camera_id for image in images}
    return Reconstruction(
        {i: camera for i, camera in component.cameras.items() if i in used},
        tuple(images[i] for i in order),
        replace(component.points, track_image=track_image),
    )
