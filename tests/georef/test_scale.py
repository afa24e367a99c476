"""Known distances as scale: without GPS, against weak GPS, and marks that are wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxterra.core.scale_bars import ScaleBar
from voxterra.georef.config import GeorefConfig
from voxterra.georef.georeference import georeference
from voxterra.georef.scale import bar_scale
from voxterra.io.colmap.model import to_pycolmap_camera

MakeSurvey = Callable[..., Any]
ENDS = np.array([[-4.0, 2.0, 0.3], [5.0, -3.0, 0.1]])  # in the true world [m]
LENGTH = float(np.linalg.norm(ENDS[0] - ENDS[1]))


def marks(survey: Any, noise_px: float = 0.5, ends: np.ndarray = ENDS) -> list:
    """(photo, pixel, pixel) of both ends in each true photo that shows them."""
    rng = np.random.default_rng(0)
    camera = survey.truth.cameras[1]
    found = []
    for image in survey.truth.images:
        in_cam = ends @ image.cam_from_world[:, :3].T + image.cam_from_world[:, 3]
        pixels = to_pycolmap_camera(camera).img_from_cam(in_cam)
        pixels = pixels + rng.normal(0, noise_px, pixels.shape)
        inside = (pixels > 0).all() and (pixels < [camera.width, camera.height]).all()
        if inside and (in_cam[:, 2] > 0).all():
            found.append((image.name, tuple(pixels[0]), tuple(pixels[1])))
    assert len(found) >= 4
    return found


def table(path: Path, rows: list, length: float = LENGTH, bar: str = "door") -> Path:
    lines = [f"{bar},{length},{p},{a[0]},{a[1]},{b[0]},{b[1]}" for p, a, b in rows]
    head = [] if path.exists() else ["bar,length_m,photo,x1,y1,x2,y2"]
    with path.open("a") as file:
        file.write("\n".join([*head, *lines]) + "\n")
    return path


def test_without_gps_lengths_are_metres(survey: MakeSurvey, tmp_path: Path) -> None:
    s = survey().with_photos(lambda _, p: replace(p, gps=None))
    path = table(tmp_path / "bars.csv", marks(s))
    found = georeference([s.model], s.photos, GeorefConfig(scale_bar=path))
    assert found.frame.is_local and found.frame.scale_known and found.frame.unit == "m"
    centers = found.components[0].centers_in_world()
    true = s.truth.centers_in_world()
    ratio = np.linalg.norm(centers[0] - centers[-1]) / np.linalg.norm(true[0] - true[-1])
    sigma = found.placements[0].scale_sigma
    assert sigma is not None and 0.001 <= sigma < 0.01
    assert ratio == pytest.approx(1.0, abs=3 * sigma)
    assert any("in metres, from the scale bars" in w for w in found.warnings)
    without = georeference([s.model], s.photos)
    assert not without.frame.scale_known


def test_weak_gps_is_scaled_by_the_bar(survey: MakeSurvey, tmp_path: Path) -> None:
    s = survey(n=6, gps_sigma=(4.0, 8.0))
    path = table(tmp_path / "bars.csv", marks(s))
    weak = georeference([s.model], s.photos).placements[0]
    found = georeference([s.model], s.photos, GeorefConfig(scale_bar=path))
    strong = found.placements[0]
    assert weak.scale_sigma is not None and strong.scale_sigma is not None
    assert strong.placed and strong.scale_sigma < 0.01 < weak.scale_sigma
    error = s.error(found.components[0], found.frame)
    assert error.scale_ratio == pytest.approx(1.0, abs=3 * strong.scale_sigma)


def test_a_bar_against_gps_is_told_with_both_numbers(survey: MakeSurvey, tmp_path: Path) -> None:
    """The bar is typed as 10 m where GPS says 12 m."""
    s = survey(n=36, gps_sigma=(0.1, 0.3))
    ends = ENDS * 12.0 / LENGTH
    path = table(tmp_path / "bars.csv", marks(s, ends=ends), length=10.0)
    found = georeference([s.model], s.photos, GeorefConfig(scale_bar=path))
    (told,) = [w for w in found.all_warnings if "contradict each other" in w]
    assert "'door' is given as 10.00 m" in told
    by_gps = float(re.search(r"GPS makes it ([\d.]+) m", told)[1])
    sigma = float(re.search(r"GPS makes it [\d.]+ m \(1 sigma ([\d.]+) m\)", told)[1])
    assert by_gps == pytest.approx(12.0, abs=0.15) and 0 < sigma < 0.2
    assert "leave --scale-bar out" in told
    # What is delivered is as badly known as the two differ, and says which length it has.
    placement = found.placements[0]
    assert placement.scale_sigma == pytest.approx(np.log(1.2), abs=0.02)
    error = s.error(found.components[0], found.frame)
    delivered = float(re.search(r"In the delivered model it is ([\d.]+) m", told)[1])
    assert delivered == pytest.approx(12.0 * error.scale_ratio, abs=0.02)
    right = table(tmp_path / "right.csv", marks(s, ends=ends), length=12.0)
    good = georeference([s.model], s.photos, GeorefConfig(scale_bar=right))
    assert not any("contradict" in w for w in good.all_warnings)
    assert good.placements[0].scale_sigma < 0.01


def test_a_wrong_mark_is_named_and_not_used(survey: MakeSurvey, wording) -> None:
    s = survey()
    (photo, first, second), *rest = marks(s)
    wrong = (photo, (first[0] + 80, first[1]), second)
    centers = s.truth.centers_in_world(), s.model.centers_in_world()
    true, own = (np.linalg.norm(c[0] - c[-1]) for c in centers)
    scale, (problem,) = bar_scale(s.model, [ScaleBar("sill", LENGTH, (wrong, *rest))])
    assert scale is not None and scale.factor == pytest.approx(true / own, rel=0.01)
    assert "'sill'" in problem and photo in problem
    told = [problem]
    # Two marks that differ: nobody can tell which is the wrong one.
    scale, (problem,) = bar_scale(s.model, [ScaleBar("sill", LENGTH, (wrong, rest[-1]))])
    assert scale is None and "'sill'" in problem
    wording("georef: wrong marks of a scale bar", "\n".join([*told, problem]))


def test_bars_that_contradict_each_other(survey: MakeSurvey) -> None:
    s = survey()
    good = tuple(marks(s))
    scale, (problem,) = bar_scale(
        s.model, [ScaleBar("a", LENGTH, good), ScaleBar("b", 3.28 * LENGTH, good)]
    )
    assert scale is not None and scale.sigma > 0.3 and "contradict" in problem


def test_a_bar_of_other_photos(survey: MakeSurvey) -> None:
    s = survey()
    scale, (problem,) = bar_scale(
        s.model, [ScaleBar("x", 1.0, (("q.jpg", (1, 1), (2, 2)), ("r.jpg", (1, 1), (2, 2))))]
    )
    assert scale is None and "fewer than two" in problem
