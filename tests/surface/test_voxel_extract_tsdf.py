"""Fusing what a renderer draws."""

import numpy as np
import pytest

from voxterra.errors import ReconstructionError
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.fusion.statistics import depth_statistics
from voxterra.surface.voxels.mesh.extract import extract_tsdf
from voxterra.surface.voxels.model.depth_maps import RenderedDepthMaps, RenderedView


@pytest.fixture
def drawn(scenes):
    """A renderer of a sphere of radius 1, and its views; normals not normalised."""
    maps = scenes.render(scenes.sphere(1.0), scenes.around(4.0, count=16, size=96))
    index = {view.name: i for i, view in enumerate(maps.views)}
    calls = []

    def render(view):
        i = index[view.name]
        calls.append(i)
        m = maps.load(i)
        return RenderedView(m.depth, 0.7 * m.normal, maps.load_color(i), m.confidence)

    return maps.views, render, calls


def test_the_fused_sphere(drawn):
    views, render, _ = drawn
    mesh = extract_tsdf(RenderedDepthMaps(views, render), FusionConfig(voxel_size_m=0.06))
    error = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1)
    assert error.mean() < 0.01 and np.quantile(error, 0.99) < 0.04
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert ((np.cross(b - a, c - a) * a).sum(1) > 0).mean() > 0.99
    # The colour of the scene is 128 + 60 * position.
    assert np.abs(mesh.colors - (128 + 60 * mesh.vertices)).mean() < 3


def test_a_view_is_drawn_once_for_depth_and_colour(drawn):
    views, render, calls = drawn
    maps = RenderedDepthMaps(views, render)
    maps.load(3), maps.load_color(3), maps.load_mask(3)
    assert calls == [3]
    maps.load(4), maps.load(3)
    assert calls == [3, 4, 3]


def test_uncertain_depths_are_left_out(drawn):
    views, render, _ = drawn
    seen = render(views[0])
    half = np.arange(96) < 48

    def fading(view):
        return RenderedView(
            seen.depth, seen.normal, seen.color, seen.confidence * (0.2 + 0.6 * half)
        )

    loaded = RenderedDepthMaps(views, fading).load(0)
    assert (loaded.depth[:, 48:] == 0).all() and (loaded.depth[:, :48] > 0).any()
    np.testing.assert_allclose(
        np.linalg.norm(loaded.normal, axis=2)[loaded.depth > 0], 1, rtol=1e-5
    )
    assert (loaded.confidence[loaded.depth == 0] == 0).all()


def test_nothing_drawn_is_an_error(drawn):
    views, render, _ = drawn
    with pytest.raises(ReconstructionError):
        extract_tsdf(RenderedDepthMaps(views, render, min_confidence=2.0))


def test_cells_are_as_fine_as_pixels_on_what_lies_in_the_bound(scenes):
    maps = scenes.render(scenes.sphere(1.0), scenes.around(4.0, count=16, size=96))
    index = {view.name: i for i, view in enumerate(maps.views)}

    def render(view):
        m = maps.load(index[view.name])
        depth = np.where(m.depth > 0, m.depth, 900.0).astype(np.float32)  # a sky behind all
        return RenderedView(depth, m.normal, maps.load_color(index[view.name]), np.ones_like(depth))

    drawn = RenderedDepthMaps(maps.views, render)
    box = (-1.5, -1.5, -1.5, 1.5, 1.5, 1.5)
    pixel = 3.3 / maps.views[0].K[0, 0]
    assert depth_statistics(drawn, box).footprint == pytest.approx(pixel, rel=0.1)
    assert depth_statistics(drawn).footprint > 100 * pixel
    elsewhere = (50.0, 50.0, 50.0, 51.0, 51.0, 51.0)  # nothing there: as without
    assert depth_statistics(drawn, elsewhere) == depth_statistics(drawn)
    mesh = extract_tsdf(drawn, FusionConfig(bounds_m=box))
    error = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1)
    assert len(mesh.faces) > 5000 and np.median(error) < pixel
