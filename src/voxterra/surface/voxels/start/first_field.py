"""The signed distance that a training starts from, out of the best evidence there is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxterra.core.progress import Progress, no_progress, part
from voxterra.errors import InputError, TooFewPhotosError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.start.from_depth import (
    Carved,
    Field,
    carve_field,
    known_depth,
    look_of,
    pixel_footprint,
)
from voxterra.surface.voxels.start.from_masks import hull_field
from voxterra.surface.voxels.start.from_points import MIN_POINTS, disc_looks, make_discs

logger = logging.getLogger(__name__)

_BAND_PIXELS = 4.0
"""Half width of the band of measurements in depth pixels ..."""
_BAND_LIMITS = (1 / 1024, 1 / 48)
"""... and its least and largest, in edges of the main bound."""
_RELATIVE = 0.002
"""The band of depth maps is at least this part of the depth."""
_SPHERE = 0.5
"""Radius of the sphere of a start from nothing, in half edges of the main bound."""
_SHELL = 0.8
"""Radius of the far shell in half edges of the root cube."""


@dataclass(frozen=True)
class InitReport:
    """What the first surface was made of.

    Attributes:
        evidence: "depth", "points", "masks" or "sphere".
        views: views whose depth map, points or mask were used.
        samples: known depth pixels, points, or 0.
        band: distances up to this are measured, farther ones are estimates [world units].
        measured, inside, unknown: parts of the main bound that measurements touch, that are
            inside the first surface, and that no view showed and were filled.
        shell: radius of the far shell, 0 = none [world units].
    """

    evidence: str
    views: int
    samples: int
    band: float
    measured: float
    inside: float
    unknown: float
    shell: float

    def line(self) -> str:
        """One line for the log."""
        source = {
            "depth": f"{self.views} depth maps, {self.samples} depths",
            "points": f"{self.samples} points in {self.views} views",
            "masks": f"{self.views} masks",
            "sphere": "a sphere",
        }[self.evidence]
        shell = f", far shell at {self.shell:.4g}" if self.shell else ""
        return (
            f"first surface from {source}: {self.inside:.1%} of the bound inside, "
            f"{self.measured:.1%} measured, {self.unknown:.1%} filled, "
            f"band {self.band:.3g}{shell}"
        )


@dataclass(frozen=True)
class InitialField:
    """Signed distance at points, positive in free space [world units].

    Distances within `report.band` are measured where there are depth maps; farther ones are
    estimates of the right sign, not clamped.
    """

    field: Field
    report: InitReport
    cube: Cube

    def __call__(self, points: Tensor) -> Tensor:
        """(P,) float32 distances of (P, 3) points in world, on the points' device."""
        at = points.detach().to("cpu", torch.float32).contiguous().numpy()
        value = _with_far_field(self.field(at), at, self.cube, self.report.shell)
        return torch.from_numpy(value).to(points.device)


def initial_sdf(
    scene: Scene, cube: Cube, config: VoxelConfig, progress: Progress = no_progress
) -> InitialField:
    """The first signed distance, from the evidence `config.init` names; auto: the densest.

    Held-out views give none. Depth maps and sparse points are carved and filled (`init_depth`),
    masks alone make a visual hull. Outside of the main bound the same evidence holds; without
    masks and without a background colour a sphere far away closes the scene: inside of it is free,
    so that rays which leave the main bound end there.

    Raises:
        TooFewPhotosError: fewer than two views.
        InputError: the evidence that was asked for is missing or unusable.
    """
    used = [i for i, view in enumerate(scene.views) if not view.held_out]
    if len(used) < 2:
        raise TooFewPhotosError(
            f"{len(used)} photo to train on is too few for a surface; it takes 2 at least.",
            where=scene.source,
            next_step="Add photos, or hold fewer out.",
        )
    evidence = _choose(scene, used, config)
    shell = _shell_radius(scene, used, cube, config)
    make = {"depth": _from_depth, "points": _from_points, "masks": _from_masks}
    if evidence == "sphere":
        carved, views, samples = _sphere(cube), 0, 0
    else:
        carved, views, samples = make[evidence](scene, used, cube, config, progress)
    report = InitReport(
        evidence, views, samples, carved.band, carved.measured, carved.inside, carved.unknown, shell
    )
    logger.info("%s", report.line())
    progress(1.0, "first surface")
    return InitialField(carved.field, report, cube)


def _choose(scene: Scene, used: Sequence[int], config: VoxelConfig) -> str:
    """The evidence to use.

    Raises:
        InputError: what was asked for is not there, or there are masks but none shows an object.
    """
    views = [scene.views[i] for i in used]
    masks = {v.view.name: v.mask > 127 for v in views if v.mask is not None}
    empty = [name for name, mask in masks.items() if not mask.any()]
    if masks and len(empty) == len(masks):
        raise InputError(
            "No mask shows an object: all are black.",
            where=f"mask of {empty[0]}" + (f" and {len(empty) - 1} more" if empty[1:] else ""),
            next_step="Masks are white (255) on the object; invert them, or leave them out.",
        )
    if empty:  # of what `finished_scene` warns
        logger.info("masks without object, not used for the first surface: %s", ", ".join(empty))
    depths = [v for v in views if v.prior is not None]
    n_points = 0 if scene.points is None else len(scene.points.positions)
    there = {
        "depth": any((known_depth(v.view.name, v.prior) > 0).any() for v in depths if v.prior),
        "points": n_points >= MIN_POINTS,
        "masks": sum(bool(m.any() and not m.all()) for m in masks.values()) >= 2,
        "sphere": True,
    }
    if config.init != "auto":
        if there[config.init]:
            return config.init
        what = {
            "depth": "There is no depth map with known depths to start from.",
            "points": f"{n_points} sparse points are too few to start from.",
            "masks": "There are no two masks with an object and something beside it.",
        }[config.init]
        raise InputError(
            what,
            where=f"--init {config.init}",
            next_step="Use --init auto, which takes the best there is.",
        )
    best = next(name for name, present in there.items() if present)
    if best == "sphere":
        logger.warning(
            "no depth maps, sparse points or masks: starting from a sphere, which seldom ends well "
            "(--stereo makes depth maps first)"
        )
    return best


def _from_depth(
    scene: Scene, used: Sequence[int], cube: Cube, config: VoxelConfig, progress: Progress
) -> tuple[Carved, int, int]:
    views = [scene.views[i] for i in used]
    looks = [look_of(v) for v in views if v.prior is not None or v.mask is not None]
    n_views = sum(v.prior is not None for v in views)
    footprint = pixel_footprint(looks, cube)
    low, high = (limit * cube.inside_edge for limit in _BAND_LIMITS)
    band = float(np.clip(_BAND_PIXELS * footprint, low, high))
    carved = carve_field(looks, cube, band, _RELATIVE, progress)
    return carved, n_views, sum(int(np.count_nonzero(look.depth > 0)) for look in looks)


def _from_points(
    scene: Scene, used: Sequence[int], cube: Cube, config: VoxelConfig, progress: Progress
) -> tuple[Carved, int, int]:
    discs = make_discs(scene, used, config.seed)
    looks = disc_looks(scene, used, discs, part(progress, 0.0, 0.3))
    low, high = (limit * cube.inside_edge for limit in _BAND_LIMITS)
    band = float(np.clip(2.0 * discs.spacing, low, 2.0 * high))
    carved = carve_field(looks, cube, band, 0.0, part(progress, 0.3, 1.0))
    return carved, len(looks), len(discs.centers)


def _from_masks(
    scene: Scene, used: Sequence[int], cube: Cube, config: VoxelConfig, progress: Progress
) -> tuple[Carved, int, int]:
    views = [scene.views[i] for i in used if scene.views[i].mask is not None]
    return hull_field(views, cube, progress), len(views), 0


def _sphere(cube: Cube) -> Carved:
    radius = np.float32(_SPHERE * cube.inside_edge / 2)
    center = np.array(cube.center, np.float32)

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.linalg.norm(points - center, axis=1), np.float32) - radius

    inside = float(np.pi / 6 * _SPHERE**3)
    return Carved(field, float(radius), 0.0, inside, 1.0)


def _shell_radius(scene: Scene, used: Sequence[int], cube: Cube, config: VoxelConfig) -> float:
    """Radius of the far shell; 0 where masks or a background colour stand for what is behind."""
    masked = any(scene.views[i].mask is not None for i in used)
    plain = config.white_background or config.black_background
    if masked or plain or cube.outside_level == 0:
        return 0.0
    root_half = cube.edge / 2
    centers = np.array([scene.views[i].view.center_in_world for i in used])
    farthest = float(np.linalg.norm(centers - np.array(cube.center), axis=1).max())
    radius = max(_SHELL * root_half, 1.2 * farthest)
    if radius > 0.98 * root_half:
        logger.warning(
            "cameras lie up to %.3g from the bound's centre, close to the end of the octree "
            "(%.3g); consider a larger outside_level", farthest, root_half,
        )  # fmt: skip
    return min(radius, 0.98 * root_half)


def _with_far_field(
    value: NDArray[np.float32], points: NDArray[np.float32], cube: Cube, shell: float
) -> NDArray[np.float32]:
    """Close the scene by the far shell, or leave nothing outside of the main bound."""
    offset = points - np.array(cube.center, np.float32)
    if shell:
        to_shell = np.float32(shell) - np.linalg.norm(offset, axis=1)
        return np.asarray(np.minimum(value, to_shell), np.float32)
    beyond = np.abs(offset).max(axis=1) - np.float32(cube.inside_edge / 2)
    return np.where(beyond > 0, np.maximum(value, beyond), value).astype(np.float32)
