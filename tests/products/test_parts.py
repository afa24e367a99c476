"""Layout, gaps and attitudes, each against what is known by other means."""

import numpy as np
import pytest

from voxterra.core.geo import GeoFrame
from voxterra.core.raster import Grid
from voxterra.products.camera_features import attitude
from voxterra.products.gaps import closing
from voxterra.products.layout import choose_grids, lattice, nice, photo_gsd
from voxterra.testing import look_at, plane_mesh

FEET = GeoFrame("geo", -121.0, 38.0, 20.0, "EPSG:2226")


@pytest.mark.parametrize(
    ("size", "expected"), [(0.0713, 0.07), (0.0127, 0.012), (0.23, 0.25), (9.6, 10.0), (1.0, 1.0)]
)
def test_nice_numbers(size: float, expected: float) -> None:
    assert nice(size) == expected


def test_photo_gsd_is_the_pixel_on_the_ground() -> None:
    view = look_at("a", (0, 0, 30), (0, 0, 0), focal_px=300.0)
    assert photo_gsd(plane_mesh(8.0, 40), [view]) == pytest.approx(0.1, rel=1e-6)
    away = look_at("b", (0, 0, 30), (0, 0, 60))
    assert photo_gsd(plane_mesh(8.0, 40), [away]) == 0.0


def test_grids_share_edges_on_whole_cells_and_obey_the_limit() -> None:
    xy = np.random.default_rng(0).uniform((563401.3, 5710003.7), (563498.1, 5710090.2), (5000, 2))
    dsm, ortho = choose_grids(xy, 0.07, 2, 10_000_000)
    assert dsm.cell_size == pytest.approx(0.14) and ortho.cell_size == 0.07
    assert (ortho.width, ortho.height) == (2 * dsm.width, 2 * dsm.height)
    np.testing.assert_allclose(dsm.bounds, ortho.bounds)
    left, bottom, right, top = dsm.bounds
    assert left <= xy[:, 0].min() and right >= xy[:, 0].max()
    assert bottom <= xy[:, 1].min() and top >= xy[:, 1].max()
    np.testing.assert_allclose(np.array(dsm.bounds) / 0.14 % 1 % 1, 0, atol=1e-4)
    _, small = choose_grids(xy, 0.07, 2, 100_000)
    assert small.width * small.height <= 100_000 and small.cell_size > 0.25


def test_far_strays_do_not_enlarge_the_area() -> None:
    xy = np.random.default_rng(0).uniform(0, 100, (5000, 2))
    xy[:3] += 1e5
    _, ortho = choose_grids(xy, 1.0, 2, 10_000_000)
    assert ortho.width < 250


def test_lattice_is_the_frame_to_a_tenth_of_a_millimetre() -> None:
    frame, rng = FEET, np.random.default_rng(1)
    east, north, _ = frame.to_map(np.zeros((1, 3)))[0]
    grid = Grid(east - 500, north + 700, 0.5, 2000, 1500)
    cells = lattice(grid, frame, 40.0)
    rows, columns = rng.uniform(0, 1500, 200), rng.uniform(0, 2000, 200)
    heights = rng.uniform(-20, 120, 200)
    on_map = np.column_stack([grid.left + columns * 0.5, grid.top - rows * 0.5, heights])
    np.testing.assert_allclose(
        cells.points(rows, columns, heights), frame.from_map(on_map), atol=1e-4
    )


def test_closing_is_scipys() -> None:
    from scipy.ndimage import binary_closing

    mask = np.random.default_rng(0).random((60, 70)) > 0.9
    offsets = np.arange(-4, 5)
    disc = np.hypot(*np.meshgrid(offsets, offsets)) <= 4
    padded = binary_closing(np.pad(mask, 10), disc)[10:-10, 10:-10]
    # The distance transform is the fast, not quite Euclidean one.
    assert (closing(mask, 4.0) ^ padded).mean() < 0.03


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """cam_from_world of a drone camera by turning about body axes in turn."""
    y, p, r = np.radians([yaw, pitch, roll])
    forward = np.array([np.sin(y) * np.cos(p), np.cos(y) * np.cos(p), np.sin(p)])
    right = np.array([np.cos(y), -np.sin(y), 0.0])
    down = np.cross(forward, right)
    turned_right = np.cos(r) * right + np.sin(r) * down
    turned_down = np.cos(r) * down - np.sin(r) * right
    return np.column_stack([np.stack([turned_right, turned_down, forward]), np.zeros(3)])


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, -45, 5), (200, -89, -3), (359, 20, 80), (90, -90, 0), (270, -10, -9)]
)
def test_attitude_of_known_angles(angles: tuple[float, float, float]) -> None:
    assert attitude(rotation(*angles)) == pytest.approx(angles, abs=1e-6)
