from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from voxterra.core.photos import Photo
from voxterra.errors import FormatError, UsageError
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.cameras import calibrated_ids, group_cameras


def test_photos_share_a_camera_by_key_and_size(photo: Callable[..., Photo]) -> None:
    photos = (
        photo(0, camera_key="a", focal_px=900.0),
        photo(1, camera_key="b"),
        photo(2, camera_key="a", focal_px=910.0),
        photo(3, camera_key="a", width=800, height=1000),
    )
    first, second, third = group_cameras(photos, SfmConfig())
    assert first.members == (0, 2) and first.focal_px == 905.0 and first.focal_known
    assert second.members == (1,) and second.focal_px == 1200.0 and not second.focal_known
    assert third.members == (3,) and (third.width, third.height) == (800, 1000)


def test_lens_model_follows_number_of_photos(photo: Callable[..., Photo]) -> None:
    few, many = [tuple(photo(i) for i in range(n)) for n in (5, 12)]
    assert group_cameras(few, SfmConfig())[0].model == "SIMPLE_RADIAL"
    assert group_cameras(many, SfmConfig())[0].model == "RADIAL"
    assert group_cameras(few, SfmConfig(camera_model="OPENCV"))[0].model == "OPENCV"


def calibration(folder: Path, *cameras: str) -> SfmConfig:
    path = folder / "cameras.txt"
    path.write_text("# cameras\n" + "".join(f"{i} {c}\n" for i, c in enumerate(cameras, 1)))
    return SfmConfig(cameras=path)


def test_calibrated_cameras_are_found_by_size(photo: Callable[..., Photo], tmp_path: Path) -> None:
    photos = (photo(0, focal_px=900.0), photo(1, camera_key="b", width=640, height=480))
    config = calibration(tmp_path, "RADIAL 1000 800 870 500 400 0.1 0.02")
    known, unknown = group_cameras(photos, config)
    assert known.model == "RADIAL" and known.params == (870, 500, 400, 0.1, 0.02)
    assert known.focal_known and unknown.params is None
    assert calibrated_ids((unknown, known)) == {2}


def test_of_two_lenses_the_one_of_the_metadata(photo: Callable[..., Photo], tmp_path: Path) -> None:
    lenses = ("PINHOLE 1000 800 700 700 500 400", "PINHOLE 1000 800 1400 1400 500 400")
    config = calibration(tmp_path, *lenses)
    (group,) = group_cameras((photo(0, focal_px=1300.0),), config)
    assert group.focal_px == 1400
    with pytest.raises(UsageError, match="2 calibrated cameras are of 1000 x 800"):
        group_cameras((photo(0),), config)


def test_calibrations_that_fit_no_photo(photo: Callable[..., Photo], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="size of the photos") as caught:
        group_cameras((photo(0),), calibration(tmp_path, "PINHOLE 64 48 50 50 32 24"))
    assert caught.value.next_step
    for wrong in ("PINHOLE 64 48 50", "WHAT 64 48 50 1 2"):
        with pytest.raises(FormatError, match="Line 2"):
            group_cameras((photo(0),), calibration(tmp_path, wrong))
    with pytest.raises(UsageError, match="panorama") as caught:
        group_cameras((photo(0),), calibration(tmp_path, "EQUIRECTANGULAR 1000 800 1000 800"))
    assert "voxterra train" in str(caught.value.next_step)
    with pytest.raises(FormatError, match="no cameras"):
        group_cameras((photo(0),), SfmConfig(cameras=tmp_path / "missing"))
