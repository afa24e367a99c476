"""Source photos cover the frame; depth ranges hold the points."""

from __future__ import annotations

import numpy as np

from voxterra.depth.stereo.neighbours import choose_sources, sparse_prior


def _prepared(survey):
    views = list(survey.truth.views)
    priors = [sparse_prior(survey.component, i, view) for i, view in enumerate(views)]
    return views, priors


def test_prior_is_the_depth_of_the_points_the_photo_sees(survey):
    views, priors = _prepared(survey)
    for view, prior, depth in zip(views, priors, survey.truth.depths):
        u, v = np.floor(prior.pixels).astype(int).T
        assert np.median(np.abs(depth[v, u] - prior.depths)) < 0.1
        low, high = prior.w_range
        assert low < 1 / prior.depths.max() and 1 / prior.depths.min() < high
        assert view.width == 320


def test_sources_are_other_photos_and_see_every_part_of_the_frame(survey):
    views, priors = _prepared(survey)
    chosen = choose_sources(survey.component, views, priors, 3)
    for i, sources in enumerate(chosen):
        assert i not in sources
        assert len(set(sources)) == len(sources) == 3
        x, y = np.meshgrid(np.linspace(20, 300, 8), np.linspace(20, 220, 6))
        pixels = np.column_stack([x.ravel(), y.ravel()])
        points = views[i].unproject(pixels, np.full(len(pixels), 12.0))
        covered = np.zeros(len(points), int)
        for j in sources:
            p, z = views[j].project(points)
            covered += (z > 0) & (p > 0).all(1) & (p < [320, 240]).all(1)
        possible = np.zeros(len(points), int)
        for j in range(len(views)):
            p, z = views[j].project(points)
            possible += (j != i) & (z > 0) & (p > 0).all(1) & (p < [320, 240]).all(1)
        assert (covered[possible > 0] > 0).mean() > 0.95


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
    views, priors = _prepared(survey)
    chosen = choose_sources(replace(c, points=points), views, priors, 5)
    assert all(set(s) <= {0, 1, 2} for s in chosen[:3])
    assert chosen[3:] == [[], [], []]
