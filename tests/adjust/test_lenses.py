"""Lenses of models made by hand: what the photos determine of them."""

from __future__ import annotations

import pytest
from made_model import flight

from voxterra.adjust import lenses
from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.adjust.lenses import has_weak_focal_length, refine
from voxterra.core.progress import no_progress
from voxterra.sfm.config import SfmConfig

CONFIG = SfmConfig(threads=2).adjust


def test_parallel_views_leave_the_focal_length_weak() -> None:
    """Focal length and depth can be stretched together unless the views converge."""
    with quiet_colmap():
        parallel, converging = flight(tilt_deg=0.0), flight(tilt_deg=25.0)
        assert has_weak_focal_length(parallel, CONFIG)
        assert not has_weak_focal_length(converging, CONFIG)


def test_large_models_ask_a_part_of_their_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    with quiet_colmap():
        models = [flight(tilt_deg=tilt, points=1200) for tilt in (0.0, 25.0)]
        whole = [has_weak_focal_length(model, CONFIG) for model in models]
        parts: list[set[int]] = []
        real = lenses._connected_photos
        monkeypatch.setattr(lenses, "_MOST_PHOTOS", 12)
        monkeypatch.setattr(
            lenses, "_connected_photos", lambda m, n: parts.append(real(m, n)) or parts[-1]
        )
        assert [has_weak_focal_length(model, CONFIG) for model in models] == whole
        assert [len(part) for part in parts] == [12, 12]
        assert all(model.num_reg_images() > 12 for model in models)


STRAY = [1, *[0] * 15]
"""The first photo has a camera of its own."""


def test_the_cameras_of_most_photos_decide_about_the_focal_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    with quiet_colmap():
        assert not has_weak_focal_length(
            flight(25.0, STRAY),
            CONFIG,
            progress=lambda fraction, message="": seen.append(fraction),
        )
        assert has_weak_focal_length(flight(0.0, STRAY), CONFIG)
        monkeypatch.setattr(lenses, "MIN_PHOTOS", 1)  # now its weakness is seen
        assert not has_weak_focal_length(flight(25.0, STRAY), CONFIG)
        monkeypatch.setattr(lenses, "_most", lambda weak, photos: bool(weak))
        assert has_weak_focal_length(flight(25.0, STRAY), CONFIG)
    assert seen


@pytest.mark.parametrize("min_photos", [8, 1])  # the stray camera is not judged; is judged weak
def test_badly_determined_cameras_keep_their_centre_and_the_others_do_not(
    monkeypatch: pytest.MonkeyPatch, min_photos: int
) -> None:
    monkeypatch.setattr(lenses, "MIN_PHOTOS", min_photos)
    model = flight(25.0, STRAY, points=1200)
    for camera in model.cameras.values():
        camera.principal_point_x += 6.0  # the true one is at the middle
    with quiet_colmap():
        after = refine(model, CONFIG, progress=no_progress)
        parallel = flight(0.0)
        assert refine(parallel, CONFIG, progress=no_progress) is parallel
    assert abs(after.camera(1).principal_point_x - 500.0) < 2.0
    assert after.camera(2).principal_point_x == 506.0
