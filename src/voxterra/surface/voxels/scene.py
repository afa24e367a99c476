"""What sparse voxels are trained on: undistorted images with what is known of them.

numpy only, so that loaders and tests need no torch. Colours stay uint8: a scene of 300 photos of
two megapixels takes 1.8 GB like that and 7.2 GB as float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import InputError

Float = NDArray[np.float64]
WorldBox = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class SceneView:
    """One image.

    Attributes:
        view: pinhole view at the image's size.
        rgb: (H, W, 3) uint8, undistorted.
        mask: (H, W) uint8, 255 = object, 0 = no part of the scene; between at the edge. None: the
            whole image counts.
        prior: depth map of a size of its own, or None.
        held_out: not for training, but for measuring what the model is good for.
    """

    view: PinholeView
    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None
    prior: DepthMap | None = None
    held_out: bool = False


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


@dataclass(frozen=True)
class Scene:
    """All images of a scene.

    Attributes:
        views: training views and those held out, in the order of their names.
        points: sparse points, or None.
        world_box: (x_min, y_min, z_min, x_max, y_max, z_max) of what is of interest, where the
            source tells; in world.
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
    *,
    points: ScenePoints | None = None,
    source: str = "",
    progress: Progress = no_progress,
) -> Scene:
    """Images, masks and depth maps of the depth stage; the depth maps become priors.

    Args:
        maps: all of them are loaded.
        points: sparse points of the same views, in the same order.
        source: told with errors.
        progress: told after every view.

    Raises:
        InputError: fewer than two views, or a depth map holds values that are no depths.
        FormatError: a file of the depth maps is missing or damaged.
    """
    if len(maps.views) < 2:
        raise InputError(
            f"A surface needs 2 or more views, here there {_are(len(maps.views))}.",
            where=source or None,
            next_step="Give photos that overlap, and do the steps sfm and depth again.",
        )
    views = []
    for index, view in enumerate(maps.views):
        mask = maps.load_mask(index)
        views.append(
            SceneView(
                view,
                np.ascontiguousarray(maps.load_color(index)),
                None if mask is None else np.where(mask, 255, 0).astype(np.uint8),
                checked_prior(maps.load(index)),
            )
        )
        progress((index + 1) / len(maps.views), f"{index + 1}/{len(maps.views)} views")
    return Scene(tuple(views), points, None, source)


def checked_prior(depth_map: DepthMap) -> DepthMap:
    """The depth map with what is no depth told as unknown (0), so that no NaN reaches a loss.

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
    return replace(
        depth_map,
        depth=np.where(good, depth_map.depth, np.float32(0)),
        normal=np.where(good[..., None], depth_map.normal, np.float32(0)),
        confidence=np.where(good, depth_map.confidence, np.float32(0)),
    )


def _are(count: int) -> str:
    return "are none" if count == 0 else "is one"
