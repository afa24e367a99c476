import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from voxterra.core.geo import GeoFrame, check_in_area, projected_crs, utm_crs
from voxterra.core.geoid import undulation_m
from voxterra.errors import GeoError

# place (lon, lat) and CRS: both hemispheres, feet, old datums, oblique, the antimeridian, poles
PLACES = [
    (9.9158, 51.5413, "EPSG:25832"),
    (115.7439, -32.0569, "EPSG:32750"),
    (-118.2, 34.05, "EPSG:2229"),
    (-117.0, 33.0, "EPSG:6426"),
    (-73.9, 40.7, "EPSG:2263"),
    (9.9, 51.5, "EPSG:31467"),
    (-0.1, 51.5, "EPSG:27700"),
    (7.44, 46.95, "EPSG:2056"),
    (179.9999, -17.0, "EPSG:32760"),
    (-179.9999, -17.0, "EPSG:32701"),
    (30.0, -89.9, "EPSG:3031"),
    (10.0, 88.0, "EPSG:3413"),
    (9.9, 51.5, "+proj=utm +zone=32 +datum=WGS84 +units=m +no_defs"),
    (9.9, 51.5, CRS("EPSG:25832").to_wkt()),
]
points = st.lists(
    st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000), st.floats(-500, 3000)),
    min_size=1,
    max_size=5,
).map(np.array)


@pytest.mark.parametrize(("lon", "lat", "crs"), PLACES)
@pytest.mark.parametrize("heights", ["egm96", "ellipsoidal"])
@settings(max_examples=15, deadline=None)
@given(in_world=points)
def test_world_to_map_and_back(lon, lat, crs, heights, in_world):
    frame = GeoFrame("geo", lon, lat, 120.0, crs, heights)
    assert np.allclose(frame.from_map(frame.to_map(in_world)), in_world, atol=1e-6)
    assert np.allclose(frame.from_lonlat(frame.to_lonlat(in_world)), in_world, atol=1e-6)


@pytest.mark.parametrize("name", ["synthetic_uav", "synthetic_street"])
def test_targets_of_the_synthetic_surveys(shared_data, name):
    truth = shared_data(name) / "truth"
    cameras = json.loads((truth / "cameras.json").read_text())
    origin = cameras["origin"]
    frame = GeoFrame(
        "geo",
        origin["lon"],
        origin["lat"],
        origin["ellipsoidal_height"],
        f"EPSG:{cameras['epsg']}",
    )
    targets = json.loads((truth / "targets.json").read_text())
    in_world = np.array([t["enu"] for t in targets])
    on_map = np.array([t["E_N_H"] for t in targets])
    error = frame.to_map(in_world) - on_map
    assert np.abs(error[:, :2]).max() < 1e-4
    # The truth uses one geoid height for the whole site.
    assert np.abs(error[:, 2]).max() < 0.02
    assert np.abs(frame.from_map(on_map) - in_world)[:, :2].max() < 1e-4


def test_the_origin_lies_at_its_coordinates_with_axes_east_north_up():
    frame = GeoFrame("geo", 115.7, -32.0, 50.0, "EPSG:32750", "ellipsoidal")
    assert np.allclose(frame.to_lonlat(np.zeros((1, 3))), [[115.7, -32.0, 50.0]])
    origin, east, north, up = frame.to_map(np.vstack([np.zeros(3), 100 * np.eye(3)]))
    assert 99 < east[0] - origin[0] < 101 and 99 < north[1] - origin[1] < 101
    assert up[2] - origin[2] == pytest.approx(100, abs=1e-6)
    # UTM's meridians converge: a world axis is not a grid axis.
    assert abs(east[1] - origin[1]) > 0.5


def test_heights_are_egm96_unless_asked_for_ellipsoidal():
    egm96 = GeoFrame("geo", 9.9, 51.5, 200.0, "EPSG:32632", "egm96")
    ellipsoidal = GeoFrame("geo", 9.9, 51.5, 200.0, "EPSG:32632", "ellipsoidal")
    zero = np.zeros((1, 3))
    difference = ellipsoidal.to_map(zero)[0, 2] - egm96.to_map(zero)[0, 2]
    assert difference == pytest.approx(float(undulation_m(9.9, 51.5)))


def test_feet_are_feet():
    feet = GeoFrame("geo", -118.2, 34.05, 0.0, "EPSG:2229")
    metres = GeoFrame("geo", -118.2, 34.05, 0.0, "EPSG:26945")
    ends = np.array([[0.0, 0, 0], [300.0, 400.0, 0]])
    ratio = [np.linalg.norm(np.diff(f.to_map(ends)[:, :2], axis=0)) for f in (feet, metres)]
    assert ratio[1] / ratio[0] == pytest.approx(1200 / 3937, rel=1e-9)
    assert feet.map_unit_m() == pytest.approx(1200 / 3937)
    assert metres.map_unit_m() == 1.0
    # Heights stay in metres.
    assert feet.product_crs().axis_info[2].unit_name == "metre"


@pytest.mark.parametrize(("lon", "lat", "crs"), PLACES)
def test_product_crs_names_its_vertical_datum(lon, lat, crs):
    compound = GeoFrame("geo", lon, lat, 0.0, crs).product_crs()
    assert compound.is_compound
    assert compound.sub_crs_list[1].to_epsg() == 5773
    assert compound.sub_crs_list[0].equals(projected_crs(crs))
    ellipsoidal = GeoFrame("geo", lon, lat, 0.0, crs, "ellipsoidal").product_crs()
    assert len(ellipsoidal.axis_info) == 3 and not ellipsoidal.is_compound


def test_ecef_matrix_agrees_with_proj():
    frame = GeoFrame("geo", -73.9, 40.7, 12.0, "EPSG:32618")
    in_world = np.array([[10.0, -20.0, 30.0]])
    ecef = frame.ecef_from_world_matrix() @ [10.0, -20.0, 30.0, 1.0]
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    assert np.allclose(ecef[:3], to_ecef.transform(*frame.to_lonlat(in_world)[0]), atol=1e-6)


def test_local_frames_say_so_and_have_no_place():
    local = GeoFrame.local()
    assert local.unit == "model units" and GeoFrame.local(scale_known=True).unit == "m"
    assert "scale unknown" in local.describe()
    assert np.array_equal(local.to_map(np.ones((2, 3))), np.ones((2, 3)))
    assert local.product_crs().to_epsg() is None
    with pytest.raises(GeoError):
        local.to_lonlat(np.zeros((1, 3)))


def test_frames_are_stored_and_empty_arrays_pass():
    frame = GeoFrame("geo", 9.9, 51.5, 200.0, "EPSG:32632", "ellipsoidal")
    assert GeoFrame.from_dict(json.loads(json.dumps(frame.to_dict()))) == frame
    assert frame.to_map(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        (9.9, 51.5, "EPSG:32632"),
        (115.7, -32.0, "EPSG:32750"),
        (5.3, 60.4, "EPSG:32632"),  # Bergen
        (15.6, 78.2, "EPSG:32633"),  # Svalbard
        (180.0, -17.0, "EPSG:32701"),
        (-180.0, 17.0, "EPSG:32601"),
        (179.9, 0.0, "EPSG:32660"),
    ],
)
def test_utm_zone(lon, lat, expected):
    assert utm_crs(lon, lat) == expected
    check_in_area(expected, lon, lat)


@pytest.mark.parametrize("crs", ["EPSG:999999", "nonsense", "EPSG:4326", "EPSG:5773", "EPSG:4978"])
def test_what_is_no_map_is_refused(crs):
    with pytest.raises(GeoError):
        projected_crs(crs)


def test_a_crs_that_counts_westward_is_refused():
    with pytest.raises(GeoError, match="west"):
        projected_crs("EPSG:2048")


@pytest.mark.parametrize(("lon", "lat", "crs"), PLACES)
def test_a_crs_fits_its_place_and_no_other(lon, lat, crs):
    check_in_area(crs, lon, lat)
    if projected_crs(crs).area_of_use is not None:
        with pytest.raises(GeoError, match="lie at"):
            check_in_area(crs, (lon + 90) % 360 - 180, -lat / 2)


def test_world_wide_crs_fit_everywhere_and_tell_their_scale():
    check_in_area("EPSG:3857", 170.0, -40.0)
    frame = GeoFrame("geo", 9.9, 60.0, 0.0, "EPSG:3857")
    assert frame.map_scale() == pytest.approx(2.0, rel=0.01)
    assert GeoFrame("geo", 9.9, 60.0, 0.0, "EPSG:32632").map_scale() == pytest.approx(1, abs=1e-3)


def test_no_utm_at_the_poles():
    with pytest.raises(GeoError, match="UTM"):
        utm_crs(0, -85)


def test_accuracy_of_the_datum_tie_is_told():
    assert GeoFrame("geo", 9.9, 51.5, 0.0, "EPSG:32632").map_accuracy_m() == 0.0
    assert GeoFrame("geo", 9.9, 51.5, 0.0, "EPSG:31467").map_accuracy_m() >= 1.0
    unknown = "+proj=utm +zone=32 +ellps=bessel +units=m"
    assert GeoFrame("geo", 9.9, 51.5, 0.0, unknown).map_accuracy_m() is None
