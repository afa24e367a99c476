"""The main bound: the cube in which the surface is looked for at full detail."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.errors import UsageError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.scene.scene import Scene, SceneView
from voxterra.surface.voxels.start.from_depth import known_depth
from voxterra.surface.voxels.start.from_masks import hull_nodes

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]

_MARGIN = 1.1
"""The bound is this much larger than what it must hold."""
_QUANTILES = (0.01, 0.99)
_QUANTILES_MASKED = (0.003, 0.997)
"""Masks leave out what is around an object: its farthest corners, seen by few, belong to it."""
_FORWARD = 0.85
"""Length of the mean viewing direction from which on all cameras look the same way."""
_HULL_CELLS = 80
_HULL_SEEN = 0.6
"""Part of the masked photos that see the object: close to the cameras masks leave much over."""
_PER_SCENE = 200_000
_PER_VIEW = 4_000
"""Samples that the bound is found with, at most."""
_OBJECT = 0.5
"""Part of the views that have a point in their image, for it to be of what they all look at."""
_NEXT = "Leave out --bound and --bound_mode, or choose --bound_mode pcd."


@dataclass(frozen=True)
class Rig:
    """How the cameras stand.

    Attributes:
        centers, forwards: (V, 3) in world.
        focus: (3,) the point nearest to all optical axes.
        converges: the axes meet there, in front of the cameras.
    """

    centers: Float
    forwards: Float
    focus: Float
    converges: bool

    @property
    def looks_one_way(self) -> bool:
        return float(np.linalg.norm(self.forwards.mean(axis=0))) > _FORWARD


def main_bound(scene: Scene, config: VoxelConfig) -> Cube:
    """The main bound of a scene.

    A box that the user or the data gives is taken. `default` else is the robust box of what the
    training views see: their depth maps, or the sparse points, or the object in their masks;
    without any of these `camera_median` where cameras stand around something, and `forward` where
    all look the same way. `pcd` is the robust box of the sparse points (of the depth maps without
    them). `camera_median` and `camera_max` reach around the cameras' centroid as far as their
    median and largest distance from it; `forward` is what all cameras look at.

    Raises:
        UsageError: the bound is no box, misses the scene, or the mode has nothing to go by.
    """
    _check_numbers(config)
    views = [view.view for view in scene.training]
    rig = _rig(views, scene)
    depths, points = seen_samples(scene, converges=rig.converges)
    box = config.bound
    if box is None and config.bound_mode == "default":
        box = scene.world_box
    where = "--bound" if config.bound is not None else f"--bound_mode {config.bound_mode}"
    if box is not None:
        low, high = _box(box, where)
    elif config.bound_mode == "default":
        low, high = _default(scene, rig, depths, points, where)
    elif config.bound_mode == "pcd":
        low, high = _of_points(points if len(points) else depths, where)
    elif config.bound_mode == "forward":
        low, high = _forward(rig, views, depths if len(depths) else points, where)
    else:
        low, high = _around_cameras(rig, config.bound_mode == "camera_max", where)
    center = (low + high) / 2
    edge = float((high - low).max()) * config.bound_scale
    cube = Cube((center[0], center[1], center[2]), edge, config.outside_level)
    _check_holds(cube, views, depths if len(depths) else points, where)
    logger.info("main bound: cube of %.4g around (%.4g, %.4g, %.4g)", edge, *center)
    return cube


def _check_numbers(config: VoxelConfig) -> None:
    if not (np.isfinite(config.bound_scale) and config.bound_scale > 0):
        raise UsageError(
            f"The scale of the bound must be positive, not {config.bound_scale}.",
            where="--bound_scale",
            next_step="1 leaves the bound as it is, 2 makes it twice as wide.",
        )
    if not 0 <= config.outside_level <= 12:
        raise UsageError(
            f"The levels outside of the bound must be 0 to 12, not {config.outside_level}.",
            where="--outside_level",
            next_step="5 suits most scenes; 0 leaves out everything outside of the bound.",
        )


def _rig(views: Sequence[PinholeView], scene: Scene) -> Rig:
    if not views:
        raise UsageError(
            "All photos are held out; none is left to train on.",
            where=scene.source or None,
            next_step="Hold fewer photos out (a larger --test_every).",
        )
    centers = np.array([view.center_in_world for view in views])
    forwards = np.array([view.cam_from_world[2, :3] for view in views])
    # Least squares of the distances to the axes: sum (I - d d^T) (x - c) = 0.
    across = np.eye(3) - forwards[:, :, None] * forwards[:, None, :]
    normal = across.mean(axis=0)
    right = np.einsum("nij,nj->i", across, centers) / len(views)
    focus = np.linalg.lstsq(normal, right, rcond=None)[0]
    offset = focus - centers
    ahead = np.einsum("ni,ni->n", offset, forwards)
    miss = np.linalg.norm(np.einsum("nij,nj->ni", across, offset), axis=1)
    converges = (
        len(views) > 2
        and float(np.linalg.eigvalsh(normal)[0]) > 0.02
        and float((ahead > 0).mean()) > 0.9
        and float(np.median(miss)) < 0.25 * float(np.median(np.abs(ahead)))
    )
    return Rig(centers, forwards, focus, converges)


def _box(values: Sequence[float], where: str) -> tuple[Float, Float]:
    box = np.asarray(values, np.float64).ravel()
    if box.size != 6 or not np.isfinite(box).all() or (box[:3] >= box[3:]).any():
        raise UsageError(
            f"This is no box: {' '.join(f'{v:g}' for v in box)}.",
            where=where,
            next_step="Give x_min y_min z_min x_max y_max z_max, each maximum above its minimum.",
        )
    return box[:3], box[3:]


def _default(
    scene: Scene, rig: Rig, depths: Float, points: Float, where: str
) -> tuple[Float, Float]:
    masked = all(view.mask is not None for view in scene.training)
    for samples in (depths, points):
        if len(samples) >= 30:
            return _of_points(samples, where, _QUANTILES_MASKED if masked else _QUANTILES)
    hull = _of_masks(scene, rig)
    if hull is not None:
        return hull
    if rig.looks_one_way:
        return _forward(rig, [v.view for v in scene.training], depths, where)
    if not rig.converges:
        return _around_cameras(rig, False, where)
    radius = float(np.median(np.linalg.norm(rig.centers - rig.focus, axis=1)))
    return rig.focus - radius, rig.focus + radius


def _of_points(
    samples: Float, where: str, quantiles: tuple[float, float] = _QUANTILES
) -> tuple[Float, Float]:
    """Robust box of points, with a margin."""
    if len(samples) < 2:
        raise UsageError(
            "There are no sparse points and no depths to take the bound from.",
            where=where,
            next_step="Train with --stereo, which finds both, choose --bound_mode camera_median "
            "or forward, or give --bound.",
        )
    low, high = np.quantile(samples, quantiles, axis=0)
    center, half = (low + high) / 2, _MARGIN * (high - low) / 2
    half = np.maximum(half, 1e-6 * max(1.0, float(np.abs(center).max())))
    return center - half, center + half


def _of_masks(scene: Scene, rig: Rig) -> tuple[Float, Float] | None:
    """Box of the visual hull of the masks; None where they make none."""
    masked = [view for view in scene.training if view.mask is not None]
    if len(masked) < 2:
        return None
    center = rig.focus if rig.converges else rig.centers.mean(axis=0)
    distance = float(np.median(np.linalg.norm(rig.centers - center, axis=1)))
    if distance <= 0:
        return None
    low, high = center - distance, center + distance
    for _ in range(2):
        center, edge = (low + high) / 2, float((high - low).max())
        inside = hull_nodes(masked, center.tolist(), edge, _HULL_CELLS, seen=_HULL_SEEN)
        if not inside.any() or inside.all():
            return None
        nodes = np.argwhere(inside)
        cell = edge / _HULL_CELLS
        corner = center - edge / 2
        low = corner + cell * (nodes.min(axis=0) - 1)
        high = corner + cell * (nodes.max(axis=0) + 1)
    center, half = (low + high) / 2, _MARGIN * (high - low) / 2
    return center - half, center + half


def _around_cameras(rig: Rig, farthest: bool, where: str) -> tuple[Float, Float]:
    center = rig.centers.mean(axis=0)
    away = np.linalg.norm(rig.centers - center, axis=1)
    radius = float(away.max() if farthest else np.median(away))
    _check_spread(radius, rig.centers, where)
    return center - radius, center + radius


def _forward(
    rig: Rig, views: Sequence[PinholeView], samples: Float, where: str
) -> tuple[Float, Float]:
    """A cube that fills the views at the depth of what they see.

    Without anything known of the depth it is where the axes meet, or else five times as far away
    as the cameras are spread.
    """
    center, forward = rig.centers.mean(axis=0), rig.forwards.mean(axis=0)
    length = float(np.linalg.norm(forward))
    if length < 0.5:
        raise UsageError(
            "The cameras do not look the same way.",
            where=where,
            next_step="Choose --bound_mode default, which finds out what they look at.",
        )
    forward /= length
    ahead = (samples - center) @ forward
    if (ahead > 0).sum() >= 30:
        depth = float(np.median(ahead[ahead > 0]))
    elif rig.converges:
        depth = float((rig.focus - center) @ forward)
    else:
        depth = 5.0 * float(np.linalg.norm(rig.centers - center, axis=1).max())
    _check_spread(depth, rig.centers, where)
    wide = [max(v.width / v.K[0, 0], v.height / v.K[1, 1]) for v in views]
    half = depth * float(np.median(wide)) / 2 * _MARGIN
    middle = center + depth * forward
    return middle - half, middle + half


def _check_spread(size: float, centers: Float, where: str) -> None:
    if not size > 1e-12 * float(np.abs(centers).max()):  # rounding parts cameras at one place
        raise UsageError(
            "All cameras stand at one place, which says nothing of how large the scene is.",
            where=where,
            next_step="Give --bound x_min y_min z_min x_max y_max z_max.",
        )


def _check_holds(cube: Cube, views: Sequence[PinholeView], samples: Float, where: str) -> None:
    """Raise unless some view sees the bound, and something known lies in it."""
    half = cube.inside_edge / 2
    center = np.array(cube.center)
    step = np.linspace(-half, half, 9)
    nodes = np.stack(np.meshgrid(step, step, step, indexing="ij"), axis=-1).reshape(-1, 3) + center
    size = f"a cube of {cube.inside_edge:.4g} around ({', '.join(f'{c:.4g}' for c in center)})"
    if not any(_sees(view, nodes) for view in views):
        raise UsageError(f"No photo sees the bound, {size}.", where=where, next_step=_NEXT)
    if len(samples) and not (np.abs(samples - center) < half).all(axis=1).any():
        low, high = np.quantile(samples, _QUANTILES, axis=0)
        holds = " ".join(f"{v:.4g}" for v in (*low, *high))
        raise UsageError(
            f"Nothing that the photos see lies in the bound, {size}; the scene is at {holds}.",
            where=where,
            next_step=_NEXT,
        )


def _sees(view: PinholeView, nodes: Float) -> bool:
    pixels, depth = view.project(nodes)
    inside = (pixels >= 0).all(axis=1) & (pixels < [view.width, view.height]).all(axis=1)
    if bool((inside & (depth > 0)).any()):
        return True
    # A bound smaller than the spacing of the nodes in the image, or around the camera.
    low, high = nodes.min(axis=0), nodes.max(axis=0)
    center = view.center_in_world
    return bool(((center >= low) & (center <= high)).all())


def seen_samples(scene: Scene, *, converges: bool) -> tuple[Float, Float]:
    """(N, 3) points of the depth maps and (P, 3) sparse points that matter, in world.

    Where the cameras look at one thing (`converges`) and no masks show what that is, those are the
    points that most of them have in their image; else those that more than one has. Points beside
    the masks do not matter.

    Raises:
        InputError: a depth map holds negative depths.
    """
    views = scene.training
    per_view = min(_PER_VIEW, max(200, _PER_SCENE // max(1, len(views))))
    parts = [_depth_samples(view, per_view) for view in views if view.prior is not None]
    depths = np.concatenate(parts) if parts else np.zeros((0, 3))
    points = np.zeros((0, 3)) if scene.points is None else scene.points.positions
    points = points[np.isfinite(points).all(axis=1)]
    points = points[:: max(1, len(points) // _PER_SCENE)]
    return (
        _that_matter(depths, views, converges),
        _that_matter(np.asarray(points, np.float64), views, converges),
    )


def _depth_samples(view: SceneView, count: int) -> Float:
    """World points of known depths of one view that are not beside its mask."""
    prior = view.prior
    assert prior is not None
    depth = known_depth(view.view.name, prior)
    step = max(1, int(np.sqrt(depth.size / count)))
    rows, columns = np.nonzero(depth[step // 2 :: step, step // 2 :: step])
    rows, columns = rows * step + step // 2, columns * step + step // 2
    pixels = np.column_stack([columns, rows]).astype(np.float64) + 0.5
    if view.mask is not None:
        scale = np.array(view.mask.shape[::-1]) / np.array(depth.shape[::-1])
        at = (pixels * scale).astype(int)
        kept = view.mask[at[:, 1], at[:, 0]] > 127
        rows, columns, pixels = rows[kept], columns[kept], pixels[kept]
    return prior.view.unproject(pixels, depth[rows, columns].astype(np.float64))


def _that_matter(points: Float, views: Sequence[SceneView], converges: bool) -> Float:
    """Those of (N, 3) points that enough views see; all where that leaves too few."""
    if len(points) == 0:
        return points
    seen = np.zeros(len(points), np.int32)
    beside = np.zeros(len(points), np.int32)
    chosen = views[:: max(1, len(views) // 60)]
    for view in chosen:
        pixels, depth = view.view.project(points)
        inside = (depth > 0) & (pixels >= 0).all(axis=1)
        inside &= (pixels < [view.view.width, view.view.height]).all(axis=1)
        seen += inside
        if view.mask is not None:
            scale = np.array(view.mask.shape[::-1]) / [view.view.width, view.view.height]
            at = (pixels[inside] * scale).astype(int)
            beside[inside] += view.mask[at[:, 1], at[:, 0]] <= 127
    kept = beside <= 0.25 * seen
    # Masks show what belongs to the object, also where few photos show it.
    masked = all(view.mask is not None for view in chosen)
    least = _OBJECT * len(chosen) if converges and not masked else min(2, len(chosen))
    if (kept & (seen >= least)).sum() >= max(30, 0.05 * kept.sum()):
        kept &= seen >= least
    return points[kept] if kept.sum() >= 30 else points
