"""Rendered normals against the normals of the rendered depth.

Normals are in world and face the camera (the signed distance grows towards free space). A `camera`
is the [CAMERA] tensor of `kernels.voxels.math` (`View.camera`); depth is along the optical axis.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as km
from voxterra.kernels.voxels.cpu import depth_normals
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
    with torch.no_grad():
        known = torch.zeros(depth.shape, dtype=torch.bool, device=depth.device)
        if min(depth.shape) < 3:
            return depth.new_zeros(*depth.shape, 3), known
        if _by_loops(depth):
            mask = known[:0, :0] if valid is None else valid.bool().contiguous()
            dense = depth.detach().contiguous().numpy()
            depth_normals.smooth(dense, mask.numpy(), edge, known.numpy())
        else:
            known[1:-1, 1:-1] = _smooth(depth, valid, edge)
    if _by_loops(depth):
        own = camera.to(depth.dtype)
        turn = rotation(own) if in_world else torch.eye(3, dtype=depth.dtype)
        on_cpu: Tensor = _CpuNormals.apply(depth.contiguous(), known, own, turn.contiguous())  # type: ignore[no-untyped-call]
        return on_cpu, known
    normals: Tensor = _Normals.apply(depth, camera, known, in_world)  # type: ignore[no-untyped-call]
    return normals, known


def _by_loops(depth: Tensor) -> bool:
    """Whether compiled loops do the work, or torch."""
    return depth.device.type == "cpu"


class _Normals(torch.autograd.Function):
    """Normals of depth with the gradient written out: a quarter less time than autograd takes."""

    @staticmethod
    def forward(ctx: Any, depth: Tensor, camera: Tensor, known: Tensor, in_world: bool) -> Tensor:
        inner = known[1:-1, 1:-1]
        # Unknown depth may be anything; what is computed from it is dropped, if it is finite.
        safe = depth.nan_to_num(0.0, 0.0, 0.0)
        left, right = safe[1:-1, :-2], safe[1:-1, 2:]
        up, down = safe[:-2, 1:-1], safe[2:, 1:-1]
        g_x = (right - left).mul_(0.5 * camera[km.C_FX])
        g_y = (down - up).mul_(0.5 * camera[km.C_FY])
        m_x, m_y = (left + right).mul_(0.5), (up + down).mul_(0.5)
        x, y = _ray_slopes(camera, *depth.shape)
        a, b = g_x * m_y, g_y * m_x
        c = (m_x * m_y).addcmul_(a, x).addcmul_(b, y).neg_()
        vector = torch.stack((a, b, c), dim=-1)
        inverse = vector.square().sum(-1).clamp_(min=1e-30).rsqrt_().mul_(inner)
        vector.mul_(inverse[..., None])
        ctx.save_for_backward(camera, vector, inverse, g_x, g_y, m_x, m_y, x, y)
        ctx.in_world = in_world
        normals = depth.new_zeros(*depth.shape, 3)
        normals[1:-1, 1:-1] = vector @ rotation(camera).T if in_world else vector
        return normals

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        camera, vector, inverse, g_x, g_y, m_x, m_y, x, y = ctx.saved_tensors
        height, width = grad_outputs[0].shape[:2]
        grad = grad_outputs[0][1:-1, 1:-1]
        if ctx.in_world:
            grad = grad @ rotation(camera)
        # Through the division by the length (0 where unknown), then through a, b and c.
        grad = grad - vector * (grad * vector).sum(-1, keepdim=True)
        d_a, d_b, d_c = (grad * inverse[..., None]).unbind(-1)
        d_a, d_b = d_a - x * d_c, d_b - y * d_c
        half_x = (g_y * d_b).addcmul_(m_y, d_c, value=-1).mul_(0.5)
        half_y = (g_x * d_a).addcmul_(m_x, d_c, value=-1).mul_(0.5)
        slope_x = (m_y * d_a).mul_(0.5 * camera[km.C_FX])
        slope_y = (m_x * d_b).mul_(0.5 * camera[km.C_FY])
        result = grad.new_zeros(height, width)
        result[1:-1, 2:] += half_x + slope_x
        result[1:-1, :-2] += half_x - slope_x
        result[2:, 1:-1] += half_y + slope_y
        result[:-2, 1:-1] += half_y - slope_y
        return result, None, None, None


class _CpuNormals(torch.autograd.Function):
    """The same as one loop: a tenth of the time of torch's on a CPU."""

    @staticmethod
    def forward(ctx: Any, depth: Tensor, known: Tensor, camera: Tensor, turn: Tensor) -> Tensor:
        normals = depth.new_empty(*depth.shape, 3)
        ctx.save_for_backward(depth, known, camera, turn)
        depth_normals.normals(*(t.numpy() for t in (depth, known, camera, turn, normals)))
        return normals

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        result = torch.empty_like(ctx.saved_tensors[0])
        tensors = (grad_outputs[0].contiguous(), *ctx.saved_tensors, result)
        depth_normals.normals_backward(*(t.numpy() for t in tensors))
        return result, None, None, None


def _ray_slopes(camera: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """x / z [1, W - 2] and y / z [H - 2, 1] of the rays of the inner pixels."""
    x, y = pixel_offsets(camera, height, width)
    return x[:, 1:-1] / camera[km.C_FX], y[1:-1] / camera[km.C_FY]


def _smooth(depth: Tensor, valid: Tensor | None, edge: float) -> Tensor:
    """Inner pixels [H - 2, W - 2] whose cross of five is known and crosses no depth edge."""
    known = (depth > 0) & (depth < torch.inf)
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
