"""Bands of photos come as an independent writer wrote them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from voxterra.core.bands import RGB
from voxterra.errors import FormatError, InputError
from voxterra.io.bands import band_file, read_bands

RNG = np.random.default_rng(0)
FOUR = ("band 1", "band 2", "band 3", "band 4")


def some(kind: str, *shape: int, top: int | None = None) -> np.ndarray:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return RNG.normal(300, 10, shape).astype(dtype)
    return RNG.integers(0, top or np.iinfo(dtype).max, shape).astype(dtype)


def pages(path: Path, values: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as writer:
        for k in range(values.shape[2]):
            writer.write(values[..., k], photometric="minisblack", contiguous=False)


def planar(path: Path, values: np.ndarray) -> None:
    kind = "rgb" if values.shape[2] == 3 else "minisblack"
    tifffile.imwrite(path, np.moveaxis(values, -1, 0), photometric=kind, planarconfig="separate")


def together(path: Path, values: np.ndarray) -> None:
    kind = "rgb" if values.shape[2] == 3 else "minisblack"
    tifffile.imwrite(path, values, photometric=kind, planarconfig="contig", compression="zlib")


def one(path: Path, values: np.ndarray) -> None:
    tifffile.imwrite(path, values[..., 0], bigtiff=True)


@pytest.mark.parametrize(
    "write, kind, names",
    [
        (one, "u2", ("gray",)),
        (one, "i2", ("gray",)),
        (one, "u4", ("gray",)),
        (one, "f4", ("gray",)),
        (together, "u2", RGB),
        (together, "f4", RGB),
        (together, "u1", FOUR),
        (together, "u2", FOUR),
        (planar, "u2", RGB),
        (planar, "u2", FOUR),
        (pages, "u2", FOUR),
        (pages, "f4", FOUR),
    ],
)
def test_tiff_gives_the_numbers_that_were_written(tmp_path, write, kind, names):
    values = some(kind, 30, 40, len(names))
    write(tmp_path / "a.tif", values)
    found = read_bands(tmp_path / "a.tif")
    assert found.values.dtype == values.dtype and np.array_equal(found.values, values)
    assert found.names == names and found.bits == 8 * values.dtype.itemsize
    header = band_file(tmp_path / "a.tif")
    assert header is not None and (header.width, header.height) == (40, 30)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("count", [1, 3])
def test_packed_bits(tmp_path, bits, count):
    values = some("u2", count, 30, 41, top=1 << bits)
    options = {"photometric": "RGB"} if count == 3 else {}
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=41, height=30, count=count,
        dtype="uint16", NBITS=bits, **options,
    ) as file:  # fmt: skip
        file.write(values)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].bitspersample == bits
    found = read_bands(tmp_path / "a.tif")
    assert np.array_equal(np.moveaxis(found.values, -1, 0), values) and found.bits == bits


@pytest.mark.parametrize("count", [1, 3, 4])
def test_png_of_16_bits_keeps_them_and_drops_alpha(tmp_path, count):
    values = some("u2", 30, 40, count)
    cv2.imwrite(str(tmp_path / "a.png"), values if count > 1 else values[..., 0])
    found = read_bands(tmp_path / "a.png")
    expected = values if count == 1 else values[..., 2::-1]  # OpenCV writes blue first
    assert np.array_equal(found.values, expected)
    assert found.names == (RGB if count > 1 else ("gray",))


@pytest.mark.parametrize(
    "name, mode",
    [("a.jpg", m) for m in ("L", "RGB", "CMYK")]
    + [("a.png", m) for m in ("L", "RGB", "RGBA", "P")]
    + [("a.tif", m) for m in ("L", "RGB", "RGBA", "CMYK", "P")],
)
def test_photos_of_8_bits_are_red_green_blue(tmp_path, name, mode):
    picture = Image.fromarray(some("u1", 30, 40, 3)).convert(mode)
    picture.save(tmp_path / name)
    assert band_file(tmp_path / name) is None
    found = read_bands(tmp_path / name)
    with Image.open(tmp_path / name) as again:
        assert np.array_equal(found.values, np.asarray(again.convert("RGB")))
    assert found.names == RGB and found.bits == 8


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:Camera="http://pix4d.com/camera/1.0"%s</rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize(
    "xmp, names, wavelengths",
    [
        (' Camera:BandName="NIR" Camera:CentralWavelength="790"/>', ("NIR",), (790.0,)),
        (
            "><Camera:BandName><rdf:Seq><rdf:li>Green</rdf:li><rdf:li>Red edge</rdf:li></rdf:Seq>"
            "</Camera:BandName><Camera:CentralWavelength>560, 717.5</Camera:CentralWavelength>"
            "</rdf:Description>",
            ("Green", "Red edge"),
            (560.0, 717.5),
        ),
        (' Camera:BandName="NIR"', ("gray",), (None,)),  # cut off
    ],
)
def test_names_wavelengths_and_black_levels_of_drone_cameras(tmp_path, xmp, names, wavelengths):
    packet = (XMP % xmp).encode()
    tags = [(700, 1, len(packet), packet, True), (50714, 3, 4, (5115, 5127, 5141, 5133), True)]
    values = some("u2", 30, 40, len(names))
    pixels = values if len(names) > 1 else values[..., 0]
    layout = {"planarconfig": "contig"} if len(names) > 1 else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=tags, photometric="minisblack", **layout)
    found = read_bands(tmp_path / "a.tif")
    assert found.names == names and found.wavelengths_nm == wavelengths
    assert found.black_level == (5129.0,) * len(names)


def test_the_sensors_pixels_of_a_dng_and_not_its_preview(tmp_path):
    raw = some("u2", 60, 80, top=1 << 12)
    with tifffile.TiffWriter(tmp_path / "a.dng") as writer:
        writer.write(
            some("u1", 15, 20, 3), photometric="rgb", subfiletype=1, subifds=1,
            extratags=[(50706, 1, 4, (1, 4, 0, 0), True)],
        )  # fmt: skip
        writer.write(raw, photometric="cfa", extratags=[(50717, 3, 1, 4095, True)])
    found = read_bands(tmp_path / "a.dng")
    assert np.array_equal(found.values[..., 0], raw) and found.bits == 12


def test_smaller_pages_are_no_bands(tmp_path):
    values = some("u2", 60, 80)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, photometric="minisblack")
        writer.write(values[::2, ::2], photometric="minisblack", subfiletype=1)
    assert np.array_equal(read_bands(tmp_path / "a.tif").values[..., 0], values)


def test_errors_say_what_is_wrong(tmp_path):
    one(tmp_path / "a.tif", some("u2", 60, 80, 1))
    with pytest.raises(FormatError, match=r"80 x 60 pixels, more than 0\.001"):
        read_bands(tmp_path / "a.tif", max_megapixels=0.001)
    together(tmp_path / "many.tif", some("u1", 4, 4, 65))
    with pytest.raises(FormatError, match="65 bands"):
        read_bands(tmp_path / "many.tif")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        read_bands(tmp_path / "cut.tif")
    with pytest.raises(InputError, match="No such file"):
        read_bands(tmp_path / "absent.tif")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_give_bands_or_a_format_error(tmp_path: Path, data: st.DataObject) -> None:
    write = data.draw(st.sampled_from([one, together, pages]))
    write(tmp_path / "a.tif", np.arange(192, dtype=np.uint16).reshape(8, 8, 3))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.tif").write_bytes(bytes(content))
    with suppress(FormatError):
        assert read_bands(tmp_path / "a.tif", max_megapixels=4).values.ndim == 3
