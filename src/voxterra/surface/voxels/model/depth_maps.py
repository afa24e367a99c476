"""What a model renders as `core.depth.DepthMaps`: for fusion, and for whatever else takes depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from voxterra.core.bands import Bands, bands_of_color
from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.surface.voxels.model.render import Voxels, render_view


@dataclass(frozen=True)
class RenderedView:
    """What a renderer knows of one view, at the view's size (H, W).

    Attributes:
        depth: (H, W) float32 median depth along the optical axis [world units], 0 = none.
        normal: (H, W, 3) float32 normals in the *camera* frame, facing the camera (n_z < 0 where
            seen head-on); of any length, 0 = unknown.
        color: (H, W, 3) uint8 RGB.
        confidence: (H, W) float32 in [0, 1], such as 1 - transmittance.
    """

    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    color: NDArray[np.uint8]
    confidence: NDArray[np.float32]


@dataclass(frozen=True)
class RenderedDepthMaps:
    """`core.depth.DepthMaps` of views and a function that renders one.

    Attributes:
        views: to render, at the size to render at.
        render: called once for each time that a view is asked for after another one.
        min_confidence: depths less certain are left out.
    """

    views: tuple[PinholeView, ...]
    render: Callable[[PinholeView], RenderedView]
    min_confidence: float = 0.5
    _last: dict[int, RenderedView] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source_names(self) -> tuple[str, ...]:
        return ("voxels",)

    def load(self, index: int) -> DepthMap:
        drawn = self._drawn(index)
        known = (drawn.depth > 0) & (drawn.confidence >= self.min_confidence)
        known &= np.isfinite(drawn.depth)
        length = np.linalg.norm(drawn.normal, axis=2, keepdims=True)
        normal = np.where(known[..., None], drawn.normal / np.maximum(length, 1e-12), 0)
        return DepthMap(
            self.views[index],
            np.where(known, drawn.depth, 0).astype(np.float32),
            normal.astype(np.float32),
            np.where(known, drawn.confidence, 0).astype(np.float32),
        )

    def load_color(self, index: int) -> NDArray[np.uint8]:
        return self._drawn(index).color

    def load_bands(self, index: int) -> Bands:
        return bands_of_color(self.load_color(index))

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        return None

    def _drawn(self, index: int) -> RenderedView:
        if index not in self._last:
            # One at a time: depth and colour of a view are asked for one after the other.
            self._last.clear()
            self._last[index] = self.render(self.views[index])
        return self._last[index]


def depth_maps_of(voxels: Voxels, views: tuple[PinholeView, ...]) -> RenderedDepthMaps:
    """Median depth, normals and colours of the model as `core.depth.DepthMaps`, rendered when
    they are asked for.

    Args:
        voxels: of `render.to_device`.
        views: in the model's world, at the size to render at.
    """

    def draw(view: PinholeView) -> RenderedView:
        with torch.no_grad():
            seen = render_view(voxels, view)
        normal = seen.normal.cpu().numpy() @ view.cam_from_world[:, :3].T.astype(np.float32)
        # A voxel's normal can point away from the camera at a grazing edge; a depth map's may not.
        normal = np.where(normal[..., 2:] > 0, -normal, normal)
        color = seen.color.clamp(0, 1).mul(255).round().to(torch.uint8)
        return RenderedView(
            depth=seen.median_depth.cpu().numpy(),
            normal=np.ascontiguousarray(normal, np.float32),
            color=color.cpu().numpy(),
            confidence=(1.0 - seen.transmittance).clamp(0, 1).cpu().numpy(),
        )

    return RenderedDepthMaps(views, draw)
