"""Which gaps of a surface model are filled, and that no filling climbs what stands beside it."""

import numpy as np
import pytest

from voxterra.core.raster import Grid
from voxterra.core.surface_source import SurfaceSource
from voxterra.products.dsm import surface_raster
from voxterra.products.gaps import fill_gaps, gaps_to_fill

ROWS, COLUMNS = np.mgrid[:120, :160]


def filled(heights: np.ndarray, gap: np.ndarray, gap_cells: float = 60.0) -> np.ndarray:
    """Heights [m] in the gap, of cells of 0.1 m; all else must stay as it was."""
    known = heights.astype(np.float32)
    known[gap] = np.nan
    out = fill_gaps(known, gap_cells, 0.1, 0.3)
    np.testing.assert_array_equal(out[~gap], known[~gap])
    return out[gap]


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    inside = np.zeros(ROWS.shape, bool)
    inside[top:bottom, left:right] = True
    return inside


@pytest.mark.parametrize(("height", "name"), [(10.0, "roof"), (1.5, "car")])
def test_the_ground_goes_on_up_to_what_stands_on_it(height: float, name: str) -> None:
    ground = 100 + 0.005 * ROWS + 0.01 * COLUMNS
    gap = box(40, 80, 60, 80)  # 2 m at its west side
    found = filled(np.where(box(30, 90, 80, 120), ground + height, ground), gap)
    assert np.abs(found - ground[gap]).max() < 0.25


def test_no_skirt_around_a_tree_and_none_below_it() -> None:
    """A round crown of 2.5 m, its ground hidden on three sides and in a notch of the crown."""
    away = np.hypot(ROWS - 60, COLUMNS - 80)
    crown = away < 25
    dome = 100 + 2.5 * np.sqrt(np.maximum(1 - (away / 25) ** 2, 0))
    gap = (away >= 20) & (away < 40) & (COLUMNS < 95) | crown & box(57, 63, 90, 160)
    found = filled(np.where(crown, dome, 100), gap)
    ground = ~crown[gap]
    assert np.abs(found[ground] - 100).max() < 0.3
    assert found.max() < 100.5


def test_a_courtyard_lies_on_its_floor_and_a_hole_in_a_roof_on_the_roof() -> None:
    roof = np.full(ROWS.shape, 110.0)
    floor = box(40, 80, 50, 100)
    gap = floor & ~box(45, 60, 65, 100)  # along all four walls; part of the floor is known
    np.testing.assert_allclose(filled(np.where(floor, 100.0, roof), gap), 100, atol=0.01)
    pits = box(40, 42, 48, 50)  # wrong ones are no floor
    found = filled(np.where(pits, 107.0, roof), floor)
    assert np.quantile(found, 0.1) > 109 and found.max() < 110.01


@pytest.mark.parametrize("slope", [0.1, 0.5, 1.5])
def test_a_gap_in_a_slope_is_that_slope(slope: float) -> None:
    plane = 50 + 0.1 * slope * COLUMNS + 0.01 * ROWS
    noise = np.random.default_rng(0).normal(0, 0.03, plane.shape)
    gap = box(30, 90, 40, 90)
    assert np.abs(filled(plane + noise, gap) - plane[gap]).max() < 0.1


def test_only_what_is_enclosed_and_narrow_is_filled() -> None:
    measured = np.zeros(ROWS.shape, bool)
    measured[10:110, 10:70] = measured[10:110, 90:150] = True  # two islands, 20 cells apart
    bay, hole, wide, slit = (
        box(10, 40, 20, 50), box(60, 80, 20, 40), box(30, 90, 100, 140), box(58, 62, 40, 70)
    )  # fmt: skip
    measured &= ~(bay | hole | wide | slit)  # the slit opens the hole to the outside
    gap = gaps_to_fill(measured, 30.0)
    assert gap[hole].all() and gap[slit].mean() > 0.9
    corners = gap[bay].mean(), gap[wide].mean(), gap[box(0, 120, 74, 86)].mean()
    assert max(corners) < 0.02
    assert not gap[box(0, 9, 0, 160)].any() and not gap[:, 154:].any()
    assert gaps_to_fill(measured, 45.0)[wide].all()
    assert not gaps_to_fill(measured, 0.0).any()
    # A closed disc grows nowhere: its outline is no chain of arcs.
    disc = np.hypot(ROWS - 60, COLUMNS - 80) < 40
    assert not gaps_to_fill(disc, 60.0)[~(np.hypot(ROWS - 60, COLUMNS - 80) < 41)].any()


def test_each_cell_has_the_source_of_the_face_that_shows() -> None:
    corners = np.array([[0, 0], [20, 0], [20, 10], [0, 10]])
    vertices = np.vstack([np.column_stack([corners, np.zeros(4)]),
                          np.column_stack([corners * 0.4, np.full(4, 5.0)])])  # fmt: skip
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    of_faces = np.array([1, 1, 3, 4], np.uint8)
    raster = surface_raster(vertices, faces, Grid(0, 10, 1, 20, 10), 0.0, face_source=of_faces)
    assert set(raster.source[6:, :8].ravel()) == {SurfaceSource.COARSE, SurfaceSource.FILLED}
    assert (raster.heights_m[raster.source >= SurfaceSource.COARSE] == 5).all()
    assert (raster.source[:6] == SurfaceSource.MEASURED).all()
