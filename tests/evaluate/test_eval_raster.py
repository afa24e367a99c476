"""Raster scores of surfaces whose height error is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxterra.core.geo import GeoFrame
from voxterra.core.raster import Grid, SurfaceRaster
from voxterra.core.surface_source import SurfaceSource
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.against_truth import evaluate_raster
from voxterra.evaluate.raster import drape, redraw_dsm, resample_dsm, score_heights
from voxterra.evaluate.raster_fit import fitted_dsm
from voxterra.io.geotiff import write_dsm
from voxterra.io.truth.raster import TruthRaster, grid_points, read_truth_raster
from voxterra.io.truth.surface import read_truth_surface

FRAME = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:32632", "egm96")


def hills(x, y):
    return 150.0 + 3.0 * np.sin(x / 17.0) * np.cos(y / 11.0) + 0.02 * x


def raster_of_hills(cell=0.5, width=160, height=120, offset=(0.0, 0.0, 0.0)):
    origin = FRAME.to_map(np.zeros((1, 3)))[0]
    grid = Grid(origin[0] - width * cell / 2, origin[1] + height * cell / 2, cell, width, height)
    x, y = np.meshgrid(*grid.cell_centers())
    heights = hills(x - origin[0] - offset[0], y - origin[1] - offset[1]) + offset[2]
    return grid, heights


def truth():
    grid, heights = raster_of_hills()
    scored = np.ones(heights.shape, bool)
    scored[:10] = False
    return TruthRaster(grid, heights, scored, "EPSG:32632")


def test_a_shift_of_10_cm_is_10_cm():
    t = truth()
    figures = score_heights(t.heights_m + 0.1, t).to_dict()
    assert figures["median_m"] == pytest.approx(0.1) and figures["rmse_m"] == pytest.approx(0.1)
    assert figures["nmad_m"] == pytest.approx(0.0, abs=1e-9) and figures["filled"] == 1.0
    without = score_heights(t.heights_m + 0.1, t, remove_offset=True).to_dict()
    assert without["median_abs_m"] == pytest.approx(0.0, abs=1e-9)
    assert without["removed_offset_m"] == pytest.approx(0.1)


def test_noise_of_20_cm_is_an_nmad_of_20_cm_and_holes_count():
    t = truth()
    rng = np.random.default_rng(0)
    noisy = t.heights_m + rng.normal(0, 0.2, t.heights_m.shape)
    noisy[:, :40] = np.nan  # a quarter of the cells
    noisy[:10] += 100.0  # not scored
    figures = score_heights(noisy, t).to_dict()
    assert figures["nmad_m"] == pytest.approx(0.2, rel=0.03)
    assert figures["filled"] == pytest.approx(0.75)
    assert figures["abs_p68_m"] == pytest.approx(0.2, rel=0.03)


def test_a_dsm_on_another_grid_is_drawn_on_the_truths():
    t = truth()
    grid, heights = raster_of_hills(cell=0.31, width=300, height=220)
    source = np.full(heights.shape, SurfaceSource.MEASURED, np.uint8)
    source[:, :60] = SurfaceSource.FILLED
    heights[100:110] = np.nan
    source[100:110] = SurfaceSource.NONE
    dsm = SurfaceRaster(grid, heights.astype(np.float32), source)
    redrawn, sources = resample_dsm(dsm, "EPSG:32632", t)
    redrawn[sources == SurfaceSource.FILLED] += 0.5
    score = score_heights(redrawn, t, source=sources).to_dict()
    by_source = score["by_source"]
    assert by_source["measured"]["rmse_m"] < 0.005  # what bilinear cells of these hills cost
    assert by_source["filled"]["rmse_m"] == pytest.approx(0.5, abs=0.005)
    assert by_source["weak"] == {"share": 0.0}
    assert 0.93 < score["filled"] < 0.97
    assert score["measured"] == pytest.approx(score["filled"] * (1 - 0.17), abs=0.03)


def test_a_dsm_of_a_tilted_scaled_world_comes_back_through_the_cameras_similarity():
    t = truth()
    tilt = Rotation.from_rotvec(np.radians([1.8, -0.6, 2.0])).as_matrix()
    truth_from_world = Similarity(1.01, tilt, np.array([1.5, -0.7, 2.0]))
    world_frame = replace(FRAME, lon=9.9160, lat=51.5412)
    # Make the DSM that a run in that world would deliver: its cells, lifted to the surface.
    grid, _ = raster_of_hills(cell=0.4, width=260, height=210)
    truth_mesh = _hills_in_world()
    in_world = truth_from_world.inverse().apply(truth_mesh[0])
    heights, _ = drape((in_world, truth_mesh[1]), Similarity.identity(), world_frame, grid)
    source = np.where(np.isfinite(heights), SurfaceSource.MEASURED, SurfaceSource.NONE).astype(
        np.uint8
    )
    dsm = SurfaceRaster(grid, heights, source)
    plain, _ = resample_dsm(dsm, "EPSG:32632", t)
    assert score_heights(plain, t).to_dict()["abs_p68_m"] > 0.3
    redrawn, _ = redraw_dsm(dsm, world_frame, truth_from_world, FRAME, t.grid)
    figures = score_heights(redrawn, t).to_dict()
    assert figures["filled"] > 0.95 and figures["abs_p95_m"] < 0.02


def _hills_in_world():
    grid, heights = raster_of_hills(cell=0.4, width=240, height=200)
    from voxterra.evaluate.raster import dsm_surface

    everywhere = np.full(heights.shape, SurfaceSource.MEASURED, np.uint8)
    vertices, faces, _ = dsm_surface(SurfaceRaster(grid, heights.astype(np.float32), everywhere))
    return FRAME.from_map(vertices), faces


def test_points_of_a_cloud_become_the_median_of_their_cells():
    grid = Grid(0.0, 2.0, 1.0, 3, 2)
    xyz = np.array(
        [[0.5, 1.5, 1.0], [0.6, 1.4, 9.0], [0.1, 1.9, 3.0], [2.5, 0.5, 4.0], [2.4, 0.4, 6.0]]
    )
    out = grid_points(xyz, grid)
    np.testing.assert_allclose(out[0], [3.0, np.nan, np.nan])
    np.testing.assert_allclose(out[1], [np.nan, np.nan, 5.0])


def test_nothing_in_common_is_said():
    t = truth()
    with pytest.raises(InputError, match="no cell in common"):
        score_heights(np.full(t.heights_m.shape, np.nan), t)


def test_synthetic_mesh_gives_the_synthetic_dsm(shared_data):
    folder = shared_data("synthetic_uav")
    t = read_truth_raster(folder)
    assert t.scored.mean() < 0.95 and t.crs == "EPSG:25832"
    mesh = read_truth_surface(folder).mesh
    frame = GeoFrame("geo", 9.9158, 51.5413, 198.46, t.crs, "egm96")
    heights, _ = drape(mesh, Similarity.identity(), frame, t.grid)
    figures = score_heights(heights, t).to_dict()
    assert figures["filled"] == 1.0
    assert figures["nmad_m"] < 0.002 and abs(figures["median_m"]) < 0.005
    assert figures["abs_p95_m"] < 0.01


def test_a_dsm_against_a_reference_cloud_loses_one_offset(shared_data, tmp_path):
    reference = read_truth_raster(shared_data("uav_brighton_beach"))
    assert reference.crs == "EPSG:32615" and reference.is_reference
    assert 0.3 < reference.scored.mean() <= 1.0 and 0.1 < reference.grid.cell_size < 1.0
    fine = np.repeat(np.repeat(reference.heights_m, 2, axis=0), 2, axis=1).astype(np.float32) + 3.0
    fine[: fine.shape[0] // 2] = np.nan
    g = reference.grid
    grid = Grid(g.left, g.top, g.cell_size / 2, 2 * g.width, 2 * g.height)
    source = np.where(np.isfinite(fine), SurfaceSource.MEASURED, SurfaceSource.NONE).astype(
        np.uint8
    )
    frame = GeoFrame("geo", -91.994, 46.8428, 170.0, "EPSG:32615", "egm96")
    write_dsm(SurfaceRaster(grid, fine, source), tmp_path / "dsm.tif", frame)
    folder = shared_data("uav_brighton_beach")
    score = evaluate_raster(tmp_path / "dsm.tif", folder, "none").to_dict()
    assert score["removed_offset_m"] == pytest.approx(3.0, abs=1e-3)
    assert score["median_abs_m"] < 1e-3 and 0.2 < score["filled"] < 0.8
    assert score["by_source"]["measured"]["share"] == pytest.approx(score["filled"])
    kept = evaluate_raster(tmp_path / "dsm.tif", folder, "none", remove_offset=False).to_dict()
    assert kept["median_abs_m"] == pytest.approx(3.0, abs=1e-3)


def test_a_tilted_shifted_dsm_is_fitted_to_the_shape_of_the_truth(tmp_path):
    t = truth()
    grid, heights = raster_of_hills(cell=0.5, offset=(0.8, -0.5, 12.0))
    x, _ = grid.cell_centers()
    heights += 0.02 * (x - x.mean())  # 1.1 degrees
    dsm = SurfaceRaster(
        grid, heights.astype(np.float32), np.full(heights.shape, SurfaceSource.MEASURED, np.uint8)
    )
    plain = score_heights(resample_dsm(dsm, t.crs, t)[0], t, remove_offset=True).to_dict()
    assert plain["median_abs_m"] > 0.2
    fitted, moved = fitted_dsm(dsm, t.crs, t)
    figures = score_heights(fitted, t, remove_offset=True).to_dict()
    assert figures["median_abs_m"] < 0.01 and figures["filled"] > 0.9
    tilt = np.degrees(np.arccos(moved.rotation[2, 2]))
    assert tilt == pytest.approx(np.degrees(np.arctan(0.02)), abs=0.05)
