"""Masks of photos: found, checked, attached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxterra.core.photos import Photo, RejectedFile
from voxterra.errors import InputError
from voxterra.ingest.matching import match_masks
from voxterra.io.images import open_image, same_shape


def with_masks(
    photos: Sequence[Photo], folder: Path | None, *, picked: bool = False
) -> tuple[list[Photo], list[RejectedFile], list[str]]:
    """The photos with their masks, mask files that cannot be used, and warnings for the set.

    Args:
        photos: without masks yet.
        folder: where masks lie, or None.
        picked: the photos were picked from among others, so masks of others are no surprise.
    """
    if folder is None:
        return list(photos), [], []
    masks, unused = match_masks(folder, [photo.id for photo in photos])
    rejected: list[RejectedFile] = []
    out = []
    for photo in photos:
        mask = masks.get(photo.id)
        if mask is not None and (why := _why_not_mask(mask, photo)):
            rejected.append(RejectedFile(f"{folder.name}/{mask.name}", why))
            photo = replace(photo, warnings=(*photo.warnings, f"its mask is not used: {why}"))
            mask = None
        out.append(replace(photo, mask_path=mask))
    warnings = []
    if unused and not picked:
        rest = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
        warnings.append(
            f"masks that belong to no photo: {unused[0]}{rest}; name the mask of a/b.jpg "
            "a/b.jpg.png or a/b.png"
        )
    if masks and len(masks) < len(photos):
        warnings.append(
            f"{len(photos) - len(masks)} of {len(photos)} photos have no mask; all of them is used"
        )
    return out, rejected, warnings


def _why_not_mask(mask: Path, photo: Photo) -> str | None:
    try:
        with open_image(mask) as image:
            size = image.size
    except InputError as error:
        return error.what
    if same_shape(size, (photo.width, photo.height)):
        return None
    return f"it is {size[0]} x {size[1]} pixels, the photo {photo.width} x {photo.height}"
