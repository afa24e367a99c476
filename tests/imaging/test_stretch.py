"""What features, stereo and people see of photos with other numbers than 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from voxterra.core.bands import RGB, Bands
from voxterra.core.photos import Photo
from voxterra.imaging.stretch import (
    full_range,
    picture_of,
    read_picture,
    stretch_of,
    value_quantiles,
)
from voxterra.ingest.ingest import ingest_photos
from voxterra.io.images import read_rgb
from voxterra.io.photoset import read_photoset, write_photoset


def bands(values: np.ndarray, bits: int = 16, names: tuple[str, ...] = ("gray",)) -> Bands:
    n = len(names)
    return Bands(values.reshape(*values.shape[:2], n), names, (None,) * n, (0.0,) * n, bits)


def scene(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    """(H, W) smooth pattern in [0, 1]."""
    y, x = np.mgrid[:height, :width] / 10.0
    return 0.5 + 0.25 * np.sin(x + seed) + 0.25 * np.cos(1.3 * y + 2.0 * seed)


def counts(seed: int, low: float = 7000, high: float = 8500) -> np.ndarray:
    return np.rint(low + (high - low) * scene(seed)).astype(np.uint16)


def test_a_set_has_one_stretch_from_nearly_its_darkest_to_its_brightest_value():
    photos = [bands(counts(seed)) for seed in range(5)]
    quantiles = [value_quantiles(p) for p in photos]
    stretch = stretch_of(quantiles, (0.0, 65535.0))
    assert stretch == stretch_of(quantiles[::-1], (0.0, 65535.0))
    low, high = stretch
    assert 6900 < low < 7010 and 8490 < high < 8600
    shown = [picture_of(p, stretch) for p in photos]
    assert all(np.ptp(s) > 180 for s in shown)
    # The same value is the same grey in every photo.
    for photo, picture in zip(photos, shown):
        expected = (photo.values[..., 0] - low) * 255 / (high - low)
        assert np.abs(picture[..., 1] - expected).max() <= 0.51


def test_numbers_that_use_their_range_are_shown_as_8_bits_of_it():
    eight = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    photo = bands(eight.astype(np.uint16) * 257, names=RGB)
    assert stretch_of([value_quantiles(photo)], full_range(photo.values, 16)) is None
    assert np.array_equal(picture_of(photo, None), eight)
    packed = bands(eight[..., 0].astype(np.uint16) << 4, bits=12)
    assert np.array_equal(picture_of(packed, None)[..., 2], eight[..., 0])


def test_numbers_that_are_not_finite_do_not_count():
    values = scene().astype(np.float32) + 290
    values[:5], values[5:8] = np.nan, np.inf
    photo = bands(values, 32)
    low, high = stretch_of([value_quantiles(photo)], None)
    assert 289.9 < low < 290.1 and 290.9 < high < 291.1
    assert not picture_of(photo, (low, high))[:5].any()
    nothing = bands(np.full((4, 4), np.nan, np.float32), 32)
    assert not picture_of(nothing, stretch_of([value_quantiles(nothing)], None)).any()


def test_one_band_of_several_that_are_not_colours_is_shown():
    values = np.stack([counts(seed) for seed in range(3)], axis=-1)
    photo = bands(values, names=("Blue", "Green", "NIR"))
    assert photo.shown == (1,)
    picture = picture_of(photo, (7000, 8500))
    assert np.array_equal(picture, picture_of(bands(values[..., 1]), (7000, 8500)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_8_bits_are_as_they_are(tmp_path, name):
    pixels = np.random.default_rng(0).integers(90, 110, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    photos = ingest_photos(tmp_path, work_dir=tmp_path / "work")
    assert photos.photos[0].stretch is None
    assert np.array_equal(read_picture(photos.photos[0]), read_rgb(tmp_path / name))


def test_ingest_stretches_a_set_and_says_so(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(4):
        tifffile.imwrite(folder / f"T_{seed}.tif", counts(seed, high=8500 - 300 * seed))
    photos = ingest_photos(folder, work_dir=tmp_path / "work")
    (note,) = [w for w in photos.warnings if "stretched" in w]
    assert note.startswith("4 photos hold values from about 6,9") and "of 65,536" in note
    assert not any("look the same" in w for w in photos.warnings)
    assert not any("dark" in w for p in photos.photos for w in p.warnings)
    assert len({p.stretch for p in photos.photos}) == 1
    brightness = [p.brightness for p in photos.photos]
    assert brightness == sorted(brightness, reverse=True)  # comparable: the last is the coldest
    for photo in photos.photos:
        assert photo.brightness == pytest.approx(read_picture(photo).mean() / 255, abs=0.01)
    write_photoset(photos, tmp_path / "photos.json")
    assert read_photoset(tmp_path / "photos.json", folder) == photos


def test_bands_of_one_camera_have_their_own_stretch(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    xmp = (
        '<x xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description '
        'xmlns:Camera="http://pix4d.com/camera/1.0" Camera:BandName="{}"/></x>'
    )
    for band, high in (("NIR", 20000), ("RED", 9000)):
        packet = xmp.format(band).encode()
        tags = [(700, 1, len(packet), packet, True)]
        for seed in range(2):
            tifffile.imwrite(folder / f"{band}_{seed}.tif", counts(seed, high=high), extratags=tags)
    by_name = {p.id[:3]: p.stretch for p in ingest_photos(folder, work_dir=tmp_path).photos}
    assert by_name["NIR"][1] > 19000 and by_name["RED"][1] < 9500


def test_a_photo_of_0_1_without_a_stretch_is_read_as_it_was(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", counts(0))
    photo = Photo("a.tif", tmp_path / "a.tif", 80, 60, "")
    assert np.array_equal(read_picture(photo)[..., 0], counts(0) >> 8)
