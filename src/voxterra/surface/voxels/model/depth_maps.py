"""What a model renders, as depth maps: for fusing them to a mesh, and for whatever takes depth."""

from __future__ import annotations

import numpy as np
import torch

from voxterra.core.camera import PinholeView
from voxterra.surface.voxels.model.render import Voxels, render_view
from voxterra.surface.voxels.model.rendered import Rendered, RenderedDepthMaps


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
