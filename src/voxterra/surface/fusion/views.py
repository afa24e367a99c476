"""Depth maps prepared for integration, kept in memory within a budget."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.core.surface_source import SurfaceSource
from voxterra.errors import ReconstructionError
from voxterra.kernels.fusion.blocks import REACH


@dataclass(frozen=True)
class PreparedView:
    """A depth map packed into 12 bytes a pixel.

    Attributes:
        view: at the depth map's size.
        depth: (H, W) float32, 0 = none.
        sample: (H, W, 8) uint8: normal in camera * 127 + 127, confidence * 255, RGB, support (a
            `SurfaceSource`).
        far: largest depth.
    """

    view: PinholeView
    depth: NDArray[np.float32]
    sample: NDArray[np.uint8]
    far: float

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """(6,) fx, fy, cx, cy, width, height [px]."""
        K = self.view.K
        height, width = self.depth.shape
        return np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height], np.float64)

    @property
    def nbytes(self) -> int:
        return self.depth.nbytes + self.sample.nbytes


def check_reach(maps: DepthMaps, cell: float) -> None:
    """Raise ReconstructionError when cameras lie beyond the cells that have numbers.

    Depth samples beyond are left out: a sample so far from its camera is coarser than any cell.
    """
    farthest = max(float(np.abs(view.center_in_world).max()) for view in maps.views)
    if not farthest < 0.9 * REACH * cell:
        raise ReconstructionError(
            f"Cameras lie {farthest:.3g} from the origin, too far for voxels as small as chosen.",
            where="depth maps",
            next_step="Choose voxels (--surface.voxel-size-m) at least "
            f"{farthest / (0.9 * REACH * cell):.3g} times as large, or move the origin of the "
            "world to the scene.",
        )


def prepare_view(
    maps: DepthMaps, index: int, max_footprint: float | None = None, *, keep_weak: bool = True
) -> PreparedView:
    """Load one depth map with its colours.

    Args:
        maps: depth maps.
        index: of the view.
        max_footprint: samples that cover more than this of the surface, slant included, are
            dropped [world units]; None keeps all.
        keep_weak: False drops samples that are marked as weak.
    """
    loaded = maps.load(index)
    depth = np.where(np.isfinite(loaded.depth) & (loaded.depth > 0), loaded.depth, 0)
    depth = depth.astype(np.float32)
    if not keep_weak:
        depth[loaded.support == SurfaceSource.WEAK] = 0
    height, width = depth.shape
    mask = maps.load_mask(index)
    if mask is not None:
        small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        depth[small == 0] = 0
    if max_footprint is not None:
        depth[footprints(loaded.view, depth, loaded.normal) > max_footprint] = 0
    color = np.asarray(maps.load_color(index))
    if color.shape[:2] != depth.shape:
        color = np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA))
    sample = np.zeros((height, width, 8), np.uint8)
    sample[..., :3] = np.rint(np.clip(loaded.normal, -1, 1) * 127.0) + 127.0
    # A sample that is there counts, however little its view trusts it.
    sample[..., 3] = np.rint(np.clip(loaded.confidence, 0.05, 1.0) * 255.0)
    sample[..., 4:7] = color
    sample[..., 7] = loaded.support
    return PreparedView(loaded.view, depth, sample, float(depth.max(initial=0.0)))


def footprints(
    view: PinholeView, depth: NDArray[np.float32], normal: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(H, W) extent of a pixel on the surface [world units], 0 where there is no depth.

    With `normal` (H, W, 3), in camera, along the steepest slant; else as if seen head-on.
    """
    K = view.K
    across = depth * np.float32(1.0 / np.sqrt(K[0, 0] * K[1, 1]))
    if normal is None:
        return across
    height, width = depth.shape
    x = ((np.arange(width) + 0.5 - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = ((np.arange(height) + 0.5 - K[1, 2]) / K[1, 1]).astype(np.float32)[:, None]
    facing = -(normal[..., 0] * x + normal[..., 1] * y + normal[..., 2])
    facing /= np.sqrt(x * x + y * y + 1.0)
    slant = np.where(facing > 0, np.maximum(facing, np.float32(0.02)), np.float32(1.0))
    return np.asarray(across / slant, np.float32)


def _may_see(view: PinholeView, corners: NDArray[np.float64]) -> bool:
    """False if all corners of a box lie outside of one side of the view's frustum."""
    K = view.K
    x, y, z = (corners @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]).T
    left, right = K[0, 2] / K[0, 0], (view.width - K[0, 2]) / K[0, 0]
    top, bottom = K[1, 2] / K[1, 1], (view.height - K[1, 2]) / K[1, 1]
    sides = (z, x + left * z, right * z - x, y + top * z, bottom * z - y)
    return all((side > 0).any() for side in sides)


class ViewCache:
    """Prepared views, the least recently used dropped beyond a memory budget."""

    def __init__(
        self, maps: DepthMaps, max_footprint: float, budget_bytes: int, *, keep_weak: bool = True
    ):
        self._maps = maps
        self._keep_weak = keep_weak
        self._max_footprint = max_footprint
        self._budget = budget_bytes
        self._views: OrderedDict[int, PreparedView] = OrderedDict()

    def seeing(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> list[int]:
        """Views, in order, whose image may hold part of the world box from `low` to `high`."""
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(
            -1, 3
        )
        return [i for i, view in enumerate(self._maps.views) if _may_see(view, corners)]

    def get(self, index: int) -> PreparedView:
        if index in self._views:
            self._views.move_to_end(index)
            return self._views[index]
        view = prepare_view(self._maps, index, self._max_footprint, keep_weak=self._keep_weak)
        total = sum(v.nbytes for v in self._views.values()) + view.nbytes
        while self._views and total > self._budget:
            total -= self._views.popitem(last=False)[1].nbytes
        self._views[index] = view
        return view
