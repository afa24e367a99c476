"""Numbers of components where one of them has no place on the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.transforms import Similarity
from voxterra.products.camera_features import camera_features, footprint_features
from voxterra.testing import look_at

FRAME = GeoFrame("geo", 10.0, 48.0, 0.0, "EPSG:32632")
VIEW = look_at("placed.jpg", (0, 0, 30), (0, 0, 0))


def component(name: str) -> Reconstruction:
    none = np.zeros(0)
    points = SparsePoints(
        np.zeros((0, 3)), np.zeros((0, 3), np.uint8), none,
        np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, 2)),
    )  # fmt: skip
    return Reconstruction({1: VIEW.camera}, (Image(name, 1, VIEW.cam_from_world),), points)


def georeference(frame: GeoFrame, *placed: bool) -> Georeference:
    return Georeference(
        frame,
        tuple(component("placed.jpg" if p else "lost.jpg") for p in placed),
        tuple(Placement(Similarity.identity(), p, "gps" if p else "none") for p in placed),
    )


def test_footprints_and_cameras_count_components_alike() -> None:
    known = georeference(FRAME, False, True, True)
    names = ("placed.jpg", "lost.jpg")
    photos = PhotoSet(Path(), tuple(Photo(n, Path(n), 100, 80, "") for n in names))
    cameras = {
        (f["properties"]["name"], f["properties"]["component"])
        for f in camera_features(known, photos)
    }
    ground = np.column_stack([np.random.default_rng(0).uniform(-20, 20, (200, 2)), np.zeros(200)])
    assert VIEW.component == 0  # it has the first depth map, for the lost component has none
    (feature,) = footprint_features((VIEW,), ground, known)
    found = feature["properties"]["name"], feature["properties"]["component"]
    assert found == ("placed.jpg", 1)
    assert found in cameras


def test_mappable_components_and_their_numbers() -> None:
    known = georeference(FRAME, False, True, True)
    assert known.mappable_components == known.components[1:]
    assert known.mappable_component_of_photo() == {"placed.jpg": 1}
    local = georeference(GeoFrame.local(), False, False)
    assert local.mappable_components == local.components[:1]
    assert local.mappable_component_of_photo() == {"lost.jpg": 0}
