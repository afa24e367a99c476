"""A last look at a scene before it is trained on: nothing that is no number gets any further."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from voxterra.errors import InputError, TooFewPhotosError
from voxterra.surface.voxels.scene.scene import (
    Scene,
    ScenePoints,
    SceneView,
    checked_prior,
    count_photos,
)

logger = logging.getLogger(__name__)


def usable_scene(scene: Scene) -> Scene:
    """The scene without what cannot be used, with a warning for what was left out.

    Depths, normals and confidences that are no number become unknown; so do negative depths.
    Sparse points without a place are dropped.

    Raises:
        TooFewPhotosError: fewer than two views to train on.
        InputError: a camera that is no camera, a photo or mask of another size than its camera's,
            or a depth map without any number.
    """
    if count_photos(scene.training) < 2:
        raise TooFewPhotosError(
            "Training needs at least two photos.",
            where=scene.source or None,
            next_step="Add photos, or hold fewer out (--test_every).",
        )
    views = tuple(_usable(view) for view in scene.views)
    return replace(scene, views=views, points=_usable_points(scene.points))


def _usable(view: SceneView) -> SceneView:
    camera, name = view.view, view.view.name
    if not (np.isfinite(camera.K).all() and np.isfinite(camera.cam_from_world).all()):
        raise InputError(
            "The camera's pose or focal length is no number.",
            where=name,
            next_step="Do structure from motion again, or leave this photo out.",
        )
    size = (camera.height, camera.width)
    for what, image in (("photo", view.rgb), ("mask", view.mask), ("mask", view.ignored)):
        if image is not None and image.shape[:2] != size:
            raise InputError(
                f"The {what} is {image.shape[1]} x {image.shape[0]} pixels, its camera "
                f"{size[1]} x {size[0]}.",
                where=name,
                next_step="Give photos and masks of the size that the cameras were found with.",
            )
    if view.prior is None:
        return view
    prior = checked_prior(view.prior)
    below = prior.depth < 0
    if below.any():
        prior = replace(prior, depth=np.where(below, np.float32(0), prior.depth))
        logger.warning(
            "depth map of %s: %d of %d depths are negative; they are taken as unknown",
            name, np.count_nonzero(below), below.size,
        )  # fmt: skip
    return replace(view, prior=prior)


def _usable_points(points: ScenePoints | None) -> ScenePoints | None:
    if points is None or not len(points):
        return None
    good = np.asarray(np.isfinite(points.positions).all(axis=1))
    if good.all():
        return points
    logger.warning("%d of %d sparse points are at no place; left out", (~good).sum(), len(good))
    if not good.any():
        return None
    seen, new = good[points.point], np.cumsum(good) - 1
    before = np.concatenate([[0], np.cumsum(seen)])
    colors = None if points.colors is None else points.colors[good]
    return ScenePoints(
        points.positions[good],
        before[points.view_start].astype(np.int64),
        new[points.point[seen]].astype(np.int64),
        colors,
    )
