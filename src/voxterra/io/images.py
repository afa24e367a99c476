"""Photos and masks: JPEG, PNG, TIFF (8 and 16 bit) and HEIC to NumPy arrays.

Pixels come as stored in the file: EXIF orientation is never applied. (HEIC keeps its rotation in
the image itself, not in EXIF; the decoder's output counts as stored.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from voxterra.errors import FormatError, VoxterraError
from voxterra.io.files.disk import cannot_read
from voxterra.io.heic import HEIC_SUFFIXES, is_heic, prepare_heic

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", *HEIC_SUFFIXES})
MAX_MEGAPIXELS = 400.0

_FORMATS = ("JPEG", "PNG", "TIFF")  # JPEG covers MPO, its form with several images
_INTEGER_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_open_lock = threading.Lock()


@contextmanager
def open_image(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[Image.Image]:
    """Open an image with Pillow, without reading its pixels; failures become errors for users.

    Args:
        path: JPEG, PNG, TIFF or HEIC file.
        max_megapixels: larger images are refused before their pixels are read, so that a forged
            header cannot fill the memory.

    Raises:
        FormatError: not an image of these formats, damaged, or too large.
        InputError: the file cannot be read at all.
    """
    try:
        heic = is_heic(path)  # by content: phones and people give these files any name
        if heic:
            prepare_heic(path)
        image = _open_any_size(path, ("HEIF",) if heic else _FORMATS)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise cannot_read(error, path) from error
    except FormatError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise _damaged(path, error) from error
    try:
        with image:
            require_size(*image.size, path, max_megapixels)
            yield image
    except (VoxterraError, MemoryError):
        raise
    except Exception as error:  # and on damaged pixels: struct.error, zlib.error, TypeError ...
        raise _damaged(path, error) from error


def _open_any_size(path: Path, formats: tuple[str, ...]) -> Image.Image:
    # `require_size` replaces Pillow's own limit, which would refuse legal 200 MP photos. That limit
    # is a module global: lift it only while a header is read.
    with _open_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _damaged(path: Path, error: Exception) -> FormatError:
    detail = str(error).replace(str(path), "").strip() or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        detail = "not a JPEG, PNG, TIFF or HEIC image"
    return FormatError(
        f"The image cannot be read: {detail}.",
        where=str(path),
        next_step="Copy it again from the camera, or leave it out.",
    )


def require_size(width: int, height: int, path: Path, max_megapixels: float) -> None:
    """Refuse an image without pixels, or with more than `max_megapixels`.

    Raises:
        FormatError: it has not a size that can be read.
    """
    if width < 1 or height < 1:
        raise FormatError(
            "The image has no pixels.",
            where=str(path),
            next_step="Copy it again from the camera, or leave it out.",
        )
    if width * height > max_megapixels * 1e6:
        raise FormatError(
            f"The image is {width} x {height} pixels, more than {max_megapixels:g} megapixels.",
            where=str(path),
            next_step="Split it, scale it down, or raise --ingest.max-megapixels.",
        )


def read_rgb(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB pixels as stored.

    16 bit values are divided by 256, the same for every photo, so that brightness stays
    comparable between them. Alpha is dropped.

    Raises:
        FormatError: not a readable image of a known format.
        InputError: the file cannot be read at all.
    """
    with open_image(path, max_megapixels=max_megapixels) as image:
        if image.mode in _INTEGER_MODES or image.mode == "F":
            gray = _to_8bit(image, path)
            return np.repeat(gray[:, :, None], 3, axis=2)
        return np.array(image.convert("RGB"))


def read_rgb_alpha(
    path: Path, *, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """(H, W, 3) uint8 RGB as `read_rgb` gives, and (H, W) uint8 opacity where the file has one.

    Colours are not multiplied by the opacity.

    Raises:
        FormatError: not a readable image of a known format.
        InputError: the file cannot be read at all.
    """
    with open_image(path, max_megapixels=max_megapixels) as image:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            pixels = np.array(image.convert("RGBA"))
            return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    return read_rgb(path, max_megapixels=max_megapixels), None


def read_gray(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> NDArray[np.uint8]:
    """(H, W) uint8 luma (ITU-R 601) of the pixels as stored; see `read_rgb`."""
    with open_image(path, max_megapixels=max_megapixels) as image:
        return gray_of(image, path)


def gray_of(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 luma of an open image, at the size it will be decoded to."""
    if image.mode in _INTEGER_MODES or image.mode == "F":
        return _to_8bit(image, path)
    return np.array(image.convert("L"))


def _to_8bit(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode == "F" or int(values.max()) > 0xFFFF or int(values.min()) < 0:
        raise FormatError(
            "The image has 32 bit or floating point pixels; photos have 8 or 16 bits.",
            where=str(path),
            next_step="Export it as an 8 or 16 bit TIFF or as JPEG.",
        )
    return (values >> 8).astype(np.uint8)


def read_mask(path: Path, width: int, height: int) -> NDArray[np.bool_]:
    """(height, width) bool, True = use: pixels of a mask image that are not 0.

    A mask of another size than the photo (the same shape, scaled) is resized without
    interpolation. In JPEG files, which cannot keep 0 beside white, dark pixels count as 0.

    Raises:
        FormatError: the mask is not a readable image, or has another shape than the photo.
    """
    with open_image(path) as image:
        if not same_shape(image.size, (width, height)):
            raise FormatError(
                f"The mask is {image.width} x {image.height} pixels, its photo {width} x {height}.",
                where=str(path),
                next_step="Give a mask of the photo's own size, not rotated.",
            )
        values: NDArray[Any] = np.asarray(image if image.mode != "P" else image.convert("RGB"))
        if values.ndim == 3:
            values = values[:, :, : 3 if values.shape[2] >= 3 else 1].max(axis=2)
        rows = (np.arange(height) + 0.5) * values.shape[0] / height
        columns = (np.arange(width) + 0.5) * values.shape[1] / width
        darkest = 127 if image.format in ("JPEG", "MPO") else 0
        return (values > darkest)[np.ix_(rows.astype(np.int64), columns.astype(np.int64))]


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (width, height) sizes are the same picture, possibly scaled."""
    (w, h), (ow, oh) = size, other
    # Rounding a scaled edge moves the ratio by up to half a pixel of the smaller picture.
    slack = max(0.01, 1.0 / min(w, h, ow, oh))
    return abs(w * oh - ow * h) <= slack * w * oh


def draft_gray(image: Image.Image, path: Path, width: int) -> NDArray[np.uint8]:
    """(H, W) uint8 luma, decoded at a reduced size not below `width` where the format can.

    JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost.
    """
    if isinstance(image, ImageFile.ImageFile) and image.format in ("JPEG", "MPO"):
        image.draft("L", (width, max(1, round(image.height * width / image.width))))
    return gray_of(image, path)
