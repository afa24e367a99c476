"""What a model renders, as depth maps: for fusing them to a mesh, and for whatever takes depth."""

from __future__ import annotations

import numpy as np
import torch

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.surface.voxels.render import Voxels, render_view
from voxterra.surface.voxels.rendered import Rendered, RenderedDepthMaps
from voxterra.surface.voxels.scene import WorldBox

_SAMPLED_VIEWS = 24
"""Views that tell how large a pixel is on the surface."""


def depth_maps_of(voxels: Voxels, views: tuple[PinholeView, ...]) -> RenderedDepthMaps:
    """Median depth, normals and colours of the model as `core.depth.DepthMaps`, rendered when
    they are asked for.

    Args:
        voxels: of `render.to_device`.
        views: in the model's world, at the size to render at.
    """

    def draw(view: PinholeView) -> Rendered:
        with torch.no_grad():
            seen = render_view(voxels, view)
        normal = seen.normal.cpu().numpy() @ view.cam_from_world[:, :3].T.astype(np.float32)
        # A voxel's normal can point away from the camera at a grazing edge; a depth map's may not.
        normal = np.where(normal[..., 2:] > 0, -normal, normal)
        color = seen.color.clamp(0, 1).mul(255).round().to(torch.uint8)
        return Rendered(
            depth=seen.median_depth.cpu().numpy(),
            normal=np.ascontiguousarray(normal, np.float32),
            color=color.cpu().numpy(),
            confidence=(1.0 - seen.transmittance).clamp(0, 1).cpu().numpy(),
        )

    return RenderedDepthMaps(views, draw)


def pixel_size_within(maps: DepthMaps, bounds: WorldBox) -> float | None:
    """Median extent of a pixel on the surface inside of a box [world units]; None: none is there.

    The sky, a shell far outside, would make most pixels of an outdoor scene large.
    """
    low, high = np.array(bounds[:3]), np.array(bounds[3:])
    sizes = []
    for index in np.unique(np.linspace(0, len(maps.views) - 1, _SAMPLED_VIEWS).astype(int)):
        found = maps.load(int(index))
        row, column = np.nonzero(found.depth > 0)
        depth = found.depth[row, column].astype(np.float64)
        pixels = np.column_stack([column, row]).astype(np.float64) + 0.5
        points = found.view.unproject(pixels, depth)
        inside = ((points > low) & (points < high)).all(axis=1)
        K = found.view.K
        sizes.append(depth[inside] / np.sqrt(K[0, 0] * K[1, 1]))
    together = np.concatenate(sizes)
    return float(np.median(together)) if len(together) else None
