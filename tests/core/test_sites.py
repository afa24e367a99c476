"""Which components share a world that is not that of most photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.sites import Site, distances_m, shared_worlds, sites_of
from voxterra.core.transforms import Similarity

HOME = GeoFrame("geo", 9.9, 51.5, 100.0, "EPSG:32632")
HERE = Placement(Similarity.identity(), True, "gps")
LOST = Placement(Similarity.identity(), False, "none")


def at(lon: float, lat: float) -> Placement:
    return replace(HERE, apart=GeoFrame("geo", lon, lat, 0.0, "EPSG:32633"))


def test_distances_are_geodesic_and_worlds_reach_by_way_of_others() -> None:
    places = [(13.0, 52.0), (13.1, 52.0), (13.2, 52.0), (13.6, 52.0), (179.99, 0.0), (-179.99, 0.0)]
    apart = distances_m(places)
    assert np.allclose(apart, apart.T) and np.all(np.diag(apart) == 0)
    np.testing.assert_allclose(apart[0, 1], 6867, atol=5)  # cos 52 of 11.1 km
    np.testing.assert_allclose(apart[4, 5], 2226, atol=5)  # across the antimeridian
    assert shared_worlds(places).tolist() == [0, 0, 0, 3, 4, 4]
    assert len(shared_worlds([])) == 0


def test_other_sites_are_by_place_and_each_lost_component_is_alone() -> None:
    placements = (HERE, at(13.0, 52.0), LOST, at(20.0, 40.0), at(13.05, 52.0), LOST, HERE)
    found = sites_of(Georeference(HOME, (), placements))
    assert [apart.components for apart in found] == [(1, 4), (2,), (3,), (5,)]
    assert sites_of(Georeference(HOME, (), (HERE, HERE))) == ()


def test_without_any_place_all_but_the_largest_are_apart() -> None:
    found = sites_of(Georeference(GeoFrame.local(), (), (LOST, LOST, LOST)))
    assert [apart.components for apart in found] == [(1,), (2,)]


def test_they_are_named_as_people_count() -> None:
    pair = Site((1, 4))
    assert (pair.number, pair.folder, pair.describe()) == (2, "component_2", "components 2, 5")
    assert Site((2,)).describe() == "component 3"
