"""The orthophoto: in tiles that leave no trace, each photo drawn once as far as memory allows."""

from typing import Any

import numpy as np
import pytest
import trimesh

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid
from voxterra.products import blocks, exposure, ortho
from voxterra.products.blocks import blocks_of
from voxterra.products.dsm import height_raster
from voxterra.products.exposure import sample_photos, usable_pairs
from voxterra.products.layout import lattice
from voxterra.testing import look_at, photograph


def pattern(points: np.ndarray) -> np.ndarray:
    waves = 0.5 + 0.3 * np.sin(points[:, :2] * [0.7, 1.1])
    return np.column_stack([waves, np.full(len(points), 0.4)])


def orthophoto_and_draws(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, tile: int = 50, block: int = 256
) -> tuple[Any, int]:
    box = trimesh.creation.box((6, 6, 5)).apply_translation((2, 1, 2.5))
    ground = trimesh.creation.box((30, 30, 1)).apply_translation((0, 0, -0.5))
    both = trimesh.util.concatenate([ground, box])
    mesh = TriMesh(np.asarray(both.vertices, np.float32), np.asarray(both.faces, np.int32))
    views = [look_at(f"{x}.jpg", (x, 0, 40), (x, 0, 0), focal_px=280.0) for x in (-6, 0, 6)]
    maps = photograph(mesh, views, pattern, (1.0, 0.9, 1.1))
    grid = Grid(-10.0, 10.0, 0.2, 100, 100)
    heights = height_raster(mesh.vertices.astype(float), mesh.faces, grid)
    heights[40:43, 20:80:7] = np.nan  # no cell
    heights[14:18, 12:90:5] -= 1  # specks below the surface, which no photo sees
    draws, draw = [], ortho.rasterize_depth

    def counted(*arguments: Any) -> Any:
        draws.append(1)
        return draw(*arguments)

    monkeypatch.setattr(ortho, "rasterize_depth", counted)
    monkeypatch.setattr(ortho, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(ortho, "TILE_CELLS", tile)
    for module in (blocks, exposure):
        monkeypatch.setattr(module, "BLOCK_CELLS", block)
    image = ortho.orthophoto(heights, grid, mesh, maps, GeoFrame.local()).rgba
    monkeypatch.undo()
    return image.astype(int), len(draws)


def test_each_photo_is_drawn_once_and_the_image_stays_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_view = 320 * 240 * 4
    image, draws = orthophoto_and_draws(monkeypatch, 3 * one_view)
    assert draws == 3
    again, draws = orthophoto_and_draws(monkeypatch, 0)  # levelling, then each of four tiles
    assert draws == 15
    some, draws = orthophoto_and_draws(monkeypatch, one_view)
    assert draws == 11
    for other in (again, some):
        assert np.abs(image - other).max() <= 1
    assert (image[..., 3] == 255).mean() > 0.9


@pytest.mark.parametrize(("tile", "block"), [(50, 256), (33, 8), (16, 16)])
def test_tiles_leave_no_trace(monkeypatch: pytest.MonkeyPatch, tile: int, block: int) -> None:
    memory = 10**8
    whole, _ = orthophoto_and_draws(monkeypatch, memory, 4096)
    tiled, _ = orthophoto_and_draws(monkeypatch, memory, tile, block)
    np.testing.assert_array_equal(whole, tiled)


def flown(photos_a_side: int) -> tuple[np.ndarray, Any, list[Any]]:
    """A flat survey of photos 13 m x 10 m apart, each 57 m x 43 m on the ground; cells of 0.5 m."""
    places = [(13.0 * x, 10.0 * y) for y in range(photos_a_side) for x in range(photos_a_side)]
    views = [look_at(f"{i}", (*at, 50), (*at, 0), focal_px=280.0) for i, at in enumerate(places)]
    width, height = (int(2 * step * photos_a_side) for step in (13.0, 10.0))
    grid = Grid(-6.5, 10.0 * photos_a_side - 5.0, 0.5, width, height)
    return (
        np.zeros((height, width), np.float32), lattice(grid, GeoFrame.local(), 0.0), views
    )  # fmt: skip


def test_a_photo_costs_the_same_in_a_survey_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_CELLS", 16)
    cells_a_photo = []
    for side in (15, 30):
        heights, cells, views = flown(side)
        found = blocks_of(heights, cells, views)
        cells_a_photo.append(len(found.block) * 16**2 / len(views))
    assert cells_a_photo[1] < 1.2 * cells_a_photo[0]
    assert cells_a_photo[1] < 2.0 * (57 / 0.5) * (43 / 0.5)


def test_photos_of_a_large_survey_share_points_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "LEAST_POINTS", 1_000)  # as 20,000 are for some 20 times more
    monkeypatch.setattr(exposure, "MOST_SAMPLES", 400 * 400)
    for module in (blocks, exposure):
        monkeypatch.setattr(module, "BLOCK_CELLS", 16)
    heights, cells, views = flown(20)

    def look(index: int, points: np.ndarray) -> np.ndarray:
        pixels, _ = views[index].project(points)
        inside = ((pixels > 0) & (pixels < [views[index].width, views[index].height])).all(1)
        return np.where(inside[:, None], np.float32(100), np.float32(np.nan)).repeat(3, axis=1)

    samples = sample_photos(heights, cells, blocks_of(heights, cells, views), len(views), look)
    assert max(len(s.point) for s in samples) <= 400
    first, second, common = usable_pairs(samples)
    assert set(first) | set(second) == set(range(len(views)))
    # Neighbours share three quarters of what they show, and of what is kept of it.
    along = (second - first == 1) & (second % 20 != 0)
    assert along.sum() == 20 * 19 and common[along].min() > 150


def test_specks_are_coloured_within_the_surface_only() -> None:
    total, known = np.ones((11, 11), np.float32), np.ones((11, 11), np.bool_)
    total[5, 4] = total[5, 7] = 0.0  # no photo sees them
    known[5, 7] = False  # and there is no surface
    image = ortho._finish(90 * total[..., None] * np.ones(3, np.float32), total, known)
    assert image[5, 4].tolist() == [90, 90, 90, 255]
    assert image[5, 7].tolist() == [0, 0, 0, 0]
