"""The stage on simulated surveys, whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from voxterra.core.map_config import MapConfig
from voxterra.core.photos import Attitude
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.transforms import Similarity
from voxterra.errors import Cancelled, GeoError
from voxterra.georef.config import GeorefConfig
from voxterra.georef.georeference import georeference


def place(survey, config=GeorefConfig()):
    found = georeference([survey.model], survey.photos, config)
    return found, found.placements[0]


def said(found, words):
    return any(words in warning for warning in found.all_warnings)


def without_gps(i, photo):
    return replace(photo, gps=None)


def test_grid_with_attitudes(survey):
    s = survey()
    found, placement = place(s)
    error = s.error(found.components[0], found.frame)
    assert placement.placed and placement.method == "gps+attitude"
    assert found.frame.map_crs == "EPSG:32632" and found.frame.scale_known
    assert error.tilt_deg < 0.5 and abs(error.heading_deg) < 1
    assert abs(error.scale_ratio - 1) < 0.02 and error.shape_rmse_m < 1e-6
    assert placement.outliers == ()
    # The ground is at 0, the cameras 50 m above it.
    assert abs(np.median(found.components[0].points.positions_in_world[:, 2])) < 4
    assert np.allclose(
        placement.world_from_model.apply(s.model.centers_in_world()),
        found.components[0].centers_in_world(),
        atol=1e-6,
    )


def test_residuals_are_model_minus_gps(survey):
    s = survey()
    found, placement = place(s)
    gps = {p.id: p.gps for p in s.photos.photos}
    from voxterra.georef.observations import height_ellipsoidal_m

    for image, r in zip(found.components[0].images, placement.residuals):
        g = gps[r.name]
        recorded = found.frame.from_lonlat(np.array([[g.lon, g.lat, height_ellipsoidal_m(g)]]))[0]
        delta = image.center_in_world - recorded
        assert image.name == r.name
        assert np.allclose(delta, [r.east_m, r.north_m, r.up_m], atol=1e-6)
    two_d = np.array([[r.east_m, r.north_m] for r in placement.residuals])
    assert placement.rmse_horizontal_m == pytest.approx(np.sqrt((two_d**2).sum(1).mean()))


def test_stated_uncertainty_matches_the_errors_made(survey):
    tilt, heading, scale = [], [], []
    for seed in range(10):
        s = survey(seed=seed, attitude_sigma=None)
        found, p = place(s)
        e = s.error(found.components[0], found.frame)
        tilt.append(e.tilt_deg / p.tilt_sigma_deg / np.sqrt(2))
        heading.append(e.heading_deg / p.heading_sigma_deg)
        scale.append((e.scale_ratio - 1) / p.scale_sigma)
    for normalised in (tilt, heading, scale):
        assert 0.4 < np.sqrt(np.mean(np.square(normalised))) < 1.8


def test_outliers_are_named_and_do_no_harm(survey):
    s = survey()
    bad = {3: 0.002, 7: -0.004, 11: 0.001}  # deg of latitude: 220, 440 and 110 m

    def change(i, photo):
        gps = replace(photo.gps, lat=photo.gps.lat + bad.get(i, 0))
        if i == 15:
            gps = replace(gps, height_m=gps.height_m + 80)
        return replace(photo, gps=gps)

    s = s.with_photos(change)
    found, placement = place(s)
    error = s.error(found.components[0], found.frame)
    assert placement.outliers == tuple(f"photo_{i:03d}.jpg" for i in (3, 7, 11, 15))
    assert error.tilt_deg < 0.6 and abs(error.scale_ratio - 1) < 0.02
    assert np.hypot(*error.offset_m[:2]) < 3
    assert said(found, "photo_007.jpg (4")
    assert said(found, "recorded height set aside as an outlier: photo_015.jpg (")
    assert said(found, "m too high)")


@pytest.mark.parametrize("attitude_sigma", [1.0, None])
@pytest.mark.parametrize(
    ("stated", "others"), [((0.02, 0.03), (None, None)), ((None, None), (0.3, 0.5))]
)
def test_a_wrong_height_is_set_aside_though_nothing_else_states_its_accuracy(
    survey, stated, others, attitude_sigma
):
    """A row of a table with a height of 0 and an accuracy, as no other photo has one."""
    s = survey(attitude_sigma=attitude_sigma, gps_sigma=(0.3, 0.5))

    def change(i, photo):
        sigma_h, sigma_v = stated if i == 5 else others
        gps = replace(photo.gps, sigma_horizontal_m=sigma_h, sigma_vertical_m=sigma_v)
        return replace(photo, gps=replace(gps, height_m=0.0) if i == 5 else gps)

    found, placement = place(s.with_photos(change))
    assert placement.outliers == ("photo_005.jpg",)
    assert placement.rmse_vertical_m < 1.5
    # What the others state, or what is assumed of them: that photo's accuracy is none.
    assert placement.position_sigma_vertical_m > 0.9 * (
        others[1] or GeorefConfig().gps_sigma_vertical_m
    )
    assert said(found, "recorded height set aside as an outlier: photo_005.jpg (1")
    assert said(found, "m too low)")
    assert s.error(found.components[0], found.frame).tilt_deg < 1.0


def test_a_turned_compass_is_found_and_north_taken_from_positions(survey):
    s = survey(mount_bias=(70.0, 0, 0))
    found, _ = place(s)
    assert abs(s.error(found.components[0], found.frame).heading_deg) < 1.5
    assert said(found, "off by 7") or said(found, "off by 6")


def test_attitudes_of_the_aircraft_are_recognised(survey):
    s = survey(mount_bias=(0.0, 90.0, 0))
    found, placement = place(s)
    assert placement.method == "gps+attitude" and said(found, "aircraft")
    assert s.error(found.components[0], found.frame).tilt_deg < 0.8


def test_attitudes_at_random_are_not_used(survey):
    rng = np.random.default_rng(5)
    s = survey().with_photos(
        lambda i, p: replace(p, attitude=Attitude(*rng.uniform(-180, 180, 3).tolist()))
    )
    found, placement = place(s)
    assert placement.method == "gps" and said(found, "not used")
    assert s.error(found.components[0], found.frame).tilt_deg < 4


def test_a_few_turned_photos_are_set_aside(survey):
    def change(i, photo):
        a = photo.attitude
        return replace(photo, attitude=replace(a, yaw_deg=a.yaw_deg + 180)) if i < 6 else photo

    s = survey().with_photos(change)
    found, _ = place(s)
    assert abs(s.error(found.components[0], found.frame).heading_deg) < 1
    assert said(found, "heading (yaw) set aside as an outlier: photo_000.jpg, photo_001.jpg")


def test_a_straight_walk_without_attitudes_says_that_its_tilt_is_weak(survey):
    s = survey(layout="line", attitude_sigma=None)
    found, placement = place(s)
    error = s.error(found.components[0], found.frame)
    assert placement.tilt_sigma_deg > 5
    # The line runs east: it is about bearing 90 that the model can roll.
    assert said(found, "nearly on one line") and said(found, "bearing 90 deg")
    assert error.tilt_deg < 3 * placement.tilt_sigma_deg
    assert abs(error.heading_deg) < 3


def test_a_straight_walk_with_attitudes(survey):
    s = survey(layout="line")
    found, placement = place(s)
    assert s.error(found.components[0], found.frame).tilt_deg < 1.5
    assert placement.tilt_sigma_deg < 1.5


def test_two_photos_with_attitudes_suffice(survey):
    s = survey(n=2, gps_sigma=(0.05, 0.1))
    found, placement = place(s)
    error = s.error(found.components[0], found.frame)
    assert placement.placed and error.tilt_deg < 3 and abs(error.scale_ratio - 1) < 0.1


def test_missing_heights(survey):
    def change(i, photo):
        return replace(photo, gps=replace(photo.gps, height_m=None)) if i % 3 else photo

    s = survey().with_photos(change)
    found, placement = place(s)
    assert s.error(found.components[0], found.frame).tilt_deg < 0.6
    assert sum(r.up_m is None for r in placement.residuals) == 16
    s = s.with_photos(lambda i, p: replace(p, gps=replace(p.gps, height_m=None)))
    found, placement = place(s)
    assert placement.placed and placement.rmse_vertical_m is None
    assert said(found, "no photo has a recorded height")
    assert s.error(found.components[0], found.frame).tilt_deg < 0.6


def test_height_references(survey):
    s = survey()
    egm96, _ = place(s)
    ellipsoidal, _ = place(
        s.with_photos(lambda i, p: replace(p, gps=replace(p.gps, height_reference="ellipsoidal")))
    )
    unknown, _ = place(
        s.with_photos(lambda i, p: replace(p, gps=replace(p.gps, height_reference="unknown")))
    )
    up = [s.error(g.components[0], g.frame).offset_m[2] for g in (egm96, ellipsoidal, unknown)]
    assert up[1] - up[0] == pytest.approx(-45.96, abs=0.1)
    assert up[2] == pytest.approx(up[0], abs=1e-6)
    assert said(unknown, "--gps-heights") and not said(egm96, "--gps-heights")


def test_stated_accuracy_weighs(survey):
    rng = np.random.default_rng(2)

    def change(i, photo):
        if i % 2:
            return replace(photo, gps=replace(photo.gps, sigma_horizontal_m=0.02))
        gps = replace(photo.gps, lat=photo.gps.lat + rng.normal(0, 3e-5), sigma_horizontal_m=5.0)
        return replace(photo, gps=gps)

    s = survey(gps_sigma=(0.02, 0.03), attitude_sigma=None).with_photos(change)
    found, placement = place(s)
    assert np.hypot(*s.error(found.components[0], found.frame).offset_m[:2]) < 0.1
    sigmas = [r.sigma_horizontal_m for r in placement.residuals]
    assert sigmas[0] > 50 * sigmas[1]


@pytest.mark.parametrize("lon_lat", [(179.9998, -17.0), (115.7, -32.0), (-70.0, -75.0)])
def test_anywhere_on_earth(survey, lon_lat):
    s = survey(lon=lon_lat[0], lat=lon_lat[1])
    found, placement = place(s)
    error = s.error(found.components[0], found.frame)
    assert placement.placed and error.tilt_deg < 0.6
    assert np.linalg.norm(error.offset_m) < 8


def test_crs_as_asked_or_a_clear_error(survey):
    s = survey()
    placed, _ = place(s)
    assert placed.on_map(MapConfig()).frame.crs == "EPSG:32632"
    assert placed.on_map(MapConfig()).warnings == placed.warnings  # of WGS 84 itself none
    found = placed.on_map(MapConfig("EPSG:25832", "ellipsoidal"))
    assert (found.frame.crs, found.frame.heights) == ("EPSG:25832", "ellipsoidal")
    assert found.on_map(MapConfig()).frame == placed.on_map(MapConfig()).frame
    with pytest.raises(GeoError, match="lie at"):
        placed.on_map(MapConfig("EPSG:2229"))
    local, _ = place(s.with_photos(without_gps))
    with pytest.raises(GeoError, match="not a projected"):
        local.on_map(MapConfig("EPSG:4326"))
    assert said(local.on_map(MapConfig("EPSG:25832")), "--crs EPSG:25832 has no effect")
    assert said(placed.on_map(MapConfig("EPSG:3857")), "stretches")
    assert said(placed.on_map(MapConfig("EPSG:31467")), "WGS 84 → DHDN is accurate to 3 m only")


def test_without_gps_the_frame_is_local_but_upright(survey):
    s = survey().with_photos(without_gps)
    found, placement = place(s)
    assert found.frame.is_local and not found.frame.scale_known
    assert not placement.placed and placement.method == "none"
    assert said(found, "scale")
    forward = np.array([i.cam_from_world[2, :3] for i in found.components[0].images])
    assert forward[:, 2].max() < -0.98
    assert np.allclose(np.median(found.components[0].points.positions_in_world, axis=0), 0)
    # North is known from the attitudes: the first strip flies to 30 degrees.
    top = -found.components[0].images[0].cam_from_world[1, :3]
    assert np.degrees(np.arctan2(top[0], top[1])) == pytest.approx(30, abs=4)
    found, _ = place(s, GeorefConfig(use_attitude=False))
    forward = np.array([i.cam_from_world[2, :3] for i in found.components[0].images])
    assert forward[:, 2].mean() < -0.98
    assert place(survey(), GeorefConfig(use_gps=False))[0].frame.is_local


def test_photos_at_one_place_are_not_scaled_by_gps_noise(survey):
    s = survey()
    tiny = s.truth.transformed(Similarity(0.002, np.eye(3), np.zeros(3)))
    fixed = s.photos.photos[0].gps
    scattered = s.with_photos(
        lambda i, p: replace(p, gps=replace(fixed, lon=fixed.lon + 1e-5 * np.sin(7.0 * i)))
    )
    found = georeference([tiny], scattered.photos)
    assert found.frame.is_local and said(found, "scatter more")
    same = s.with_photos(lambda i, p: replace(p, gps=fixed))
    assert georeference([tiny], same.photos).frame.is_local
    nowhere = s.with_photos(lambda i, p: replace(p, gps=replace(p.gps, lon=0.0, lat=0.0)))
    assert place(nowhere)[0].frame.is_local


def test_components_come_into_one_world_or_are_named(survey):
    s = survey(n=30)

    def part(start, stop, seed):
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn *= np.sign(np.linalg.det(turn))
        piece = replace(s.truth, images=s.truth.images[start:stop])
        return piece.transformed(Similarity(0.3, turn, rng.normal(size=3)))

    lost = {f"photo_{i:03d}.jpg" for i in range(26, 30)}
    photos = s.with_photos(lambda i, p: replace(p, gps=None) if p.id in lost else p).photos
    parts = [part(0, 14, 1), part(14, 26, 2), part(26, 30, 3)]
    found = georeference(parts, photos)
    assert [p.placed for p in found.placements] == [True, True, False]
    assert found.placements[2].method == "none"
    assert said(found, "component 3 (4 photos) is not on the map: only 0 of its 4 photos")
    both = Reconstruction(
        s.truth.cameras,
        found.components[0].images + found.components[1].images,
        found.components[0].points,
    )
    error = s.error(both, found.frame)
    assert error.tilt_deg < 1 and error.shape_rmse_m < 4


def test_it_repeats_exactly_reports_progress_and_can_be_stopped(survey):
    s = survey()
    first, second = place(s)[0], place(s)[0]
    assert first.placements[0].to_dict() == second.placements[0].to_dict()
    seen = []
    georeference([s.model], s.photos, progress=lambda f, m="": seen.append(f))
    assert seen[-1] == 1.0 and seen == sorted(seen)

    def stop(fraction, message=""):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        georeference([s.model], s.photos, progress=stop)


def test_nothing_to_place(survey):
    assert georeference([], survey().photos).components == ()


def test_a_model_that_attitudes_turn_upside_down_is_told(survey):
    # Pitch counted positive downwards, and too few positions to contradict it.
    s = survey(n=2, gps_sigma=(0.05, 0.1), mount_bias=(0.0, 180.0, 0.0))
    found, _ = place(s)
    assert said(found, "look up into the sky")
    # With a whole block of positions they are found out.
    found, placement = place(survey(mount_bias=(0.0, 180.0, 0.0)))
    assert placement.method == "gps" and said(found, "in tilt and are not used")
