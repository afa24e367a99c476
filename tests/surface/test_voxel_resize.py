"""Depth maps at another size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from voxterra.core.depth import DepthMap
from voxterra.surface.voxels.scene.resize import resized_prior, shrink_prior
from voxterra.testing import look_at

VIEW = look_at("a", (0, 0, 0), (0, 0, 1), width=96, height=64, focal_px=90)
SLOPE = np.array([0.6, -0.4, -0.69])  # in the camera's frame


def of_plane(view, normal=SLOPE) -> DepthMap:
    """Exact depth of a tilted plane at a distance of 2 along the axis."""
    v, u = np.mgrid[: view.height, : view.width] + 0.5
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(view.K).T
    depth = (2.0 * normal[2] / (rays @ normal)).astype(np.float32)
    normals = np.broadcast_to(normal / np.linalg.norm(normal), (*depth.shape, 3))
    return DepthMap(view, depth, normals.astype(np.float32), np.ones_like(depth))


@pytest.mark.parametrize("size", [(48, 32), (24, 16), (32, 21), (70, 50), (120, 90)])
def test_a_slope_stays_where_it_is(size):
    found = resized_prior(of_plane(VIEW), *size)
    assert (found.view.width, found.view.height) == size == found.depth.shape[::-1]
    np.testing.assert_allclose(found.depth, of_plane(VIEW.resized(*size)).depth, rtol=1e-5)


def test_unknown_depths_and_edges_do_not_blend():
    prior = of_plane(VIEW)
    depth, normal = prior.depth.copy(), prior.normal.copy()
    depth[:, 48:] = 9.0  # behind an edge, seen head-on
    normal[:, 48:] = (0, 0, -1)
    depth[:8], normal[:8] = 0, 0
    normal[40:, 48:] = (1, 0, 0)  # seen from its side: not believed far
    found = resized_prior(replace(prior, depth=depth, normal=normal), 48, 32)
    assert (found.depth[:4] == 0).all() and (found.depth[4:20, 24:] == 9.0).all()
    np.testing.assert_allclose(found.depth[20:, 24:], 9.0, rtol=0.05)
    assert found.depth[4:, :24].max() < 8


def test_depth_maps_are_not_enlarged():
    prior = of_plane(VIEW)
    assert shrink_prior(prior, VIEW.resized(200, 100)) is prior
    assert shrink_prior(prior, VIEW.resized(48, 32)).depth.shape == (32, 48)
