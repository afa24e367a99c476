"""Slow twin of the rasterizer: every voxel against every pixel, differentiable by autograd.

It is the specification of the compiled kernels: what is skipped, clamped or taken as constant in
the gradient is decided here. Memory grows with pixels x voxels: for tests of a few hundred each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.kernels.voxels.math import (
    ALPHA_MIN,
    C_CENTER,
    C_CX,
    C_CY,
    C_FX,
    C_FY,
    C_NEAR,
    DIRECTION_MIN,
    OPACITY_EPS,
    P_DEPTH,
    P_DISTORTION,
    P_MEDIAN,
    P_NORMAL,
    P_RGB,
    P_RGB2,
    P_RISE,
    P_T,
    PIXEL,
    R_NORMAL,
    R_RGB,
    R_SDF,
    R_SHARPNESS,
    R_SIZE,
    TRANSMITTANCE_MIN,
)

_OCTANT_STEP = sum(1 << (3 * level) for level in range(16))


@dataclass(frozen=True)
class Rendering:
    """What the rasterizer says of a view.

    Attributes:
        pixels: [H, W, 12] in the layout P_*; differentiable in the record.
        max_weight: [N] largest blending weight of each voxel; constant.
        passed: light that passes each (pixel, voxel) segment, 1 - alpha, one entry an octant, with
            the voxels' order: after `backward` its gradient gives `priority`.
    """

    pixels: Tensor
    max_weight: Tensor
    passed: tuple[tuple[Tensor, Tensor], ...]

    def priority(self) -> Tensor:
        """Sum over the pixels of |alpha dL/dalpha| [N], once the loss's `backward` has run."""
        out = torch.zeros_like(self.max_weight)
        for m, order in self.passed:
            if m.grad is not None:
                out[order] += ((1 - m) * m.grad).abs().sum(0).detach()
        return out


@dataclass(frozen=True)
class _Segments:
    """Of [P] rays in [V] voxels, front to back: hit, depths, distances and blending."""

    active: Tensor
    t0: Tensor
    t1: Tensor
    depth: Tensor
    f_in: Tensor
    f_out: Tensor
    phi_in: Tensor
    passed: Tensor
    before: Tensor
    after: Tensor


def ray_directions(camera: Tensor, width: int, height: int) -> Tensor:
    """Directions [H * W, 3] in world, of unit depth along the optical axis."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=camera.dtype, device=camera.device) + 0.5,
        torch.arange(width, dtype=camera.dtype, device=camera.device) + 0.5,
        indexing="ij",
    )
    in_camera = torch.stack(
        [(x - camera[C_CX]) / camera[C_FX], (y - camera[C_CY]) / camera[C_FY], torch.ones_like(x)],
        -1,
    )
    return in_camera.reshape(-1, 3) @ camera[:9].reshape(3, 3).T


def octants(direction: Tensor) -> Tensor:
    """Octant [P] of directions [P, 3]: bits x, y, z = 4, 2, 1 where negative."""
    weights = torch.tensor([4, 2, 1], device=direction.device)
    return ((direction < 0).long() * weights).sum(1)


def front_to_back(path: Tensor, octant: int) -> Tensor:
    """Voxel indices [N] front to back for every ray of an octant, from paths [N]."""
    return torch.argsort(path ^ (octant * _OCTANT_STEP))


def rasterize(
    record: Tensor,
    path: Tensor,
    camera: Tensor,
    width: int,
    height: int,
    *,
    samples: int = 1,
    alpha_min: float = float(ALPHA_MIN),
    transmittance_min: float = float(TRANSMITTANCE_MIN),
) -> Rendering:
    """Render records [N, 20] of voxels at paths [N] (int64, see the octree).

    `samples` is the number of parts that a segment is cut into for its depth. Gradients reach the
    record's distances, colour, normal and sharpness. The thresholds are
    constants of the kernels; finite differences want them 0.
    """
    direction = ray_directions(camera, width, height)
    octant = octants(direction)
    pixels = record.new_zeros((width * height, PIXEL))
    max_weight = record.new_zeros(len(record))
    passed = []
    for o in octant.unique().tolist():
        rays = torch.nonzero(octant == o)[:, 0]
        order = front_to_back(path, o)
        rec = record[order]
        limits = (alpha_min, transmittance_min)
        seg = _segments(direction[rays], rec, camera, samples, limits)
        values, weight = _blend(seg, rec)
        pixels = pixels.index_copy(0, rays, values)
        max_weight[order] = torch.maximum(max_weight[order], weight.detach().amax(0))
        passed.append((seg.passed, order))
    return Rendering(pixels.reshape(height, width, PIXEL), max_weight, tuple(passed))


def _segments(
    direction: Tensor, rec: Tensor, camera: Tensor, samples: int, limits: tuple[float, float]
) -> _Segments:
    alpha_min, transmittance_min = limits
    lo, size = rec[:, :3].detach(), rec[:, 3].detach()
    origin = camera[C_CENTER : C_CENTER + 3]
    tiny = torch.full_like(direction, float(DIRECTION_MIN))
    inverse = 1 / torch.where(direction.abs() < tiny, tiny, direction)
    a = (lo - origin)[None] * inverse[:, None]
    b = (lo + size[:, None] - origin)[None] * inverse[:, None]
    t0 = torch.minimum(a, b).amax(2).clamp_min(camera[C_NEAR])
    t1 = torch.maximum(a, b).amin(2)
    f_in = _distance(direction, t0, rec, origin)
    f_out = _distance(direction, t1, rec, origin)
    phi_in, phi_out = _phi(rec, f_in), _phi(rec, f_out)
    eps = float(OPACITY_EPS)
    m = ((phi_out + eps) / (phi_in + eps)).clamp_max(1.0)
    active = (t1 > t0) & (1 - m >= alpha_min).detach()
    m = torch.where(active, m, torch.ones_like(m))
    if m.requires_grad:
        m.retain_grad()
    with torch.no_grad():
        ahead = torch.cumprod(m, 1)
        reached = torch.cat([torch.ones_like(m[:, :1]), ahead[:, :-1]], 1) >= transmittance_min
    kept = torch.where(reached, m, torch.ones_like(m))
    after = torch.cumprod(kept, 1)
    before = torch.cat([torch.ones_like(m[:, :1]), after[:, :-1]], 1)
    active = active & reached
    depth, part = 0.5 * (t0 + t1), (t1 - t0) / samples
    drop = phi_in - phi_out
    drop = torch.where(active & (drop > 1e-30), drop, torch.ones_like(drop))
    for cut in range(1, samples):
        phi = _phi(rec, _distance(direction, t0 + cut * part, rec, origin))
        depth = depth + part * (((phi - phi_out) / drop).clamp(0.0, 1.0) - 0.5)
    return _Segments(active, t0, t1, depth, f_in, f_out, phi_in, m, before, after)


def _phi(rec: Tensor, f: Tensor) -> Tensor:
    """Phi [P, V] of distances [P, V]."""
    return torch.sigmoid((rec[:, R_SHARPNESS] * f).clamp(-60, 60))


def _distance(direction: Tensor, t: Tensor, rec: Tensor, origin: Tensor) -> Tensor:
    """Trilinear distance [P, V] at depths t [P, V] of the rays."""
    lo, size = rec[:, :3].detach(), rec[:, 3:4].detach()
    point = origin + t[..., None] * direction[:, None]
    u = ((point - lo) / size).clamp(0.0, 1.0)
    x, y, z = u.unbind(-1)
    total = torch.zeros_like(x)
    for c in range(8):
        wx = x if c & 4 else 1 - x
        wy = y if c & 2 else 1 - y
        wz = z if c & 1 else 1 - z
        total = total + wx * wy * wz * rec[:, R_SDF + c]
    return total


def _blend(seg: _Segments, rec: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [P, 12] and weights [P, V]."""
    zero = torch.zeros_like(seg.t0)
    weight = torch.where(seg.active, seg.before - seg.after, zero)
    depth = torch.where(seg.active, seg.depth, zero)
    rgb, normal = rec[:, R_RGB : R_RGB + 3], rec[:, R_NORMAL : R_NORMAL + 3]
    opacity = torch.cumsum(weight, 1) - weight
    moment = torch.cumsum(weight * depth, 1) - weight * depth
    out: list[Tensor] = [zero[:, 0]] * PIXEL
    out[P_RGB : P_RGB + 3] = (weight @ rgb).unbind(1)
    out[P_T] = seg.after[:, -1]
    out[P_DEPTH] = (weight * depth).sum(1)
    out[P_MEDIAN] = _median(seg, rec)
    out[P_NORMAL : P_NORMAL + 3] = (weight @ normal).unbind(1)
    out[P_RGB2] = weight @ (rgb * rgb).sum(1)
    out[P_DISTORTION] = (2 * weight * (depth * opacity - moment)).sum(1)
    out[P_RISE] = _rise(seg, rec)
    return torch.stack(out, 1), weight


def _rise(seg: _Segments, rec: Tensor) -> Tensor:
    """Sum [P] of how far the distance rises along each segment, in edges of its voxel, as long as
    more than half of the light is left; 0 for a ray that keeps half of it: nothing says where its
    distance should have ended to fall. What is occluded, and by what, is taken as constant.
    """
    ahead = (seg.t1 > seg.t0) & (seg.before > 0.5) & (seg.after[:, -1:] <= 0.5)
    rise = (seg.f_out - seg.f_in).clamp_min(0.0) / rec[:, R_SIZE].detach()
    return torch.where(ahead, rise, torch.zeros_like(rise)).sum(1)


def _median(seg: _Segments, rec: Tensor) -> Tensor:
    """Depth [P] where the transmittance passes 1/2; 0 if it never does.

    With f* the distance at which it does, u = (f_in - f*) / (f_in - f_out) along the segment. The
    gradient takes f* as constant: the surface moves with the distances, not with the opacity.
    """
    with torch.no_grad():
        crossing = seg.active & (seg.before > 0.5) & (seg.after <= 0.5)
        s, eps = rec[:, R_SHARPNESS], float(OPACITY_EPS)
        phi = 0.5 * (seg.phi_in + eps) / seg.before - eps
        phi = phi.clamp(1e-7, 1 - 1e-6)
        drop = torch.where(crossing, seg.f_in - seg.f_out, torch.ones_like(phi))
        u = ((seg.f_in - torch.log(phi / (1 - phi)) / s) / drop).clamp(0.0, 1.0)
    f_in, f_out = seg.f_in, seg.f_out
    moved = (1 - u) / drop * (f_in - f_in.detach()) + u / drop * (f_out - f_out.detach())
    depth = seg.t0 + (u + moved) * (seg.t1 - seg.t0)
    return torch.where(crossing, depth, torch.zeros_like(depth)).sum(1)
