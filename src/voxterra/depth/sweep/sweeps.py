"""Coarse sweeps of photos, and what of them other photos confirm."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.source import DepthInputs
from voxterra.depth.sparse import inside
from voxterra.depth.stereo.filtering import remove_speckles
from voxterra.depth.sweep.canopy import Canopy
from voxterra.depth.sweep.config import SweepConfig
from voxterra.depth.sweep.matching import aggregated, best_inverse_depth, matching_costs, support_of

Float = NDArray[np.float32]

# Less of a coarse pixel measured than this makes it part of a hole.
_HOLE = 0.4
# The surroundings of a hole: what is measured within this many coarse pixels, about.
_REACH = 12.0
# Without this share of measured pixels around it, a hole has no surroundings to stand out from.
_LEAST_AROUND = 0.02
_SPECKLE = 12  # smallest patch that is kept [coarse pixels]
_DOWN = np.cos(np.radians(40.0))


def looks_down(view: PinholeView) -> bool:
    """Whether a photo looks down, within 40 degrees."""
    return bool(-view.cam_from_world[2, 2] > _DOWN)


@dataclass(frozen=True)
class Sweeps:
    """Sweeps of the photos of `inputs`, whose holes are those of `maps`."""

    inputs: DepthInputs
    maps: DepthMaps
    options: SweepConfig
    _gray: dict[int, NDArray[np.uint8]] = field(default_factory=dict)  # a photo is decoded once

    def view(self, index: int) -> PinholeView:
        view = self.inputs.tasks[index].view
        shrink = min(1.0, self.options.size / max(view.width, view.height))
        return view.resized(
            max(16, round(view.width * shrink)), max(16, round(view.height * shrink))
        )

    def gray(self, index: int) -> Float:
        """(H, W) grey image of one photo, 0..255."""
        if index not in self._gray:
            view = self.view(index)
            gray = cv2.cvtColor(self.inputs.photos.load_color(index), cv2.COLOR_RGB2GRAY)
            small = cv2.resize(gray, (view.width, view.height), interpolation=cv2.INTER_AREA)
            self._gray[index] = np.asarray(small, np.uint8)
        return self._gray[index].astype(np.float32)

    def sweep(self, index: int, found: dict[int, Float]) -> Float:
        """(H, W) inverse depths of one photo, 0 where unknown.

        Args:
            found: those of the round before, by photo.
        """
        task, view, options = self.inputs.tasks[index], self.view(index), self.options
        low, high = task.points.w_range
        chosen = task.neighbours[: options.neighbours]
        if not chosen or high <= 0:
            return np.zeros((view.height, view.width), np.float32)
        w = np.linspace(low, high, options.planes)
        gray = self.gray(index)
        others = [(self.view(j), self.gray(j)) for j in chosen]
        costs = matching_costs(gray, view, others, w)
        hole, around = self.surroundings(index)
        low_lying = hole & (w[:, None, None] < around * (1 + options.ground_margin))
        costs += np.float32(options.ground_penalty) * low_lying
        confirming = [(self.view(j), found[j]) for j in task.neighbours if j in found]
        if confirming:
            support = support_of(view, confirming, w, options.max_depth_error)
            costs -= np.float32(options.support) * np.where(low_lying, 0, support)
        total = aggregated(costs, gray, options.step_penalty, options.jump_penalty)
        return best_inverse_depth(total, w)

    def surroundings(self, index: int) -> tuple[NDArray[np.bool_], Float]:
        """(H, W) where holes are, and the inverse depth measured around; inf without any."""
        view = self.view(index)
        depth = self.maps.load(index).depth
        known = depth > 0
        w = np.where(known, 1 / np.where(known, depth, 1), 0).astype(np.float32)
        size = (view.width, view.height)
        share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(w, size, interpolation=cv2.INTER_AREA)
        near = cv2.GaussianBlur(share, (0, 0), _REACH)
        around = cv2.GaussianBlur(total, (0, 0), _REACH) / np.maximum(near, 1e-6)
        return share < _HOLE, np.where(near > _LEAST_AROUND, around, np.inf).astype(np.float32)

    def confirmed(self, index: int, found: dict[int, Float]) -> NDArray[np.float64]:
        """(N, 3) points in world of one photo's holes that other photos confirm.

        Args:
            found: (H, W) inverse depths, by photo.
        """
        view, options, inverse = self.view(index), self.options, found[index].astype(np.float64)
        hole, around = self.surroundings(index)
        keep = hole & (inverse > around)
        rows, columns = np.nonzero(keep)
        depth = np.asarray(1.0 / inverse[keep], np.float64)
        points = view.unproject(np.column_stack([columns + 0.5, rows + 0.5]), depth)
        agree, look = np.zeros(len(points), np.int64), np.zeros(len(points), np.int64)
        for j in self.inputs.tasks[index].neighbours:
            if j in found:
                seen, same = self._compared(points, self.view(j), found[j])
                look += seen
                agree += same
        good = agree >= np.clip(look, 1, options.min_agreeing)
        kept = np.zeros(inverse.shape, np.float32)
        kept[rows[good], columns[good]] = depth[good]
        remove_speckles(kept, options.max_depth_error, _SPECKLE)
        return points[kept[rows, columns] > 0]

    def _compared(
        self, points: NDArray[np.float64], other: PinholeView, theirs: Float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(N,) whether `other` looks at points, and whether it has them, within a pixel."""
        pixels, z = other.project(points)
        look = inside(other, pixels, z)
        column, row = pixels[look].astype(int).T
        error = np.full(len(column), np.inf)
        for dy, dx in np.ndindex(3, 3):
            r = np.clip(row + dy - 1, 0, other.height - 1)
            c = np.clip(column + dx - 1, 0, other.width - 1)
            error = np.minimum(error, np.abs(z[look] * theirs[r, c] - 1))
        same = np.zeros(len(points), np.bool_)
        same[look] = error < self.options.max_depth_error
        return look, same

    def cell_size(self) -> float:
        """Edge of a cell of the canopy [world units]: that of a coarse pixel on the ground."""
        sizes = [
            float(np.median(task.points.depths)) / self.view(index).K[0, 0]
            for index, task in enumerate(self.inputs.tasks)
            if len(task.points.depths)
        ]
        return float(np.median(sizes))

    def drawn(self, index: int, canopy: Canopy) -> DepthMap:
        """The canopy in the map of one photo, at the size that is asked for."""
        task = self.inputs.tasks[index]
        view = task.map_view
        corners = np.array([[x, y] for x in (0, view.width) for y in (0, view.height)], float)
        reach = view.unproject(corners, np.full(4, 1 / task.points.w_range[0]))[:, :2]
        depth = canopy.depth_in(view, (reach.min(0), reach.max(0)))
        known = depth > 0
        normal = np.zeros((*depth.shape, 3), np.float32)
        confidence = (self.options.confidence * known).astype(np.float32)
        support = known * np.uint8(SurfaceSource.COARSE)
        return DepthMap(view, depth, normal, confidence, support=support)
