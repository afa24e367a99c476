from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

import numpy as np
import piexif
import pytest
from PIL import Image

from voxterra.core.photos import Photo, PhotoSet
from voxterra.errors import Cancelled, FormatError, TooFewPhotosError
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.ingest import ingest_photos, require_enough

RTK_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" drone-dji:GpsLatitude="-33.8571"
 drone-dji:GpsLongitude="151.2151" drone-dji:AbsoluteAltitude="+81.25" drone-dji:RtkFlag="50"
 drone-dji:RtkStdLon="0.01" drone-dji:RtkStdLat="0.01" drone-dji:RtkStdHgt="0.02"
 drone-dji:GimbalYawDegree="10" drone-dji:GimbalPitchDegree="-90" drone-dji:GimbalRollDegree="0"/>
</rdf:RDF></x:xmpmeta>"""


def only(photos: PhotoSet) -> Photo:
    (photo,) = photos.photos
    return photo


def test_everything_of_one_photo(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg", gps=(-33.5, -70.25, 520.5, 0))
    photo = only(ingest_photos(tmp_path / "in", work_dir=tmp_path))
    assert photo.gps is not None
    assert (photo.gps.lat, photo.gps.lon) == (pytest.approx(-33.5), pytest.approx(-70.25))
    assert (photo.gps.height_m, photo.gps.height_reference) == (520.5, "egm96")
    assert (photo.width, photo.height, photo.make, photo.model) == (160, 120, "Maker", "Camera")
    assert photo.focal_px == pytest.approx(24 / 36 * 160)
    assert photo.camera_key == "Maker Camera 160x120 8.80 mm (24 mm equivalent)"
    assert len(photo.sha256) == 64 and photo.sharpness > 0 and 0.2 < photo.brightness < 0.8
    with pytest.raises(TooFewPhotosError):
        require_enough(ingest_photos(tmp_path / "in", work_dir=tmp_path))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_metadata_of_each_format(make_photo, tmp_path: Path, suffix: str) -> None:
    make_photo(f"in/a{suffix}", gps=(-33.5, 151.25, 20.5, 1))
    photo = only(ingest_photos(tmp_path / "in", work_dir=tmp_path))
    assert photo.gps is not None and photo.model == "Camera"
    assert (photo.gps.lat, photo.gps.lon) == (pytest.approx(-33.5), pytest.approx(151.25))
    assert photo.gps.height_m == -20.5
    assert photo.focal_px == pytest.approx(24 / 36 * 160)


def test_scaled_photo_with_the_tags_of_the_original(tmp_path: Path) -> None:
    tag = piexif.ExifIFD
    exif = {
        "Exif": {
            tag.PixelXDimension: 4272,  # the file has 1068
            tag.PixelYDimension: 2848,
            tag.FocalLength: (30, 1),
            tag.FocalPlaneXResolution: (round(4272 / 22.2 * 25.4 * 1000), 1000),
            tag.FocalPlaneResolutionUnit: 2,
        }
    }
    Image.new("RGB", (1068, 712)).save(tmp_path / "a.jpg", exif=piexif.dump(exif))
    photo = only(ingest_photos(tmp_path / "a.jpg", work_dir=tmp_path))
    assert (photo.width, photo.height) == (1068, 712)
    assert photo.focal_px == pytest.approx(30 / 22.2 * 1068, rel=1e-4)


@pytest.mark.parametrize(
    ("ref", "height", "reference"),
    [(0, 12.5, "egm96"), (1, -12.5, "egm96"), (2, 12.5, "ellipsoidal"), (3, -12.5, "ellipsoidal")],
)
def test_height_references(
    make_photo, tmp_path: Path, ref: int, height: float, reference: str
) -> None:
    make_photo("in/a.jpg", gps=(31.5, 35.4, 12.5, ref))
    gps = only(ingest_photos(tmp_path / "in", work_dir=tmp_path)).gps
    assert gps is not None and (gps.height_m, gps.height_reference) == (height, reference)
    for override in ("egm96", "ellipsoidal"):
        config = IngestConfig(gps_heights=override)  # type: ignore[arg-type]
        gps = only(ingest_photos(tmp_path / "in", config, work_dir=tmp_path)).gps
        assert gps is not None and (gps.height_m, gps.height_reference) == (height, override)


def test_rtk_drone(make_photo, tmp_path: Path) -> None:
    # The firmware writes "above sea level" into EXIF although the height is ellipsoidal.
    make_photo("in/a.jpg", gps=(-33.0, 151.0, 81.25, 0), xmp=RTK_XMP)
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    photo = only(photos)
    assert photo.gps is not None and photo.attitude is not None
    assert (photo.gps.lat, photo.gps.lon, photo.gps.source) == (-33.8571, 151.2151, "xmp")
    assert (photo.gps.height_m, photo.gps.height_reference) == (81.25, "ellipsoidal")
    assert photo.gps.sigma_horizontal_m == pytest.approx(0.01)
    assert photo.gps.sigma_vertical_m == 0.02
    assert photo.attitude.pitch_deg == -90
    assert any("RTK heights" in w and "--gps-heights" in w for w in photos.warnings)
    quiet = ingest_photos(tmp_path / "in", IngestConfig(gps_heights="egm96"), work_dir=tmp_path)
    assert not any("RTK" in w for w in quiet.warnings)


def test_table_wins_value_by_value(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg", xmp=RTK_XMP)
    make_photo("in/b.jpg", xmp=RTK_XMP)
    make_photo("in/c.jpg", xmp=RTK_XMP)
    (tmp_path / "in" / "meta.csv").write_text(
        "filename,lat,lon,alt,yaw,pitch,roll,accuracy\nA.JPG,1,2,3,40,-60,5,0.5\nb.jpg,,,,,,,0.25\n"
    )
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    a, b, c = (photo.gps for photo in photos.photos)
    assert a and b and c
    assert (a.lon, a.lat, a.height_m, a.height_reference) == (2, 1, 3, "egm96")
    assert (a.sigma_horizontal_m, a.sigma_vertical_m, a.source) == (0.5, 0.5, "meta.csv")
    assert (b.lat, b.source, b.sigma_horizontal_m) == (-33.8571, "xmp", 0.25)
    assert (c.sigma_horizontal_m, c.source) == (pytest.approx(0.01), "xmp")
    attitudes = [photo.attitude for photo in photos.photos]
    assert [t.yaw_deg for t in attitudes if t] == [40, 10, 10]
    assert any("no row for 1" in w and "c.jpg" in w for w in photos.warnings)


def test_accuracy_of_the_receiver_is_not_that_of_the_table(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg", xmp=RTK_XMP)
    (tmp_path / "in" / "meta.csv").write_text("filename,lat,lon,alt\na.jpg,1,2,3\n")
    gps = only(ingest_photos(tmp_path / "in", work_dir=tmp_path)).gps
    assert gps is not None and gps.sigma_horizontal_m is None and gps.sigma_vertical_m is None


def test_a_table_that_contradicts_the_photo_is_told_with_the_distance(
    make_photo, tmp_path: Path
) -> None:
    for name in "abc":
        make_photo(f"in/{name}.jpg", gps=(50.0, 8.0, 100.0, 0))
    table = "filename,lat,lon\na.jpg,8.0,50.0\nb.jpg,50.0001,8.0001\nc.jpg,50.0,8.0\n"
    (tmp_path / "in" / "meta.csv").write_text(table)
    found = ingest_photos(tmp_path / "in", work_dir=tmp_path / "w")
    (told,) = [w for w in found.warnings if "meta.csv" in w]
    assert re.search(
        r"puts 1 photo far .*: a\.jpg \(line 2, 6,\d\d\d km\); the table's .* used", told
    )
    gps = found.photos[0].gps
    assert gps is not None and (gps.lat, gps.source) == (8.0, "meta.csv")


def test_table_errors_stop_with_the_line(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg")
    (tmp_path / "in" / "META.CSV").write_text("filename,lat,lon\na.jpg,north,2\n")
    with pytest.raises(FormatError, match="line 2: lat 'north'"):
        ingest_photos(tmp_path / "in", work_dir=tmp_path)


def test_table_rows_without_photo_are_named(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg")
    (tmp_path / "in" / "meta.csv").write_text("filename,lat,lon\na.jpg,1,2\ngone.jpg,1,2\n")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert any("gone.jpg (line 3)" in w for w in photos.warnings)


def test_bad_files_are_left_out_with_reasons(make_photo, tmp_path: Path, wording) -> None:
    good = make_photo("in/good.jpg")
    shutil.copy(good, tmp_path / "in" / "copy of good.jpg")
    (tmp_path / "in" / "cut.jpg").write_bytes(good.read_bytes()[:1500])
    (tmp_path / "in" / "text.png").write_text("not an image")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert [photo.id for photo in photos.photos] == ["copy of good.jpg"]
    reasons = {file.name: file.reason for file in photos.rejected}
    assert reasons["good.jpg"] == "the same file as copy of good.jpg"
    assert "truncated" in reasons["cut.jpg"]
    assert "not a JPEG" in reasons["text.png"]
    with pytest.raises(TooFewPhotosError, match=r"cut.*good") as caught:
        require_enough(photos)
    wording("ingest: one usable photo", caught.value)
    require_enough(photos, minimum=1)


def test_size_limit(make_photo, tmp_path: Path) -> None:
    make_photo("in/small.jpg")
    make_photo("in/large.png", size=(400, 300))
    photos = ingest_photos(tmp_path / "in", IngestConfig(max_megapixels=0.1), work_dir=tmp_path)
    assert only(photos).id == "small.jpg"
    assert "megapixels" in photos.rejected[0].reason


def test_orientation_is_recorded_and_pixels_stay(make_photo, tmp_path: Path) -> None:
    path = make_photo("in/a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    photo = only(ingest_photos(tmp_path / "in", work_dir=tmp_path))
    assert (photo.orientation, photo.width, photo.height) == (6, 160, 120)


def test_heic(tmp_path: Path) -> None:
    source = Path(__file__).parent.parent / "data" / "tiny.heic"
    photo = only(ingest_photos(source, work_dir=tmp_path))
    assert (photo.width, photo.height, photo.orientation) == (96, 128, 1)
    assert photo.gps is not None and photo.gps.lat == pytest.approx(-(33 + 51 / 60 + 25 / 3600))
    assert photo.gps.sigma_horizontal_m == 4.7
    assert photo.focal_px == pytest.approx(26 / 36 * 128)


def test_photographers_warnings(make_photo, tmp_path: Path) -> None:
    for i in range(6):
        make_photo(f"in/{i}.jpg", gps=(50.0 + i * 1e-4, 8.0, 100.0, 0))
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(60, 200, (2, 3, 3), np.uint8))
    blurred = np.array(coarse.resize((160, 120), Image.Resampling.BICUBIC))
    make_photo("in/blurred.jpg", pixels=blurred, gps=(50.0, 8.0001, 100.0, 0))
    make_photo("in/dark.jpg", pixels=np.full((120, 160, 3), 6, np.uint8))
    make_photo("in/white.jpg", pixels=np.full((120, 160, 3), 252, np.uint8))
    make_photo("in/null.jpg", gps=(0.0, 0.0, 0.0, 0))
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    warned = {p.id: " | ".join(p.warnings) for p in photos.photos}
    assert "blurred" in warned["blurred.jpg"] and "blurred" not in warned["0.jpg"]
    assert "very dark" in warned["dark.jpg"]
    assert "over-exposed" in warned["white.jpg"]
    assert "0, 0" in warned["null.jpg"] and "no GPS" not in warned["null.jpg"]
    assert "no GPS position" in warned["dark.jpg"]
    assert photos.by_id()["null.jpg"].gps is None
    assert warned["0.jpg"] == "small: 160 x 120 pixels show little"
    assert any("3 of 10" in w and "GPS" in w for w in photos.warnings)


def test_set_warnings(make_photo, tmp_path: Path, wording) -> None:
    make_photo("in/a.jpg", gps=(10, 20, 5, 0))
    make_photo("in/b.jpg", gps=(10, 20, 5, 2), model="Other", focal=None)
    make_photo("in/c.jpg", gps=(10, 20, 5, 0), model=None, focal=None)
    text = "\n".join(ingest_photos(tmp_path / "in", work_dir=tmp_path).warnings)
    assert "3 cameras" in text and "2 photos" in text and "twice" not in text
    wording("ingest: warnings of a set", text)
    for name in "ab":
        make_photo(f"around/{name}.jpg", size=(400, 200), focal=None)
    make_photo("around/c.jpg", size=(400, 200))
    text = "\n".join(ingest_photos(tmp_path / "around", work_dir=tmp_path).warnings)
    assert "2 photos are twice" in text and "a.jpg" in text and "voxterra train" in text
    wording("ingest: warnings of panoramas", text)
    make_photo("other/a.jpg")
    (without,) = ingest_photos(tmp_path / "other", work_dir=tmp_path).warnings
    wording("ingest: warning without GPS", without)


def test_photos_that_look_the_same_are_kept_and_named(make_photo, tmp_path: Path) -> None:
    path = make_photo("in/a.jpg")
    make_photo("in/b.jpg")
    Image.open(path).save(tmp_path / "in" / "resaved.jpg", quality=60)
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert len(photos) == 3
    (warning,) = [w for w in photos.warnings if "look the same" in w]
    assert "a.jpg and resaved.jpg" in warning and "b.jpg" not in warning


def test_mask_problems_are_said(make_photo, tmp_path: Path) -> None:
    make_photo("in/images/a.jpg")
    make_photo("in/images/b.jpg")
    make_photo("in/images/c.jpg")
    make_photo("in/masks/a.png", size=(80, 60))
    make_photo("in/masks/b.png", size=(60, 80))
    make_photo("in/masks/zzz.png")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert [p.mask_path is not None for p in photos.photos] == [True, False, False]
    assert "mask" in photos.photos[1].warnings[0] and "60 x 80" in photos.photos[1].warnings[0]
    assert photos.rejected[0].name == "masks/b.png"
    assert any("masks" in w and "zzz.png" in w for w in photos.warnings)


def test_progress_is_told_and_can_cancel(make_photo, tmp_path: Path) -> None:
    for i in range(5):
        make_photo(f"in/{i}.jpg")
    told: list[float] = []
    ingest_photos(tmp_path / "in", work_dir=tmp_path, progress=lambda f, m="": told.append(f))
    assert told == sorted(told) and told[-1] == 1.0 and len(told) >= 6

    def stop(fraction: float, message: str = "") -> None:
        if "2/5" in message:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        ingest_photos(tmp_path / "in", work_dir=tmp_path, progress=stop)


def test_result_does_not_depend_on_the_number_of_workers(make_photo, tmp_path: Path) -> None:
    for i in range(6):
        make_photo(f"in/{i}.jpg")
    one = ingest_photos(tmp_path / "in", IngestConfig(workers=1), work_dir=tmp_path)
    assert one == ingest_photos(tmp_path / "in", IngestConfig(workers=4), work_dir=tmp_path)


def test_a_hash_that_is_known_is_not_made_again(make_photo, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_photo(f"in/{name}.jpg")
    known = {tmp_path / "in/a.jpg": "known"}
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path, sha256=known).photos
    assert photos[0].sha256 == "known" and len(photos[1].sha256) == 64


def test_warnings_of_the_threads_that_read_photos_are_kept(tmp_path, monkeypatch):
    from voxterra.ingest import ingest as module
    from voxterra.pipeline.engine.collected_warnings import collecting_warnings

    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (64, 48), (10, 20, 30)).save(tmp_path / "in" / name)
    real = module._read_one

    def reads(path, *args):
        logging.getLogger("voxterra.ingest").warning("odd: %s", path.name)
        return real(path, *args)

    monkeypatch.setattr(module, "_read_one", reads)
    with collecting_warnings("ingest") as warned:
        ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert sorted(text for text in warned if "odd" in text) == ["odd: a.jpg", "odd: b.jpg"]
