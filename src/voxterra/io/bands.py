"""Read photos as bands: any number, any bit depth, nothing reduced.

TIFF (8 to 16 bits, packed 10, 12 and 14 bits, 32 bits, floating point; in one page or one page a
band; RGB, and bands of any kind), PNG of 16 bits, and DNG whose pixels the TIFF reader knows. JPEG,
HEIC and other files of 8 bits come as red, green and blue.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from voxterra.core.bands import RGB, Bands, bands_of_color
from voxterra.errors import FormatError
from voxterra.io.exif import Exif, read_exif, read_exif_block
from voxterra.io.files.disk import cannot_read
from voxterra.io.images import MAX_MEGAPIXELS, read_rgb, require_size

log = logging.getLogger(__name__)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0")  # the last is BigTIFF
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; an alpha channel is the last of 2 and 4

_SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLES = 254, 258, 262, 277
_SUB_IFDS, _EXTRA, _KIND, _XMP, _DNG, _BLACK, _WHITE = 330, 338, 339, 700, 50706, 50714, 50717
_GRAY, _IS_RGB, _CFA, _LINEAR_RAW = (0, 1), 2, 32803, 34892
_REDUCED_OR_MASK = 1 | 4

_open_lock = threading.Lock()
_MAX_BANDS, _MAX_PAGES = 64, 256


@dataclass(frozen=True)
class BandFile:
    """Header of a file of bands.

    Attributes:
        width, height: [px].
        names, wavelengths_nm, black_level, bits: as `Bands` has them.
        exif: its EXIF.
        driver: GDAL's name of the format.
        samples: numbers that a pixel of a page has, alpha included.
        xmp: its XMP packet; None without one.
        offsets: of the pages with its bands in a TIFF.
    """

    width: int
    height: int
    names: tuple[str, ...]
    wavelengths_nm: tuple[float | None, ...]
    black_level: tuple[float, ...]
    bits: int
    exif: Exif
    driver: str
    samples: int
    xmp: bytes | None = None
    offsets: tuple[int, ...] = ()


def band_file(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> BandFile | None:
    """Read the header of a file of bands; None for a photo of 8 bit grey or RGB.

    Raises:
        FormatError: damaged, or too large.
        InputError: the file cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            start = file.read(26)
            if start[:8] == _PNG and len(start) == 26 and start[24] == 16:
                found: BandFile | None = _png_header(path, start[25])
            elif start[:4] in _TIFF:
                found = _tiff_header(file)
            else:
                return None
    except OSError as error:
        raise cannot_read(error, path) from error
    except FormatError:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise _unreadable(path, str(error)) from error
    if found is not None:
        require_size(found.width, found.height, path, max_megapixels)
    return found


def read_bands(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Bands:
    """All bands of a photo, as stored. Alpha is dropped; EXIF orientation is never applied.

    Raises:
        FormatError: damaged, too large, or compressed in a way that is not known.
        InputError: the file cannot be read at all.
    """
    header = band_file(path, max_megapixels=max_megapixels)
    if header is None:
        return bands_of_color(read_rgb(path, max_megapixels=max_megapixels))
    values, described = _decode(path, header)
    names = header.names
    if all(described[: len(names)]) and names[:3] != RGB:
        names = tuple(described[: len(names)])
    return Bands(
        values[..., : len(names)], names, header.wavelengths_nm, header.black_level, header.bits
    )


def _decode(path: Path, header: BandFile) -> tuple[NDArray[Any], list[str]]:
    """(H, W, B) values, and the description of each band, "" for none."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    places = [f"GTIFF_DIR:off:{offset}:{path}" for offset in header.offsets] or [str(path)]
    pages, described, size = [], [], (header.width, header.height, header.samples)
    # Ignore files beside it, such as `.aux.xml`: only the file itself counts.
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
    try:
        with rasterio.Env(**options):
            for place in places:
                # Filters of warnings belong to all threads, so one at a time may change them.
                with _open_lock, warnings.catch_warnings():
                    warnings.simplefilter("ignore", NotGeoreferencedWarning)
                    opened = rasterio.open(place, driver=header.driver)
                with opened as page:
                    if (page.width, page.height, page.count) != size:
                        raise ValueError("its header contradicts itself")
                    pages.append(page.read())
                    described += [text or "" for text in page.descriptions]
    except (RasterioError, ValueError, SystemError) as error:
        raise _unreadable(path, str(error)) from error
    if len({(page.shape[1:], page.dtype) for page in pages}) > 1:
        raise _unreadable(path, "its pages are of several types")
    values = np.concatenate(pages) if len(pages) > 1 else pages[0]
    return np.ascontiguousarray(np.moveaxis(values, 0, -1)), described


def _unreadable(path: Path, detail: str) -> FormatError:
    detail = detail.replace(str(path), "").strip(" .:") or "damaged"
    return FormatError(
        f"The bands of the photo cannot be read: {detail}.",
        where=str(path),
        next_step="Copy it again from the camera, or save it as a TIFF that is not compressed.",
    )


def _png_header(path: Path, color_type: int) -> BandFile:
    samples = _PNG_SAMPLES[color_type]
    with Image.open(path, formats=("PNG",)) as image:
        width, height = image.size
        exif, xmp = read_exif(image), image.info.get("xmp")
    count = samples - (color_type in (4, 6))
    names = RGB if count == 3 else ("gray",)
    return BandFile(
        width, height, names, (None,) * count, (0.0,) * count, 16, exif, "PNG", samples, xmp
    )


def _tiff_header(file: IO[bytes]) -> BandFile | None:
    """Header of a TIFF of bands; None for 8 bit grey or colour, or kinds only 8 bit photos have."""
    pages = list(_pages(file))
    whole = [page for page in pages if not page.tags.get(_SUBFILE, 0) & _REDUCED_OR_MASK]
    first = (whole or pages)[0]
    alike = [p for p in (whole or pages) if _shape(p.tags) == _shape(first.tags)]
    tags, photometric = first.tags, first.tags.get(_PHOTOMETRIC, 1)
    if photometric not in (*_GRAY, _IS_RGB, _CFA, _LINEAR_RAW):
        return None
    bits, samples = int(max(_numbers(tags, _BITS, 1))), int(tags.get(_SAMPLES, 1))
    alpha = sum(kind in (1, 2) for kind in _numbers(tags, _EXTRA, 0)) if _EXTRA in tags else 0
    is_rgb = photometric == _IS_RGB and samples >= 3
    count = (samples - alpha) * len(alike)
    if bits <= 8 and count == (3 if is_rgb else 1) and photometric in (*_GRAY, _IS_RGB):
        return None
    if not 1 <= count <= _MAX_BANDS:
        raise ValueError(f"it has {count} bands")
    if len(alike) > 1 and alpha:
        raise ValueError("each of its pages has an alpha channel")
    xmp = next((p.tags[_XMP] for p in pages if isinstance(p.tags.get(_XMP), bytes)), None)
    names, wavelengths = _named(xmp, count, is_rgb)
    white = max(_numbers(tags, _WHITE, 0))
    return BandFile(
        int(tags[256]),
        int(tags[257]),
        names,
        wavelengths,
        _black_level(tags, count),
        int(white).bit_length() if 0 < white < 2**bits else bits,
        _exif(file, pages[0]),
        "GTiff",
        samples,
        xmp,
        tuple(page.offset for page in alike) if len(pages) > 1 else (),
    )


@dataclass(frozen=True)
class _Page:
    offset: int
    tags: dict[int, Any]


def _pages(file: IO[bytes]) -> Iterator[_Page]:
    """The directories of a TIFF, and their sub-directories."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    head = head if head[2] == 43 else head[:8]
    todo = [ImageFileDirectory_v2(head).next]
    seen: set[int] = set()
    while todo and len(seen) < _MAX_PAGES:
        offset = todo.pop(0)
        if not offset or offset in seen:
            continue
        if offset >= size:
            raise ValueError("it was cut off")
        seen.add(offset)
        directory = ImageFileDirectory_v2(head)
        file.seek(offset)
        directory.load(file)
        tags = dict(directory)
        yield _Page(offset, tags)
        inner = tags.get(_SUB_IFDS, ()) if _DNG in tags or tags.get(_SUBFILE, 0) & 1 else ()
        todo += [directory.next, *(inner if isinstance(inner, tuple) else (inner,))]


def _shape(tags: dict[int, Any]) -> tuple[Any, ...]:
    return tuple(tags.get(code) for code in (256, 257, _BITS, _SAMPLES, _KIND, _PHOTOMETRIC))


def _numbers(tags: dict[int, Any], code: int, otherwise: float) -> tuple[float, ...]:
    value = tags.get(code, otherwise)
    return tuple(map(float, value)) if isinstance(value, tuple) else (float(value),)


def _black_level(tags: dict[int, Any], count: int) -> tuple[float, ...]:
    """One value a band; the cells of a pattern (BlackLevelRepeatDim) are averaged."""
    found = _numbers(tags, _BLACK, 0.0)
    if len(found) == count:
        return found
    return (float(np.mean(found)),) * count


def _exif(file: IO[bytes], page: _Page) -> Exif:
    def block() -> Image.Exif:
        exif = Image.Exif()
        file.seek(0)
        start = file.read(4)
        exif.endian, exif.bigtiff = "<" if start[:2] == b"II" else ">", start[2] == 43
        exif.load_from_fp(file, page.offset)
        return exif

    return read_exif_block(block)


def _named(
    xmp: bytes | None, count: int, is_rgb: bool
) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """Names and wavelengths of bands from the XMP of drone cameras (Pix4D's Camera tags)."""
    usual = RGB if is_rgb else ("gray",) if count == 1 else ()
    names = (*usual, *(f"band {k + 1}" for k in range(len(usual), count)))
    given, waves = _camera_tags(xmp, "BandName"), _camera_tags(xmp, "CentralWavelength")
    if len(given) == count and not is_rgb:
        names = tuple(given)
    numbers = [float(w) if re.fullmatch(r"\d{2,5}(\.\d+)?", w) else None for w in waves]
    return names, tuple(numbers) if len(numbers) == count else (None,) * count


def _camera_tags(xmp: bytes | None, tag: str) -> list[str]:
    """Values of a tag of the namespace Camera: an attribute, a text, or the items of a list."""
    if not xmp:
        return []
    from defusedxml import ElementTree

    text = xmp.decode("utf-8", "replace").replace("\0", "")
    try:
        root = ElementTree.fromstring(text[max(text.find("<"), 0) :].strip())
    except Exception as error:  # expat errors, refused entities
        log.debug("malformed XMP: %r", error)
        return []
    for element in root.iter():
        for name, value in element.attrib.items():
            if _is_camera_tag(name, tag):
                return [item.strip() for item in value.split(",")]
        if _is_camera_tag(element.tag, tag):
            items = [e.text.strip() for e in element.iter() if e.text and e.text.strip()]
            return items if len(items) > 1 else [i.strip() for v in items for i in v.split(",")]
    return []


def _is_camera_tag(name: Any, tag: str) -> bool:
    return isinstance(name, str) and name.endswith("}" + tag) and "pix4d" in name.lower()
