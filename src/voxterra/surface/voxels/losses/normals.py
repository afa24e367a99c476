"""Rendered normals against the normals of the rendered depth.

Normals are in world and face the camera (the signed distance grows towards free space). A `camera`
is the [CAMERA] tensor of `kernels.voxels.math` (`View.camera`); depth is along the optical axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses.pixels import masked_mean

EDGE = 0.02
"""Bend of the inverse depth over three pixels, relative to it, that is taken for a depth edge."""


def rotation(camera: Tensor) -> Tensor:
    """world_from_cam rotation [3, 3] of a camera."""
    return camera[km.C_ROTATION : km.C_ROTATION + 9].view(3, 3)


def center(camera: Tensor) -> Tensor:
    """Camera centre in world [3]."""
    return camera[km.C_CENTER : km.C_CENTER + 3]


def pixel_offsets(camera: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(px - cx) [1, W] and (py - cy) [H, 1] of the pixel centres [px]."""
    device, dtype = camera.device, camera.dtype
    x = torch.arange(width, device=device, dtype=dtype) + (0.5 - camera[km.C_CX])
    y = torch.arange(height, device=device, dtype=dtype) + (0.5 - camera[km.C_CY])
    return x[None], y[:, None]


def normals_from_depth(
    depth: Tensor,
    camera: Tensor,
    valid: Tensor | None = None,
    *,
    edge: float = EDGE,
    in_world: bool = True,
) -> tuple[Tensor, Tensor]:
    """Unit normals of a depth map, and where they are known.

    The cross product of the central differences of the unprojected points (2DGS, arXiv 2403.17888,
    eq. 15), written out: with the differences g and means m of the depths of the two neighbours
    along x and y, a = fx g_x m_y and b = fy g_y m_x, it is
    (a, b, -(m_x m_y + a (px - cx) / fx + b (py - cy) / fy)) up to a scale. Exact on planes.

    Args:
        depth: [H, W], 0 = unknown.
        camera: [CAMERA].
        valid: [H, W], pixels to use beside those with a depth.
        edge: depth edges, where the inverse depth bends more than this from a line, are left out
            (the inverse depth of a plane is a linear function of the pixel, whatever its slant).
        in_world: in the world frame, else in the camera's.

    Returns:
        normals [H, W, 3], 0 where unknown, and known bool [H, W].
    """
    height, width = depth.shape
    normals = depth.new_zeros(height, width, 3)
    known = torch.zeros(height, width, dtype=torch.bool, device=depth.device)
    if min(height, width) < 3:
        return normals, known
    with torch.no_grad():
        known[1:-1, 1:-1] = _smooth(depth.detach(), valid, edge)
    inner = known[1:-1, 1:-1]

    # 1 where unknown, so that nothing there is infinite, in the values or in the gradients.
    left = torch.where(inner, depth[1:-1, :-2], 1.0)
    right = torch.where(inner, depth[1:-1, 2:], 1.0)
    up = torch.where(inner, depth[:-2, 1:-1], 1.0)
    down = torch.where(inner, depth[2:, 1:-1], 1.0)
    fx, fy = camera[km.C_FX], camera[km.C_FY]
    x, y = pixel_offsets(camera, height, width)
    m_x, m_y = 0.5 * (left + right), 0.5 * (up + down)
    a = (0.5 * fx) * (right - left) * m_y
    b = (0.5 * fy) * (down - up) * m_x
    c = -(m_x * m_y + a * (x[:, 1:-1] / fx) + b * (y[1:-1] / fy))
    vector = torch.stack((a, b, c), dim=-1)
    vector = vector * vector.square().sum(-1, keepdim=True).clamp(min=1e-30).rsqrt()
    if in_world:
        vector = vector @ rotation(camera).T
    vector = torch.where(inner[..., None], vector, 0.0)
    return torch.nn.functional.pad(vector, (0, 0, 1, 1, 1, 1)), known


def _smooth(depth: Tensor, valid: Tensor | None, edge: float) -> Tensor:
    """Inner pixels [H - 2, W - 2] whose cross of five is known and crosses no depth edge."""
    known = torch.isfinite(depth) & (depth > 0)
    if valid is not None:
        known &= valid.bool()
    inverse = torch.where(known, depth, torch.nan).reciprocal()
    middle = inverse[1:-1, 1:-1]
    limit = edge * middle
    bend_x = (inverse[1:-1, :-2] + inverse[1:-1, 2:] - 2 * middle).abs()
    bend_y = (inverse[:-2, 1:-1] + inverse[2:, 1:-1] - 2 * middle).abs()
    # Comparisons with NaN are false, so an unknown pixel of the cross makes it unknown.
    return (bend_x < limit) & (bend_y < limit)


def normal_consistency(
    normal: Tensor,
    depth: Tensor,
    transmittance: Tensor,
    camera: Tensor,
    mask: Tensor | None = None,
    *,
    edge: float = EDGE,
) -> Tensor:
    """Mean of sum_i w_i (1 - n_i . n_d) = (1 - T) - N . n_d over the pixels with a normal n_d.

    2DGS (arXiv 2403.17888), eq. 14: each surface met by a ray, by its weight, should face as the
    depth map does. Takes a mean depth (`pixels.mean_depth`) and a median depth alike; gradients
    go into the normal, the depth and the transmittance.

    Args:
        normal: [H, W, 3] rendered sum w n in world.
        depth: [H, W] rendered depth, 0 = none.
        transmittance: [H, W].
        camera: [CAMERA].
        mask: [H, W], pixels to use; None = all.
        edge: see `normals_from_depth`.
    """
    seen = transmittance.detach() < 0.5
    if mask is not None:
        seen &= mask.bool()
    of_depth, known = normals_from_depth(depth, camera, seen, edge=edge)
    return masked_mean(1.0 - transmittance - (normal * of_depth).sum(-1), known)
