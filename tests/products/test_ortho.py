"""The orthophoto draws what hides cells from a photo once, as far as memory allows."""

from typing import Any

import numpy as np
import pytest
import trimesh

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid
from voxterra.products import ortho
from voxterra.products.dsm import height_raster
from voxterra.testing import look_at, photograph


def pattern(points: np.ndarray) -> np.ndarray:
    waves = 0.5 + 0.3 * np.sin(points[:, :2] * [0.7, 1.1])
    return np.column_stack([waves, np.full(len(points), 0.4)])


def orthophoto_and_draws(monkeypatch: pytest.MonkeyPatch, kept_bytes: int) -> tuple[Any, int]:
    box = trimesh.creation.box((6, 6, 5)).apply_translation((2, 1, 2.5))
    ground = trimesh.creation.box((30, 30, 1)).apply_translation((0, 0, -0.5))
    both = trimesh.util.concatenate([ground, box])
    mesh = TriMesh(np.asarray(both.vertices, np.float32), np.asarray(both.faces, np.int32))
    views = [look_at(f"{x}.jpg", (x, 0, 40), (x, 0, 0), focal_px=280.0) for x in (-6, 0, 6)]
    maps = photograph(mesh, views, pattern, (1.0, 0.9, 1.1))
    grid = Grid(-10.0, 10.0, 0.2, 100, 100)
    heights = height_raster(mesh.vertices.astype(float), mesh.faces, grid)
    draws, draw = [], ortho.rasterize_depth

    def counted(*arguments: Any) -> Any:
        draws.append(1)
        return draw(*arguments)

    monkeypatch.setattr(ortho, "rasterize_depth", counted)
    monkeypatch.setattr(ortho, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(ortho, "STRIP_CELLS", 5_000)  # two strips
    image = ortho.orthophoto(heights, grid, mesh, maps, GeoFrame.local()).rgba
    monkeypatch.undo()
    return image.astype(int), len(draws)


def test_each_photo_is_drawn_once_and_the_image_stays_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_view = 320 * 240 * 4
    image, draws = orthophoto_and_draws(monkeypatch, 3 * one_view)
    assert draws == 3
    again, draws = orthophoto_and_draws(monkeypatch, 0)  # levelling, then each strip
    assert draws == 9
    some, draws = orthophoto_and_draws(monkeypatch, one_view)
    assert draws == 7
    for other in (again, some):
        assert np.abs(image - other).max() <= 1
    assert (image[..., 3] == 255).mean() > 0.9
