"""Components that share no view: near each other, and thousands of kilometres apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from voxterra.core.gaps import component_gaps
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.map_config import MapConfig
from voxterra.core.photos import PhotoSet
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.transforms import Similarity, rotation_from_vector
from voxterra.georef.georeference import georeference

MakeSurvey = Callable[..., Any]


def part(model: Reconstruction, keep: slice, turn: float) -> Reconstruction:
    """Some images of a model, in a frame of their own."""
    some = replace(model, images=model.images[keep])
    own = Similarity(0.3 + turn, rotation_from_vector(np.array([turn, 0.5, -turn])), np.ones(3))
    return some.transformed(own)


def test_two_halves_of_a_survey(survey: MakeSurvey) -> None:
    s = survey(n=30)
    halves = [part(s.model, slice(0, 14), 0.4), part(s.model, slice(16, 30), 1.3)]
    found = georeference(halves, s.photos)
    assert all(p.placed and p.apart is None for p in found.placements)
    for component, placement in zip(found.components, found.placements, strict=True):
        error = s.error(component, found.frame)
        assert placement.position_sigma_horizontal_m is not None
        assert np.linalg.norm(error.offset_m[:2]) < 3 * placement.position_sigma_horizontal_m
        assert error.tilt_deg < 1.0
    (gap,) = component_gaps(found)
    truth = {i.name: i.center_in_world for i in s.truth.images}
    true = np.linalg.norm((truth[gap.photos[0]] - truth[gap.photos[1]])[:2])
    assert gap.sigma_horizontal_m is not None
    assert gap.distance_m == pytest.approx(true, abs=3 * gap.sigma_horizontal_m)
    names = [{i.name for i in c.images} for c in found.components]
    assert gap.photos[0] in names[0] and gap.photos[1] in names[1]


def two_places(survey: MakeSurvey) -> tuple[Georeference, list]:
    """24 photos in Germany and 16 in Australia, the smaller set first in the folder."""
    here, there = survey(n=24), survey(n=16, lon=115.7439, lat=-32.0569, seed=3)
    photos = [replace(p, id=f"there/{p.id}") for p in there.photos.photos]
    both = replace(here.photos, photos=(*photos, *here.photos.photos))
    images = tuple(replace(i, name=f"there/{i.name}") for i in there.model.images)
    models = [here.model, replace(there.model, images=images)]
    return georeference(models, both), [here, there]


def test_places_far_apart_have_frames_of_their_own(survey: MakeSurvey) -> None:
    found, (here, there) = two_places(survey)
    assert found.frame.map_crs == "EPSG:32632"
    first, second = found.placements
    assert first.placed and first.apart is None
    assert second.placed and second.apart is not None and second.apart.map_crs == "EPSG:32750"
    assert found.mappable_indices() == [0] and component_gaps(found) == ()
    assert here.error(found.components[0], found.frame).tilt_deg < 1.0
    images = tuple(replace(i, name=i.name[6:]) for i in found.components[1].images)
    error = there.error(replace(found.components[1], images=images), second.apart)
    assert error.tilt_deg < 1.0 and np.linalg.norm(error.offset_m[:2]) < 5
    (warning,) = [w for w in second.warnings if "km from the others" in w]
    assert "component 2 (16 photos)" in warning and "32.0569 S 115.7439 E" in warning
    again = Placement.from_dict(second.to_dict())
    assert again.apart == second.apart


def test_the_crs_asked_for_is_for_the_world_of_most_photos(survey: MakeSurvey) -> None:
    here, there = survey(n=24), survey(n=16, lon=115.7439, lat=-32.0569, seed=3)
    photos = [replace(p, id=f"there/{p.id}") for p in there.photos.photos]
    both = PhotoSet(here.photos.root, (*photos, *here.photos.photos))
    images = tuple(replace(i, name=f"there/{i.name}") for i in there.model.images)
    models = [here.model, replace(there.model, images=images)]
    found = georeference(models, both).on_map(MapConfig("EPSG:25832", "ellipsoidal"))
    assert found.frame.map_crs == "EPSG:25832"
    assert (
        found.placements[1].apart is not None and found.placements[1].apart.map_crs == "EPSG:32750"
    )
    assert found.placements[1].apart.heights == "ellipsoidal"


def test_one_component_without_gps_is_apart_and_named(survey: MakeSurvey) -> None:
    s = survey(n=30)
    without = {i.name for i in s.model.images[16:]}
    s = s.with_photos(lambda _, p: replace(p, gps=None) if p.id in without else p)
    halves = [part(s.model, slice(0, 14), 0.4), part(s.model, slice(16, 30), 1.3)]
    found = georeference(halves, s.photos)
    assert [p.placed for p in found.placements] == [True, False]
    assert found.mappable_indices() == [0] and component_gaps(found) == ()
    assert found.frame_of(1).is_local and not found.frame_of(0).is_local
    assert any("component 2 (14 photos)" in w for w in found.all_warnings)
