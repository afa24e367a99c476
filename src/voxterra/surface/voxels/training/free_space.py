"""Free space is what photos look through: distances there that turned negative are turned back.

A ray that enters a voxel where the distance is negative already loses no light while it rises, so
nothing in the photos distinguishes such a place from free space, and the smoothness terms leave
sheets of surface there that face away from every camera. But where a view's rendered surface lies
behind a point, the point is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels.plan import View
from voxterra.surface.voxels.model.render import Voxels, rasterize
from voxterra.surface.voxels.octree import corner_edge, corner_positions
from voxterra.surface.voxels.octree.query import (
    crossing,
    inside_main,
    voxel_centers,
    with_neighbours,
)

MARGIN = 1.5
"""A point is in front of a surface if it is by this many edges of the voxels around it."""
VIEWS = 2
"""So many views must say so: the rim of a thing may be off by a pixel in one."""


@dataclass(frozen=True)
class FreeSpace:
    """What training views look through.

    Attributes:
        corners: bool[M] negative distances in front of what is rendered.
        fog: bool[N] voxels outside of the main bound that touch none with a surface, and that lie
            in front of what every view renders there.
    """

    corners: Tensor
    fog: Tensor


@torch.no_grad()
def find_free_space(voxels: Voxels, views: Sequence[View], min_views: int = VIEWS) -> FreeSpace:
    """Look for false surfaces and for fog in front of what the views render.

    Fog: voxels around far things are large, those near a camera hide all that it sees behind a
    veil of their own, and no other photo contradicts.

    Args:
        voxels: the model.
        views: the training views.
        min_views: how many of them must see a corner in front of their surface; no more than
            there are.
    """
    octree = voxels.octree
    corners = torch.nonzero(voxels.sdf < 0).flatten()
    at_surface = with_neighbours(octree, crossing(octree, voxels.sdf))
    outside = torch.nonzero(~inside_main(octree) & ~at_surface).flatten()
    points = torch.cat([corner_positions(octree)[corners], voxel_centers(octree)[outside].float()])
    edges = torch.cat([corner_edge(octree)[corners], octree.lo_size[outside, 3]])
    free = torch.zeros(len(points), dtype=torch.int32, device=voxels.device)
    near = torch.zeros(len(points), dtype=torch.bool, device=voxels.device)
    for view in views:
        pixels = rasterize(voxels, view, features=layout.F_MEDIAN)[3].pixels
        ahead = clearance(points, pixels, view)
        free += ahead > MARGIN * edges
        near |= ahead.abs() <= MARGIN * edges
    false = torch.zeros(len(voxels.sdf), dtype=torch.bool, device=voxels.device)
    false[corners] = free[: len(corners)] >= min(min_views, len(views))
    fog = torch.zeros(len(voxels), dtype=torch.bool, device=voxels.device)
    fog[outside] = ((free > 0) & ~near)[len(corners) :]
    return FreeSpace(false, fog)


def clear_free_space(voxels: Voxels, views: Sequence[View]) -> FreeSpace:
    """Make distances positive in front of what the views render, in place; what was found."""
    found = find_free_space(voxels, views)
    voxels.sdf.copy_(torch.where(found.corners, -voxels.sdf, voxels.sdf))
    return found


def clearance(points: Tensor, pixels: Tensor, view: View) -> Tensor:
    """float32[P]: how far points lie in front of the surface that a view renders [world units].

    Negative behind it; infinite where nothing is rendered, NaN where the view does not look.

    Args:
        points: float32[P, 3] in world.
        pixels: [H, W, PIXEL] rendered, with the median depth.
        view: its camera.
    """
    camera = view.camera
    rotation = camera[layout.C_ROTATION : layout.C_ROTATION + 9].reshape(3, 3)
    in_cam = (points - camera[layout.C_CENTER : layout.C_CENTER + 3]) @ rotation
    depth = in_cam[:, 2]
    ahead = depth > camera[layout.C_NEAR]
    inverse = torch.where(ahead, depth, 1.0).reciprocal()
    column = in_cam[:, 0] * inverse * camera[layout.C_FX] + camera[layout.C_CX]
    row = in_cam[:, 1] * inverse * camera[layout.C_FY] + camera[layout.C_CY]
    inside = ahead & (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
    at = torch.where(inside, row, 0.0).long(), torch.where(inside, column, 0.0).long()
    median, light = pixels[*at, layout.P_MEDIAN], pixels[*at, layout.P_T]
    surface = torch.where(light > 0.5, torch.inf, median)
    return torch.where(inside, surface - depth, torch.nan)
