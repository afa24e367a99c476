"""Neighbours cover the frame; depth ranges hold the points."""

from __future__ import annotations

import numpy as np
import pytest

from voxterra.depth.sparse import sparse_depth
from voxterra.depth.stereo.neighbours import _worth, choose_neighbours
from voxterra.testing import look_at


def _prepared(survey):
    views = list(survey.truth.views)
    points = [sparse_depth(survey.component, i, view) for i, view in enumerate(views)]
    return views, points


def test_sparse_depth_is_that_of_the_points_the_photo_sees(survey):
    views, points = _prepared(survey)
    for view, seen, depth in zip(views, points, survey.truth.depths):
        u, v = np.floor(seen.pixels).astype(int).T
        assert np.median(np.abs(depth[v, u] - seen.depths)) < 0.1
        low, high = seen.w_range
        assert low < 1 / seen.depths.max() and 1 / seen.depths.min() < high
        assert view.width == 320


def test_neighbours_are_other_photos_and_see_every_part_of_the_frame(survey):
    views, points = _prepared(survey)
    chosen = choose_neighbours(survey.component, views, points, 3)
    for i, neighbours in enumerate(chosen):
        assert i not in neighbours
        assert len(set(neighbours)) == len(neighbours) == 3
        x, y = np.meshgrid(np.linspace(20, 300, 8), np.linspace(20, 220, 6))
        pixels = np.column_stack([x.ravel(), y.ravel()])
        points = views[i].unproject(pixels, np.full(len(pixels), 12.0))
        covered = np.zeros(len(points), int)
        for j in neighbours:
            p, z = views[j].project(points)
            covered += (z > 0) & (p > 0).all(1) & (p < [320, 240]).all(1)
        possible = np.zeros(len(points), int)
        for j in range(len(views)):
            p, z = views[j].project(points)
            possible += (j != i) & (z > 0) & (p > 0).all(1) & (p < [320, 240]).all(1)
        assert (covered[possible > 0] > 0).mean() > 0.95


def test_a_photo_twice_as_far_is_worth_as_much_only_with_twice_the_focal_length():
    cell, center, focal = np.zeros((1, 3)), np.array([0.0, 0.0, 10.0]), 0.8

    def worth(distance: float, other_focal: float) -> float:
        """Of a photo from 15 degrees aside."""
        at = distance * np.array([np.sin(np.radians(15)), 0.0, np.cos(np.radians(15))])
        view = look_at("b.jpg", tuple(at), (0, 0, 0), focal_px=320 * other_focal)
        return float(_worth(cell, center, focal, view, at, other_focal)[0])

    assert worth(20, 1.6) == pytest.approx(worth(10, 0.8)) and worth(10, 0.8) > 0
    assert worth(20, 0.8) == pytest.approx(0.5 * worth(10, 0.8))
    assert worth(10, 1.6) == pytest.approx(0.5 * worth(10, 0.8))


def test_photos_that_share_no_points_are_not_matched(survey):
    from dataclasses import replace

    c = survey.component
    keep = c.points.track_image < 3  # the other three photos lose their observations
    point_of = np.repeat(np.arange(len(c.points)), np.diff(c.points.track_start))
    counts = np.bincount(point_of[keep], minlength=len(c.points))
    points = replace(
        c.points,
        track_start=np.concatenate([[0], np.cumsum(counts)]),
        track_image=c.points.track_image[keep],
        track_xy=c.points.track_xy[keep],
    )
    views, seen = _prepared(survey)
    chosen = choose_neighbours(replace(c, points=points), views, seen, 5)
    assert all(set(s) <= {0, 1, 2} for s in chosen[:3])
    assert chosen[3:] == [[], [], []]
