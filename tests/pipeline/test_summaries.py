"""What a run tells of photos left out and of gaps between components."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from voxterra.cli.run import RunArguments, resolved
from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Lag, Placement
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.registration import UnregisteredPhoto
from voxterra.core.transforms import Similarity
from voxterra.pipeline.recipe.summaries import (
    about_gaps,
    about_unregistered,
    describe_georeference,
    left_out,
)
from voxterra.products.metadata import accuracy_line
from voxterra.report.overview import gps_fit

FRAME = GeoFrame("geo", 9.9, 51.5, 100.0, "EPSG:32632")
NO_POINTS = SparsePoints(
    np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), np.zeros(1, np.int64),
    np.zeros(0, np.int32), np.zeros((0, 2)),
)  # fmt: skip


def component(*east_m: float) -> Reconstruction:
    """Cameras on a line, named by where they stand."""
    poses = [np.hstack([np.eye(3), [[-x], [0.0], [-50.0]]]) for x in east_m]
    images = tuple(Image(f"{x:g}.jpg", 1, p) for x, p in zip(east_m, poses, strict=True))
    return Reconstruction({1: Camera("PINHOLE", 9, 9, (9, 9, 4, 4))}, images, NO_POINTS)


def placed(sigma_m: float = 3.0) -> Placement:
    return Placement(
        Similarity.identity(), True, "gps", rmse_horizontal_m=0.5,
        position_sigma_horizontal_m=sigma_m, position_sigma_vertical_m=2 * sigma_m,
    )  # fmt: skip


def test_photos_without_a_place_by_reason(wording) -> None:
    photos = [UnregisteredPhoto(f"{i}.jpg", "no_matches", f"reason {i}", "Go.") for i in range(8)]
    photos.append(UnregisteredPhoto("x.jpg", "few_features", "dark", "Light."))
    many, one = about_unregistered(photos, 20)
    assert "8 of 20" in many and "and 3 more" in many and "5.jpg" not in many
    wording("summary: photos without a place", f"{many}\n{one}")
    assert about_unregistered([], 20) == ()


def test_gaps_are_between_neighbours() -> None:
    places = (component(0, 10), component(40, 50), component(90, 100))
    found = Georeference(FRAME, places, (placed(), placed(4.0), placed()))
    first, second = about_gaps(found)
    assert "components 1 and 2" in first and "30 m apart (10.jpg to 40.jpg)" in first
    assert "±5.0 m and ±10.0 m in height" in first
    assert "components 2 and 3" in second and "40 m apart" in second
    assert describe_georeference(found).count("GPS fit 0.50 m") == 3
    assert about_gaps(replace(found, frame=GeoFrame.local())) == ()


def test_a_lag_that_was_taken_off_stands_beside_the_residuals(wording) -> None:
    late = replace(placed(), lag=Lag(3.19, 0.1, 1.6, 3.73, 0.57))
    found, before = (Georeference(FRAME, (component(0, 10),), (p,)) for p in (late, placed()))
    lines = (describe_georeference(found), accuracy_line(found), gps_fit(late))
    assert all("lag of 3." in line for line in lines)
    wording("summary: a lag taken off", "\n".join(lines))
    for text in (describe_georeference(before), accuracy_line(before), gps_fit(placed())):
        assert "lag" not in text


def test_what_lies_apart_is_left_out_by_its_number(wording) -> None:
    away = replace(placed(), apart=replace(FRAME, lon=115.0, lat=-32.0, crs="EPSG:32750"))
    found = Georeference(FRAME, (component(0), component(1, 2)), (placed(), away))
    (warning,) = left_out(found)
    wording("summary: a component that lies apart", warning)
    assert about_gaps(found) == ()


def test_components_of_one_world_apart_are_left_out_together_and_keep_their_numbers() -> None:
    away, near = (
        replace(placed(), apart=replace(FRAME, lon=lon, lat=-32.0, crs="EPSG:32750"))
        for lon in (115.0, 115.05)
    )
    lost = replace(placed(), placed=False, method="none")
    places = (component(0), component(1, 2), component(3), component(4))
    found = Georeference(FRAME, places, (placed(), away, lost, near))
    pair, single = left_out(found)
    assert "components 2, 4 (3 photos)" in pair and "component_2" in pair
    assert "component 3 (1 photos)" in single
    theirs = Georeference(
        replace(FRAME, lon=115.0), (component(0), component(70)), (placed(), placed()),
        numbers=(2, 4),
    )  # fmt: skip
    (gap,) = about_gaps(theirs)
    assert "components 2 and 4" in gap
    assert "; component 4: GPS fit" in describe_georeference(theirs)


def test_short_options_go_to_their_stages() -> None:
    files = {name: Path(f"{name}.x") for name in ("cameras", "scale_bar", "aoi")}
    config = resolved(RunArguments((), Path("out"), **files))  # type: ignore[arg-type]
    assert config.sfm.cameras == files["cameras"]
    assert config.georef.scale_bar == files["scale_bar"] and config.products.aoi == files["aoi"]
    assert config.depth.aoi == files["aoi"]
