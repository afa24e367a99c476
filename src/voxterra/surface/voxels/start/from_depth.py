"""The first surface from depth maps: free space is carved, what nobody saw is filled.

A point in front of a depth is free, one just behind it inside; measured distances are averaged.
What no view shows takes the side of the nearest thing that one does, so that hollow things are
solid, the ground continues sideways, and a shadow behind a thing is no wall.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import InputError
from voxterra.kernels.voxels.cpu import carve
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.scene.scene import SceneView

GRID = 144
"""Cells along a side of the coarse grid over the main bound."""
_MAX_PIXELS = 1_200_000
"""Depth maps with more pixels are thinned out: the first surface needs no more."""
_EDGE = 0.05
"""Relative step of depth between neighbouring pixels that makes them less trusted."""
_CHUNK = 1 << 20
BESIDE = 0.25
"""Part of the views that may have a point beside their mask, yet it be inside: masks that only
leave out a blemish of a photo carve nothing."""

Field = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Look:
    """One view's depth map and mask, as `carve.look` takes them.

    Attributes:
        camera: (17,) float32.
        depth, nearest: (H, W) float32, 0 and infinite = unknown.
        sample: (H, W, 4) int8 normal and confidence.
        mask: (H', W') uint8, 0 = beside the object; (0, 0) = none.
    """

    camera: NDArray[np.float32]
    depth: NDArray[np.float32]
    nearest: NDArray[np.float32]
    sample: NDArray[np.int8]
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Carved:
    """A field with the statistics of what it was made of.

    Attributes:
        field: signed distances (P,) float32 of (P, 3) float32 points in world.
        band: half width of the band of measurements [world units].
        measured, inside, unknown: parts of the main bound's grid nodes that a depth measures, that
            are inside, and that no view shows.
    """

    field: Field
    band: float
    measured: float
    inside: float
    unknown: float


def camera_numbers(view: PinholeView, near: float = 1e-6) -> NDArray[np.float32]:
    """(17,) float32 of a view, as the kernels take it."""
    K = view.K
    pose = view.cam_from_world.astype(np.float64).ravel()
    return np.array([*pose, K[0, 0], K[1, 1], K[0, 2], K[1, 2], near], np.float32)


def known_depth(name: str, prior: DepthMap) -> NDArray[np.float32]:
    """(H, W) depths of a depth map, 0 = unknown.

    Raises:
        InputError: a depth is negative or not a number.
    """
    depth = np.asarray(prior.depth, np.float32)
    if not np.isfinite(depth).all() or (depth < 0).any():
        raise InputError(
            "A depth map holds negative depths or such that are no numbers.",
            where=f"depth map of {name}",
            next_step="Write 0 where the depth is unknown, or leave this depth map out.",
        )
    return depth


def object_mask(view: SceneView) -> NDArray[np.uint8]:
    """(H, W) mask of a view grown by a pixel, 255 = object; (0, 0) where there is none to use."""
    mask = view.mask
    if mask is None or not (mask > 127).any():
        return np.zeros((0, 0), np.uint8)
    grown = ndimage.maximum_filter(np.ascontiguousarray(mask), size=3)
    return np.where(grown > 127, 255, 0).astype(np.uint8)


def look_of(view: SceneView) -> Look:
    """What a view knows. A view without depth map still has its mask.

    Raises:
        InputError: a depth is negative or not a number.
    """
    mask = object_mask(view)
    if view.prior is None:
        empty = np.zeros((view.view.height, view.view.width), np.float32)
        sample = np.zeros((*empty.shape, 4), np.int8)
        return Look(camera_numbers(view.view), empty, empty, sample, mask)
    prior, depth = view.prior, known_depth(view.view.name, view.prior)
    step = max(1, int(np.ceil(np.sqrt(depth.size / _MAX_PIXELS))))
    first = (step - 1) // 2
    camera = camera_numbers(prior.view)
    camera[carve.CAM_FX : carve.CAM_FY + 1] /= step
    for axis in (carve.CAM_CX, carve.CAM_CY):
        camera[axis] = (camera[axis] - 0.5 - first) / step + 0.5
    thin = (slice(first, None, step), slice(first, None, step))
    return make_look(
        camera,
        depth[thin],
        np.asarray(prior.normal)[thin],
        np.asarray(prior.confidence)[thin],
        mask,
    )


def make_look(
    camera: NDArray[np.float32],
    depth: NDArray[np.float32],
    normal: NDArray[np.float32],
    confidence: NDArray[np.float32],
    mask: NDArray[np.uint8],
    *,
    around: int = 3,
) -> Look:
    """Pack one depth map; free space is carved up to the least of `around`^2 depths."""
    depth = np.ascontiguousarray(depth, np.float32)
    known = depth > 0
    nearest = ndimage.minimum_filter(np.where(known, depth, np.inf).astype(np.float32), around)
    farthest = ndimage.maximum_filter(depth, 3)
    trust = np.where(known, np.clip(np.nan_to_num(confidence), 0.02, 1.0), 0.0)
    trust[farthest - depth > _EDGE * depth] *= 0.3
    trust[depth - nearest > _EDGE * depth] *= 0.3
    sample = np.empty((*depth.shape, 4), np.int8)
    sample[..., :3] = np.rint(127 * np.clip(np.nan_to_num(normal), -1, 1))
    sample[..., 3] = np.rint(np.maximum(127 * trust, known))
    return Look(camera, depth, nearest, sample, mask)


def pixel_footprint(looks: Sequence[Look], cube: Cube) -> float:
    """Median size of a depth pixel inside the main bound [world units]; 0 where there is none."""
    sizes = []
    for look in looks:
        rows, columns = np.nonzero(look.depth[::4, ::4] > 0)
        d = look.depth[::4, ::4][rows, columns].astype(np.float64)
        c = look.camera.astype(np.float64)
        x = (4 * columns + 0.5 - c[carve.CAM_CX]) / c[carve.CAM_FX] * d
        y = (4 * rows + 0.5 - c[carve.CAM_CY]) / c[carve.CAM_FY] * d
        pose = c[:12].reshape(3, 4)
        world = (np.column_stack([x, y, d]) - pose[:, 3]) @ pose[:, :3]
        inside = (np.abs(world - np.array(cube.center)) < cube.inside_edge / 2).all(axis=1)
        sizes.append(d[inside] / c[carve.CAM_FX])
    joined = np.concatenate(sizes) if sizes else np.zeros(0)
    return float(np.median(joined)) if joined.size else 0.0


def carve_field(
    looks: Sequence[Look],
    cube: Cube,
    band: float,
    relative: float,
    progress: Progress = no_progress,
    *,
    blank: int = 3,
) -> Carved:
    """A signed distance from what views know.

    Args:
        looks: of the views.
        cube: its main bound is where the surface is looked for.
        band: half width of the band of measurements [world units].
        relative: the band is at least this part of the depth.
        blank: views without depth that make a point free, and for each view with something in
            front of it: sky, or nothing around an object; 0 = they count for nothing.

    Raises:
        InputError: no view shows anything of the main bound.
    """
    half = cube.inside_edge / 2
    cell = cube.inside_edge / GRID
    box = np.array([*cube.center, half], np.float32)
    ends = [np.linspace(c - half, c + half, GRID + 1) for c in cube.center]
    state = np.empty((GRID + 1,) * 3, np.uint8)
    value = np.empty((GRID + 1,) * 3, np.float32)
    coarse_band = max(band, 2.0 * cell)
    slab = max(1, _CHUNK // (GRID + 1) ** 2)
    for first in range(0, GRID + 1, slab):
        progress(first / (GRID + 1), "carving free space")
        part = slice(first, first + slab)
        mesh = np.meshgrid(ends[0][part], ends[1], ends[2], indexing="ij")
        points = np.stack([m.ravel() for m in mesh], axis=1).astype(np.float32)
        parts = evidence_at(looks, points, coarse_band, relative, 3.0 * coarse_band, box, blank)
        state[part], value[part] = (a.reshape(-1, GRID + 1, GRID + 1) for a in parts)
    unknown = float((state == carve.UNKNOWN).mean())
    if unknown == 1.0:
        raise InputError(
            "No depth map and no mask shows anything of the space inside the bound.",
            where="--bound",
            next_step="Choose a bound that holds the scene, or leave it to Voxterra.",
        )
    progress(0.9, "filling")
    grid = fill(state, value, cell, coarse_band)

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty(len(points), np.float32)
        for first in range(0, len(points), _CHUNK):
            part = np.ascontiguousarray(points[first : first + _CHUNK], np.float32)
            side, distance = evidence_at(looks, part, band, relative, 1.5 * cell, box, blank)
            carve.finish(part, side, distance, grid, box, np.float32(cell))
            out[first : first + _CHUNK] = distance
        return out

    measured = float((state == carve.MEASURED).mean())
    return Carved(field, band, measured, float((grid < 0).mean()), unknown)


def evidence_at(
    looks: Sequence[Look],
    points: NDArray[np.float32],
    band: float,
    relative: float,
    shallow: float,
    box: NDArray[np.float32],
    blank: int,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """States and distances (P,) of (P, 3) points, as `carve.decide` gives them."""
    evidence = np.zeros((len(points), carve.EVIDENCE), np.float32)
    evidence[:, carve.BEHIND] = carve.NEVER
    counts = np.zeros((len(points), carve.COUNTS), np.int32)
    widths = np.float32(band), np.float32(relative)
    for look in looks:
        carve.look(
            points, evidence, counts, look.camera, look.depth, look.nearest, look.sample,
            look.mask, *widths, box,
        )  # fmt: skip
    state = np.empty(len(points), np.uint8)
    value = np.empty(len(points), np.float32)
    carve.decide(
        points, evidence, counts, np.float32(BESIDE), blank, widths[0], np.float32(shallow), box,
        state, value,
    )  # fmt: skip
    return state, value


def fill(
    state: NDArray[np.uint8], value: NDArray[np.float32], cell: float, band: float
) -> NDArray[np.float32]:
    """(G, G, G) signed distances everywhere from the nodes whose side is known.

    Unknown nodes take the side of the nearest known one. Distances go to the measured nodes, which
    know theirs, or to the nearest node of the other side.
    """
    known = state != carve.UNKNOWN
    negative = value < 0
    if not known.all():
        at = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        negative = negative[tuple(at)]
    size = np.full(state.shape, np.inf, np.float32)
    if negative.any() and not negative.all():
        away = ndimage.distance_transform_edt(negative) + ndimage.distance_transform_edt(~negative)
        size = ((away - 0.5) * cell).astype(np.float32)
    measured = (state == carve.MEASURED) & (np.abs(value) < band)
    if measured.any():
        away, at = ndimage.distance_transform_edt(~measured, return_indices=True)
        size = np.minimum(size, away.astype(np.float32) * cell + np.abs(value)[tuple(at)])
    size = np.minimum(size, np.float32(2.0 * cell * state.shape[0]))
    return np.where(negative, -size, size).astype(np.float32)
