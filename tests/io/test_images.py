from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from voxterra.errors import FormatError, InputError
from voxterra.io.images import open_image, read_gray, read_mask, read_rgb, same_shape

DATA = Path(__file__).parent.parent / "data"


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3, y * 4, 255 - x * 2 - y], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(picture()).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_rgb(tmp_path / f"a{suffix}"), picture())


def test_jpeg_is_close(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.JPG", "JPEG", quality=95, subsampling=0)
    difference = read_rgb(tmp_path / "a.JPG").astype(int) - picture()
    assert np.abs(difference).mean() < 2.0


def test_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), picture())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_is_divided_by_256(tmp_path: Path, suffix: str) -> None:
    values = (np.arange(48 * 64, dtype=np.uint32).reshape(48, 64) * 21).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_gray(tmp_path / f"a{suffix}"), values // 256)
    np.testing.assert_array_equal(read_rgb(tmp_path / f"a{suffix}")[:, :, 1], values // 256)


def test_16_bit_rgb(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    values = picture().astype(np.uint16) * 256 + 17
    for name in ("a.tif", "a.png"):
        cv2.imwrite(str(tmp_path / name), values[:, :, ::-1])
        np.testing.assert_array_equal(read_rgb(tmp_path / name), picture())


def test_heic_comes_turned_as_its_own_transform_says() -> None:
    rgb = read_rgb(DATA / "tiny.heic")
    assert rgb.shape == (128, 96, 3)  # encoded 128 x 96 with a quarter turn
    # The source's red grows with x, green with y; turned clockwise, x runs down and y to the left.
    assert np.corrcoef(np.mean(rgb[:, :, 0], axis=1), np.arange(128))[0, 1] > 0.99
    assert np.corrcoef(np.mean(rgb[:, :, 1], axis=0), np.arange(96))[0, 1] < -0.99


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_other_pixel_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(picture()).convert(mode).save(path)
    rgb = read_rgb(path)
    assert rgb.shape == (48, 64, 3) and rgb.dtype == np.uint8
    assert read_gray(path).shape == (48, 64)


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(FormatError, match="floating point"):
        read_gray(tmp_path / "a.tif")


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(picture(400, 600)).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="not a JPEG, PNG, TIFF or HEIC"):
        read_rgb(tmp_path / "text.jpg")
    with pytest.raises(FormatError, match="not a JPEG, PNG, TIFF or HEIC"):
        read_rgb(tmp_path / "empty.png")
    with pytest.raises(FormatError, match="truncated"):
        read_rgb(tmp_path / "cut.jpg")
    with pytest.raises(InputError, match="No such file"):
        read_rgb(tmp_path / "absent.jpg")


def forged_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_size_limit_holds_before_pixels_are_read(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(forged_png(100_000, 100_000))
    with pytest.raises(FormatError, match="more than 400 megapixels"):
        read_rgb(tmp_path / "bomb.png")
    # Larger than Pillow's own limit, yet legal: only the header is looked at here.
    (tmp_path / "large.png").write_bytes(forged_png(20_000, 19_000))
    with open_image(tmp_path / "large.png") as image:
        assert image.size == (20_000, 19_000)
    assert Image.MAX_IMAGE_PIXELS is not None  # left as it was for everybody else


def test_mask_is_resized_without_inventing_values(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[:15] = 1  # not 255: anything but 0 means use
    Image.fromarray(mask).save(tmp_path / "m.png")
    small = read_mask(tmp_path / "m.png", 40, 30)
    large = read_mask(tmp_path / "m.png", 400, 300)
    np.testing.assert_array_equal(small, mask != 0)
    assert large.shape == (300, 400) and large[:150].all() and not large[150:].any()
    with pytest.raises(FormatError, match="40 x 30"):
        read_mask(tmp_path / "m.png", 30, 40)


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA"])
def test_mask_modes(tmp_path: Path, mode: str) -> None:
    values = np.zeros((30, 40), np.uint8)
    values[:, :10] = 255
    Image.fromarray(values).convert(mode).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 40, 30), values > 0)


def test_same_shape() -> None:
    assert same_shape((4000, 2250), (1600, 900))
    assert same_shape((4272, 2848), (1600, 1067))
    assert not same_shape((4000, 3000), (1600, 900))
    assert not same_shape((900, 1600), (1600, 900))


@pytest.fixture(scope="module")
def samples() -> dict[str, bytes]:
    import io

    out = {}
    for name, kind in (("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tif", "TIFF")):
        buffer = io.BytesIO()
        Image.fromarray(picture(16, 16)).save(buffer, kind)
        out[name] = buffer.getvalue()
    return out


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_give_pixels_or_a_format_error(
    samples: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = (
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    (tmp_path / name).write_bytes(bytes(content))
    with suppress(FormatError):
        assert read_rgb(tmp_path / name, max_megapixels=4).ndim == 3
