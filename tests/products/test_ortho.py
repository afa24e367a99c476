"""The orthophoto: in tiles that leave no trace, each photo drawn once as far as memory allows."""

from typing import Any

import numpy as np
import pytest
import trimesh

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid
from voxterra.products import blocks, ortho
from voxterra.products.blocks import blocks_of
from voxterra.products.dsm import height_raster
from voxterra.products.layout import lattice
from voxterra.products.seams import Candidates, choose_photos
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
    monkeypatch.setattr(blocks, "BLOCK_CELLS", block)
    image = ortho.orthophoto(heights, grid, mesh, maps, GeoFrame.local()).rgba
    monkeypatch.undo()
    return image.astype(int), len(draws)


def test_each_photo_is_drawn_once_and_the_image_stays_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_view = 320 * 240 * 4
    image, draws = orthophoto_and_draws(monkeypatch, 3 * one_view)
    assert draws == 3
    again, draws = orthophoto_and_draws(monkeypatch, 0)  # seams, then colours of four tiles
    assert draws == 24
    some, draws = orthophoto_and_draws(monkeypatch, one_view)
    assert draws == 17
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


def seen_alike(height: int, width: int, weights: tuple[float, ...]) -> Candidates:
    """Cells that photos 0, 1, ... show in one grey, the first photo best."""
    found = Candidates.none(height, width)
    for k, weight in enumerate(weights):
        found.photo[..., k], found.weight[..., k], found.color[..., k, :] = k, weight, 120
    return found


def test_what_one_photo_alone_shows_is_outvoted() -> None:
    found = seen_alike(20, 20, (0.0, -1.0, -2.0))
    found.color[8:12, 5:9, 0] = (200, 30, 30)  # a red car passes in the best photo
    labels = choose_photos(found)
    assert (labels[8:12, 5:9] == 1).all() and (labels == 0).mean() > 0.9
    two = seen_alike(20, 20, (0.0, -1.0))  # no majority
    two.color[8:12, 5:9, 0] = (200, 30, 30)
    assert (choose_photos(two) == 0).all()


def test_seams_run_where_photos_look_alike() -> None:
    found = seen_alike(30, 40, (0.0, 0.0))
    column = np.arange(40)[None, :]
    right = np.broadcast_to(column >= 20, (30, 40))  # photo 1 is better there
    found.photo[right, :2] = (1, 0)
    found.weight[..., 1] = -0.5 * np.abs(column - 19.5)
    leans = np.zeros((30, 40), bool)
    leans[10:20, 18:24] = True  # a tree, which one photo shows elsewhere
    found.color[leans & ~right, 1] = found.color[leans & right, 0] = 30
    labels = choose_photos(found)
    across = (labels[:, 1:] != labels[:, :-1]) & leans[:, 1:] & leans[:, :-1]
    assert not across.any()
    assert (labels[:, 8] == 0).all() and (labels[:, 32] == 1).all()
