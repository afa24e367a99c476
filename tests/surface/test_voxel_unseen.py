"""What photos do not show is taken from a trained surface, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import voxel_shapes
from voxel_models import around_surface, model_of, octants, sphere, tree

pytest.importorskip("torch")

from voxterra.surface.voxels.mesh.extract import extract_mesh
from voxterra.surface.voxels.mesh.unseen import only_measured, only_seen, seen_leaves
from voxterra.surface.voxels.model.render import Voxels, to_device
from voxterra.testing import look_at

RADIUS = 0.7


@pytest.fixture(scope="module")
def ball():
    path, level = tree(around_surface(sphere(RADIUS), octants(5, 6)), edge=4.0)
    model = model_of(sphere(RADIUS), path, level)
    sharp = (16 / 4.0 * 2.0 ** np.arange(17)).astype(np.float32)
    model = replace(model, sharpness=sharp)
    return to_device(model, "cpu"), extract_mesh(model)


def view(x: float, y: float, name: str = "v"):
    return look_at(name, (x, y, 0.0), (0.0, 0.0, 0.0), width=160, height=120, focal_px=200)


def kept(ball: tuple[Voxels, object], views, min_views: int = 2):
    voxels, mesh = ball
    out = only_seen(mesh, voxels.octree, seen_leaves(voxels, views, min_views))
    assert len(out.colors) == len(out.vertices) == len(np.unique(out.faces))
    return out


def test_the_far_side_goes_and_the_near_side_stays_whole(ball):
    both = [view(0.1, -3.0), view(-0.1, -3.0)]
    out, mesh = kept(ball, both), ball[1]
    y = out.vertices[:, 1]
    # The rim as seen from 3 away is at -r^2 / 3; what touches a seen voxel (0.125) stays too.
    assert y.max() < -(RADIUS**2) / 3 + 0.3
    near = mesh.vertices[mesh.faces].mean(1)[:, 1] < -0.25
    near_kept = out.vertices[out.faces].mean(1)[:, 1] < -0.25
    assert near.sum() == near_kept.sum() > 500


def test_as_many_views_must_see_it_as_are_asked_for(ball):
    opposite = [view(0.0, -3.0), view(0.0, 3.0)]
    all_faces = len(ball[1].faces)
    two, one = kept(ball, opposite), kept(ball, opposite, 1)
    assert len(two.faces) < 0.1 * all_faces  # each sees its own cap
    assert 0.8 * all_faces < len(one.faces) < all_faces  # but for a belt between the caps
    assert len(kept(ball, opposite[:1], 2).faces) > 0.3 * all_faces  # there are no more views


def test_views_that_look_elsewhere_see_nothing(ball):
    away = [look_at("a", (0, -3, 0), (0, -6, 0)), look_at("b", (1, -3, 0), (1, -6, 0))]
    voxels, mesh = ball
    assert not seen_leaves(voxels, away).any()
    assert len(only_seen(mesh, voxels.octree, seen_leaves(voxels, away)).faces) == 0


def depth_of(ball, at, missing=None):
    """The exact depth map of a view, unknown to the left of column `missing`."""
    from voxterra.core.depth import DepthMap

    depth = voxel_shapes.traced(at, sphere(RADIUS))
    if missing is not None:
        depth[:, :missing] = 0
    return DepthMap(at, depth, np.zeros((*depth.shape, 3), np.float32), (depth > 0) * np.float32(1))


def test_what_no_depth_map_measured_goes(ball):
    mesh, front = ball[1], view(0.0, -3.0)
    whole = only_measured(mesh, [depth_of(ball, front)])
    half = only_measured(mesh, [depth_of(ball, front, missing=80)])
    assert 0.3 * len(mesh.faces) < len(whole.faces) < 0.5 * len(mesh.faces)
    right = whole.vertices[whole.faces].mean(1)[:, 0] > 0  # x to the right, as the columns
    assert 0 < len(half.faces) == right.sum() < len(whole.faces)
    both = only_measured(mesh, [depth_of(ball, front), depth_of(ball, view(0.0, 3.0))])
    assert len(both.faces) > 1.8 * len(whole.faces)


def test_one_of_many_that_look_is_not_enough(ball):
    mesh, front = ball[1], view(0.0, -3.0)
    known, blind = depth_of(ball, front), depth_of(ball, front, missing=160)
    alone = only_measured(mesh, [known, blind, blind])
    assert len(alone.faces) == len(only_measured(mesh, [known]).faces) > 0  # only three look
    assert len(only_measured(mesh, [known, blind, blind, blind]).faces) == 0
    two = only_measured(mesh, [known, known, blind, blind])
    assert len(two.faces) == len(alone.faces)
    assert len(only_measured(mesh, [known, blind, blind, blind], 1).faces) == len(alone.faces)


def test_a_surface_that_has_moved_off_was_not_measured(ball):
    mesh = ball[1]
    moved = replace(mesh, vertices=mesh.vertices * np.float32(1.2))
    assert len(only_measured(moved, [depth_of(ball, view(0.0, -3.0))]).faces) < 0.02 * len(
        mesh.faces
    )
    assert len(only_measured(mesh, []).faces) == 0
