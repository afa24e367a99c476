"""What sparse voxels are trained on: undistorted images with what is known of them.

Without torch, so that loaders and tests need none. Colours stay uint8: a scene of 300 photos of
two megapixels takes 1.8 GB like that and 7.2 GB as float32.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import InputError, TooFewPhotosError, UsageError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.scene.resize import shrink, shrink_prior, training_size

logger = logging.getLogger(__name__)

_FRINGE = 2
"""Pixels around what is ignored that are too: resampling has mixed its colours into them."""

Float = NDArray[np.float64]
WorldBox = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class SceneView:
    """One image.

    Attributes:
        view: pinhole view at the image's size.
        rgb: (H, W, 3) uint8, undistorted.
        mask: (H, W) uint8, 255 = object, 0 = no part of the scene; between at the edge. None: the
            whole image shows the scene.
        prior: depth map of a size of its own, or None.
        held_out: not for training, but for measuring what the model is good for.
        cut_from: name of the panorama that this is a face of; "" for a photo of its own.
        ignored: (H, W) bool, what is looked away from: nothing is compared there. None: nothing.
    """

    view: PinholeView
    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None
    prior: DepthMap | None = None
    held_out: bool = False
    cut_from: str = ""
    ignored: NDArray[np.bool_] | None = None

    @property
    def counts(self) -> NDArray[np.bool_] | None:
        """(H, W) where the view shows the scene: neither ignored nor beside the object. None:
        everywhere.
        """
        if self.ignored is not None:
            return ~self.ignored
        return None if self.mask is None else self.mask > 127

    @property
    def photo(self) -> str:
        """Name of the photo that this is, or is a part of."""
        return self.cut_from or self.view.name


@dataclass(frozen=True)
class ScenePoints:
    """Sparse points of structure from motion, and which view saw which.

    Attributes:
        positions: (P, 3) float64 in world.
        view_start: (V + 1,) int64, V the number of views of the scene; view v saw the points
            `point[view_start[v]:view_start[v + 1]]`.
        point: (O,) int64 index into `positions`, each point once a view.
        colors: (P, 3) uint8 RGB, or None.
    """

    positions: Float
    view_start: NDArray[np.int64]
    point: NDArray[np.int64]
    colors: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def seen_by(self, view: int) -> NDArray[np.int64]:
        """Indices of the points that view number `view` saw."""
        return self.point[self.view_start[view] : self.view_start[view + 1]]

    def of_views(self, seen: Sequence[NDArray[np.int64]]) -> ScenePoints:
        """The same points for other views, which saw the points of these indices."""
        start = np.concatenate([[0], np.cumsum([len(some) for some in seen])]).astype(np.int64)
        return replace(self, view_start=start, point=np.concatenate(seen))


@dataclass(frozen=True)
class Scene:
    """All images of a scene.

    Attributes:
        views: training views and those held out, in the order of the source (mostly of names).
        points: sparse points, or None.
        world_box: (x_min, y_min, z_min, x_max, y_max, z_max) of what is of interest, where the
            source says; in world.
        source: where it came from, for messages and for the model's metadata.
        warnings: what is wrong with the input, though it can be used.
    """

    views: tuple[SceneView, ...]
    points: ScenePoints | None = None
    world_box: WorldBox | None = None
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def training(self) -> tuple[SceneView, ...]:
        return tuple(view for view in self.views if not view.held_out)

    @property
    def held_out(self) -> tuple[SceneView, ...]:
        return tuple(view for view in self.views if view.held_out)


def scene_from_depth_maps(
    maps: DepthMaps,
    config: VoxelConfig = VoxelConfig(),
    *,
    points: ScenePoints | None = None,
    source: str = "",
    progress: Progress = no_progress,
) -> Scene:
    """Images, masks and depth maps of the depth stage; the depth maps become priors.

    Args:
        maps: all of them are loaded, at the size that `config` says.
        config: what counts here is `res_downscale`, `res_width`, `eval`, `test_every` and
            `mask_mode`.
        points: sparse points of the same views, in the same order.
        source: for messages.
        progress: called after every view.

    Raises:
        TooFewPhotosError: fewer than two views to train on.
        InputError: a depth map holds nothing but what is no number.
        FormatError: a file of the depth maps is missing or damaged.
        UsageError: sizes or shares of images that cannot be.
    """
    views = []
    for index, full in enumerate(maps.views):
        width, height = training_size(full.width, full.height, config)
        view = full.resized(width, height)
        prior = checked_prior(maps.load(index).measured())
        loaded = maps.load_mask(index)
        mask = None if loaded is None else np.where(loaded, 255, 0).astype(np.uint8)
        rgb = shrink(np.ascontiguousarray(maps.load_color(index)), width, height)
        if mask is not None:
            mask = shrink(mask, width, height)
        views.append(masked_view(SceneView(view, rgb, mask, shrink_prior(prior, view)), config))
        progress((index + 1) / len(maps.views), f"{index + 1}/{len(maps.views)} views")
    return finished_scene(Scene(tuple(views), points, None, source), config)


def masked_view(view: SceneView, config: VoxelConfig) -> SceneView:
    """The view with its mask as what is ignored, where `mask_mode` has it so."""
    mode = config.mask_mode
    if mode == "auto":  # a camera that looks all around has no object, but what carries it
        mode = "ignore" if view.cut_from else "object"
    if view.mask is None or mode == "object":
        return view
    ignored = ndimage.maximum_filter(view.mask < 128, size=2 * _FRINGE + 1)
    return replace(view, mask=None, ignored=ignored if ignored.any() else None)


def finished_scene(scene: Scene, config: VoxelConfig) -> Scene:
    """The scene with images held out, its masks checked, and warnings for what is odd; without
    views of which all is ignored.

    Images that are held out already stay the only ones; with `config.eval` off none is.

    Raises:
        TooFewPhotosError: fewer than two views to train on.
        InputError: no mask holds anything.
        UsageError: `test_every` leaves nothing to train on.
    """
    views = _hold_out(scene.views, config)
    masked = [view for view in views if view.mask is not None]
    empty = [view for view in masked if view.mask is not None and not view.mask.any()]
    if masked and len(empty) == len(masked):
        raise InputError(
            f"The masks of all {len(masked)} images are empty: nothing is to be modelled.",
            where=scene.source or masked[0].view.name,
            next_step="Masks are white where the object is; invert them, or take them away.",
        )
    gone = [view.ignored is not None and bool(view.ignored.all()) for view in views]
    if views and all(gone):
        raise InputError(
            f"The masks of all {len(views)} images are black: all of them is ignored.",
            where=scene.source or views[0].view.name,
            next_step="Masks are white where the photo counts; invert them, or take them away.",
        )
    warnings = [
        f"the mask of {view.view.name} is empty: all of the photo counts as background, and "
        "nothing of the first surface comes from it; mend the mask, or take the photo away"
        for view in empty
        if not view.cut_from
    ]
    left = [view for view, left_out in zip(views, gone) if not left_out]
    ignored = dict.fromkeys(view.photo for view in views)
    for view in left:
        ignored.pop(view.photo, None)
    warnings += [f"the mask of {name} is all black: the photo is left out" for name in ignored]
    warnings += _of_black(left)
    training = count_photos([view for view in left if not view.held_out])
    if training < 2:
        count = {0: "no view", 1: "one view"}[training]
        raise TooFewPhotosError(
            f"A surface needs 2 or more views to train on, here there is {count}.",
            where=scene.source or None,
            next_step="Give more photos that overlap, or hold fewer out (--test_every, --eval).",
        )
    points = scene.points
    if points is not None and any(gone):
        kept = [index for index, left_out in enumerate(gone) if not left_out]
        points = points.of_views([points.seen_by(index) for index in kept])
    return replace(scene, views=tuple(left), points=points, warnings=(*scene.warnings, *warnings))


def count_photos(views: Sequence[SceneView]) -> int:
    """Number of photos that the views are of: the faces of a panorama are one."""
    faces = [view.cut_from for view in views if view.cut_from]
    return len(views) - len(faces) + len(set(faces))


def _of_black(views: Sequence[SceneView]) -> list[str]:
    """Warnings of what is black; one for all faces, since a tripod is in every panorama."""
    warnings = []
    for view in views:
        if _is_black(view) and not view.cut_from:
            what = "scored" if view.held_out else "trained on"
            warnings.append(
                f"{view.view.name} is black: it is {what} as it is; take it away unless the scene "
                "is as dark there"
            )
    faces = [view for view in views if view.cut_from]
    black = [view.view.name for view in faces if _is_black(view)]
    if black:
        warnings.append(
            f"black faces of panoramas: {len(black)} of {len(faces)} ({black[0]} first); they "
            "become a black surface, so mask them (masks/, black = look away) unless the scene is "
            "as dark there"
        )
    return warnings


def _hold_out(views: tuple[SceneView, ...], config: VoxelConfig) -> tuple[SceneView, ...]:
    if not config.eval:
        return tuple(replace(view, held_out=False) for view in views)
    if any(view.held_out for view in views):
        return views
    if config.test_every < 2:
        raise UsageError(
            f"With --test_every {config.test_every} nothing is left to train on.",
            where="--test_every",
            next_step="Give 2 or more: 8 holds every eighth image out.",
        )
    # The faces of a panorama go together: what one shows, the next one's edge gives away.
    photos = [view.photo for view in views]
    number = {photo: index for index, photo in enumerate(dict.fromkeys(photos))}
    return tuple(
        replace(view, held_out=number[photo] % config.test_every == 0)
        for photo, view in zip(photos, views)
    )


def _is_black(view: SceneView) -> bool:
    """Whether a photo shows nothing: a lens cap, a broken file; JPEG makes black up to 8."""
    if view.mask is not None and not view.mask.any():
        return False  # has its own warning
    shown = view.rgb if view.counts is None else view.rgb[view.counts]
    return int(shown.max(initial=0)) <= 8


def checked_prior(depth_map: DepthMap) -> DepthMap:
    """The depth map with what is no number as unknown (0), so that no NaN reaches a loss, and a
    warning that says how much of it that is.

    Raises:
        InputError: no value is a number; such a file is broken, not merely empty.
    """
    good = np.isfinite(depth_map.depth) & np.isfinite(depth_map.confidence)
    good &= np.isfinite(depth_map.normal).all(axis=2)
    if good.all():
        return depth_map
    if not good.any():
        raise InputError(
            "No value of this depth map is a number.",
            where=depth_map.view.name,
            next_step="Do the depth step again: voxterra depth RUN.",
        )
    logger.warning(
        "depth map of %s: %d of %d depths are, or their normals or confidences, no numbers; they "
        "are taken as unknown",
        depth_map.view.name, np.count_nonzero(~good), good.size,
    )  # fmt: skip
    return replace(
        depth_map,
        depth=np.where(good, depth_map.depth, np.float32(0)),
        normal=np.where(good[..., None], depth_map.normal, np.float32(0)),
        confidence=np.where(good, depth_map.confidence, np.float32(0)),
    )


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
