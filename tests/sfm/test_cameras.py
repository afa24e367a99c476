from __future__ import annotations

from collections.abc import Callable

from voxterra.core.photos import Photo
from voxterra.sfm.cameras import group_cameras
from voxterra.sfm.config import SfmConfig


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
