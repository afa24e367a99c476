"""True cameras of the synthetic surveys with the GPS and attitudes that their photos record."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.photos import Attitude, Gps, Photo, PhotoSet
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.transforms import Similarity, rotation_from_vector
from voxterra.evaluate.frame import evaluate_frame
from voxterra.georef.config import GeorefConfig
from voxterra.georef.georeference import georeference


def marked_targets(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Pixels of each painted target by photo, as a person would mark them (0.3 px noise)."""
    lines = (folder / "gcp_list.txt").read_text().splitlines()[1:]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for line in lines:
        _, _, _, px, py, photo, name = line.split()
        found.setdefault(name, {})[photo] = (float(px), float(py))
    return found


def load(folder: Path):
    data = json.loads((folder / "truth" / "cameras.json").read_text())
    origin = data["origin"]
    frame = GeoFrame("geo", origin["lon"], origin["lat"], origin["ellipsoidal_height"])
    images = tuple(Image(i["name"], 1, np.array(i["cam_from_world"])) for i in data["images"])
    targets = json.loads((folder / "truth" / "targets.json").read_text())
    n = len(targets)
    points = SparsePoints(
        np.array([t["enu"] for t in targets]),
        np.zeros((n, 3), np.uint8),
        np.zeros(n),
        np.zeros(n + 1, np.int64),
        np.zeros(0, np.int32),
        np.zeros((0, 2)),
    )
    camera = Camera("RADIAL", data["width"], data["height"], tuple(data["colmap_params"]))
    photos = []
    with (folder / "meta.csv").open() as stream:
        for row in csv.DictReader(stream):
            gps = Gps(float(row["lon"]), float(row["lat"]), float(row["alt"]))
            attitude = Attitude(float(row["yaw"]), float(row["pitch"]), float(row["roll"]))
            name = row["filename"]
            photos.append(Photo(name, folder / name, 1024, 768, "", gps, attitude))
    return Reconstruction({1: camera}, images, points), frame, PhotoSet(folder, tuple(photos))


@pytest.mark.parametrize(
    ("name", "tilt_deg", "tilt_by_gps_deg"),
    [("synthetic_uav", 0.6, 2.5), ("synthetic_street", 0.8, 12)],
)
def test_frame_as_delivered(shared_data, name, tilt_deg, tilt_by_gps_deg):
    truth, frame, photos = load(shared_data(name))
    turn = rotation_from_vector(np.array([1.0, 2.0, -0.5]))
    model = truth.transformed(Similarity(0.07, turn, np.array([3.0, 1.0, 2.0])))
    true_poses = np.array([i.cam_from_world for i in truth.images])
    for use_attitude, limit in ((True, tilt_deg), (False, tilt_by_gps_deg)):
        found = georeference([model], photos, GeorefConfig(use_attitude=use_attitude))
        poses = np.array([i.cam_from_world for i in found.components[0].images])
        error = evaluate_frame(poses, found.frame, true_poses, frame)
        placement = found.placements[0]
        assert error.tilt_deg < limit
        assert error.tilt_deg < 3 * placement.tilt_sigma_deg
        assert abs(error.heading_deg) < 0.5 and abs(error.scale_ratio - 1) < 0.02
        # The GPS error that all photos share stays: it is stated, not corrected.
        assert np.linalg.norm(error.offset_m) < 4
        assert placement.position_sigma_vertical_m > abs(error.offset_m[2]) / 2


@pytest.mark.parametrize("name", ["synthetic_uav"])
def test_a_taped_distance_gives_the_scale(shared_data, name, tmp_path):
    """Between two painted targets, without any GPS."""
    folder = shared_data(name)
    truth, _, photos = load(folder)
    model = truth.transformed(Similarity(0.07, np.eye(3), np.zeros(3)))
    photos = replace(photos, photos=tuple(replace(p, gps=None) for p in photos.photos))
    targets = json.loads((folder / "truth" / "targets.json").read_text())
    places = {t["name"]: np.array(t["enu"]) for t in targets}
    marks = marked_targets(folder)
    common = {(a, b): marks[a].keys() & marks[b].keys() for a in marks for b in marks if a < b}
    (a, b), shared = max(common.items(), key=lambda pair: len(pair[1]))
    assert len(shared) >= 2
    length = np.linalg.norm(places[a] - places[b])
    rows = [
        f"tape,{length},{p},{marks[a][p][0]},{marks[a][p][1]},{marks[b][p][0]},{marks[b][p][1]}"
        for p in sorted(shared)
    ]
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(["bar,length_m,photo,x1,y1,x2,y2", *rows]))
    found = georeference([model], photos, GeorefConfig(scale_bar=path))
    assert found.frame.scale_known
    scale, sigma = found.placements[0].world_from_model.scale, found.placements[0].scale_sigma
    assert scale * 0.07 == pytest.approx(1.0, abs=3 * sigma) and sigma < 0.02
