"""Does the surface a view renders look the same, and lie at the same place, in a neighbour?

PGSR (arXiv 2406.06521), written from its equations: patches around sampled pixels are carried to
the neighbour over the plane of rendered depth and normal and compared by normalised cross
correlation; going to the neighbour's depth map and back tells what is hidden there.
Gradients go into the depth and the normal of the reference view, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses.normals import center, rotation
from voxterra.surface.voxels.losses.pixels import masked_mean

_LUMA = (0.299, 0.587, 0.114)
FLAT = 1e-4
"""Variance of a patch (of intensities in [0, 1]) under which it has no texture to compare."""
_COSINE_MIN = 0.1
"""Planes seen more obliquely than this, from either view, are left out."""


@dataclass(frozen=True)
class MultiviewView:
    """A view as the comparison reads it; no gradient.

    Attributes:
        camera: [CAMERA], for the size of `grey`.
        grey: [H, W] photo as intensities in [0, 1] (`to_grey`).
        depth: [H, W] rendered depth (median or mean), 0 = unknown. Of the neighbour only; None =
            nothing is known to be hidden, and there is no reprojection loss.
    """

    camera: Tensor
    grey: Tensor
    depth: Tensor | None = None


@dataclass(frozen=True)
class MultiviewLoss:
    """The two terms, both with gradients; `share` [0, 1] of the samples that took part."""

    ncc: Tensor
    geo: Tensor
    share: Tensor


def to_grey(rgb: Tensor) -> Tensor:
    """Intensity [H, W] of colours [H, W, 3] (Rec. 601)."""
    return rgb @ rgb.new_tensor(_LUMA)


def sample_pixels(
    valid: Tensor, count: int, generator: torch.Generator | None = None, margin: int = 3
) -> Tensor:
    """Random pixels, valid ones first: int64 [count, 2] (row, column), `margin` off the border.

    Four times as many are drawn, and the valid ones preferred. If these are too few invalid ones
    remain, which the losses leave out; so the number is fixed and nothing is read back.

    Args:
        valid: [H, W] bool.
        count: how many.
        generator: on the device of `valid`.
        margin: half the patch.
    """
    height, width = valid.shape
    device = valid.device
    high, wide = max(height - 2 * margin, 1), max(width - 2 * margin, 1)
    flat = torch.randint(high * wide, (4 * count,), generator=generator, device=device)
    row, column = flat // wide + margin, flat % wide + margin
    row, column = row.clamp(max=height - 1), column.clamp(max=width - 1)
    good = valid.bool()[row, column]
    chosen = torch.argsort(good, descending=True, stable=True)[:count]
    return torch.stack((row[chosen], column[chosen]), dim=-1)


def multiview_loss(
    reference: MultiviewView,
    neighbor: MultiviewView,
    depth: Tensor,
    normal: Tensor,
    pixels: Tensor,
    valid: Tensor | None = None,
    *,
    patch: int = 7,
    occluded_px: float = 1.0,
) -> MultiviewLoss:
    """Photometric and geometric agreement of a rendered view with a neighbour.

    With phi the distance [px] between a pixel and itself carried to the neighbour over the
    rendered depth, onto the neighbour's depth there, and back, a sample's weight is
    w = exp(-phi) where phi < `occluded_px`, else 0 (hidden, or wrong in one view); ncc = mean of
    w (1 - NCC), geo = mean of w phi, over the samples that can be carried over.

    Args:
        reference: the view rendered; its `depth` is not read.
        neighbor: the other view.
        depth: [H, W] rendered depth of the reference (median or mean), with gradient; 0 = none.
        normal: [H, W, 3] rendered sum w n in world, with gradient.
        pixels: int64 [P, 2] (row, column), at least `patch // 2` off the border
            (`sample_pixels`).
        valid: [H, W] bool, samples elsewhere are left out; None = all.
        patch: side of the patches [px], odd.
        occluded_px: see above.
    """
    row, column = pixels[:, 0], pixels[:, 1]
    at = _at_samples(reference, neighbor, depth, normal, row, column)
    usable = at.usable if valid is None else at.usable & valid.bool()[row, column]
    weight = usable.to(depth.dtype)
    geo = (0.0 * at.z).sum()
    if neighbor.depth is not None:
        phi, returned = _there_and_back(reference.camera, neighbor, at)
        usable = usable & returned
        visible = usable & (phi.detach() < occluded_px)
        weight = torch.where(visible, torch.exp(-phi.detach()), 0.0)
        geo = masked_mean(weight * phi, usable)
    ncc, compared = _patch_ncc(reference, neighbor, at, row, column, patch)
    usable = usable & compared
    share = (usable & (weight > 0)).to(depth.dtype).mean()
    return MultiviewLoss(masked_mean(weight * (1.0 - ncc), usable), geo, share)


@dataclass(frozen=True)
class _Samples:
    """Sampled pixels: ray and plane in the reference's frame, and the way to the neighbour's.

    Attributes:
        xy: [P, 2] pixel [px].
        ray: [P, 3] of depth 1.
        z: [P] depth.
        normal: [P, 3] unit.
        turn: [3, 3], shift: [3], x_in_neighbor = turn x + shift.
        usable: [P] bool.
    """

    xy: Tensor
    ray: Tensor
    z: Tensor
    normal: Tensor
    turn: Tensor
    shift: Tensor
    usable: Tensor


def _at_samples(
    reference: MultiviewView,
    neighbor: MultiviewView,
    depth: Tensor,
    normal: Tensor,
    row: Tensor,
    column: Tensor,
) -> _Samples:
    """Rays, depths and planes of the sampled pixels; where they are usable."""
    camera = reference.camera
    z, n_world = depth[row, column], normal[row, column]
    length = n_world.detach().square().sum(-1)
    usable = torch.isfinite(z.detach()) & (z.detach() > 0) & (length > 0.01)
    # Harmless numbers where unusable, before anything is divided.
    z = torch.where(usable, z, 1.0)
    n_world = torch.where(usable[:, None], n_world, -rotation(camera)[:, 2])
    n = torch.nn.functional.normalize(n_world @ rotation(camera), dim=-1)
    xy = torch.stack((column, row), dim=-1) + 0.5
    ray = _rays(camera, xy)
    turn = rotation(neighbor.camera).T @ rotation(camera)
    shift = rotation(neighbor.camera).T @ (center(camera) - center(neighbor.camera))
    with torch.no_grad():
        point = z[:, None] * ray
        to_neighbor = -(turn.T @ shift) - point
        for direction in (-point, to_neighbor):
            usable = usable & ((n * direction).sum(-1) > _COSINE_MIN * direction.norm(dim=-1))
    return _Samples(xy, ray, z, n, turn, shift, usable)


def _rays(camera: Tensor, xy: Tensor) -> Tensor:
    """Rays of depth 1 [..., 3] in the camera frame of pixel positions [..., 2]."""
    offset = xy - camera[km.C_CX : km.C_CX + 2]
    rays = offset / camera[km.C_FX : km.C_FX + 2]
    return torch.cat((rays, torch.ones_like(rays[..., :1])), dim=-1)


def _project(camera: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel positions [..., 2] of points [..., 3] in the camera frame, and where z is positive."""
    z = points[..., 2:]
    front = z.detach() > 1e-6
    xy = points[..., :2] / torch.where(front, z, 1.0)
    xy = xy * camera[km.C_FX : km.C_FX + 2] + camera[km.C_CX : km.C_CX + 2]
    return xy, front[..., 0]


def _bilinear(image: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values [...] at positions [..., 2], the smallest of their 4 pixels, and where they exist.

    By gathers, because torch's `grid_sample` has no deterministic backward on CUDA.
    """
    height, width = image.shape
    p = xy - 0.5
    inside = (p >= 0).all(-1) & (p[..., 0] <= width - 1) & (p[..., 1] <= height - 1)
    p = torch.where(inside[..., None], p, 0.0)
    x = p[..., 0].detach().floor().clamp(max=max(width - 2, 0))
    y = p[..., 1].detach().floor().clamp(max=max(height - 2, 0))
    u, v = p[..., 0] - x, p[..., 1] - y
    first = y.long() * width + x.long()
    right, down = min(1, width - 1), width * min(1, height - 1)
    flat = image.reshape(-1)
    a, b = flat[first], flat[first + right]
    c, d = flat[first + down], flat[first + down + right]
    top, bottom = torch.lerp(a, b, u), torch.lerp(c, d, u)
    least = torch.minimum(torch.minimum(a, b), torch.minimum(c, d))
    return torch.lerp(top, bottom, v), least, inside


def _there_and_back(camera: Tensor, neighbor: MultiviewView, at: _Samples) -> tuple[Tensor, Tensor]:
    """Reprojection error phi [P] [px], and where the neighbour has a depth to come back from."""
    assert neighbor.depth is not None
    there, front = _project(neighbor.camera, (at.z[:, None] * at.ray) @ at.turn.T + at.shift)
    other, least, inside = _bilinear(torch.nan_to_num(neighbor.depth.detach()), there)
    good = front & inside & (least > 0)
    other = torch.where(good, other, 1.0)
    point = other[:, None] * _rays(neighbor.camera, there)
    back, front = _project(camera, (point - at.shift) @ at.turn)
    good = good & front
    offset = torch.where(good[:, None], back - at.xy, 0.0)
    # The root's slope at 0 is infinite; a thousandth of a pixel is as good as none.
    return (offset.square().sum(-1) + 1e-6).sqrt() - 1e-3, good


def _patch_ncc(
    reference: MultiviewView,
    neighbor: MultiviewView,
    at: _Samples,
    row: Tensor,
    column: Tensor,
    patch: int,
) -> tuple[Tensor, Tensor]:
    """Normalised cross correlation [P] of patches over the samples' planes, where comparable.

    The rays of a patch meet the plane n . x = z n . ray(centre); those points, projected, are
    what the plane's homography K_n (R + t n^T / d) K_r^-1 gives.
    """
    half = patch // 2
    height, width = reference.grey.shape
    step = torch.arange(-half, half + 1, device=row.device)
    dy, dx = step.repeat_interleave(patch), step.repeat(patch)
    rows, columns = row[:, None] + dy, column[:, None] + dx
    inside = (row >= half) & (row < height - half) & (column >= half) & (column < width - half)
    mine = reference.grey[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]

    rays = _rays(reference.camera, torch.stack((columns, rows), dim=-1) + 0.5)
    toward = (at.normal[:, None] * rays).sum(-1)
    level = (at.normal * at.ray).sum(-1)[:, None]
    # The plane's depth over the patch within a factor of 2, and not behind its horizon.
    ratio = level / torch.where(toward.detach() < -1e-4, toward, -1.0)
    on_plane = (toward.detach() < -1e-4) & (ratio.detach() > 0.5) & (ratio.detach() < 2.0)
    ratio = torch.where(on_plane, ratio, 1.0)
    points = (at.z[:, None] * ratio)[..., None] * rays
    there, front = _project(neighbor.camera, points @ at.turn.T + at.shift)
    theirs, _, landed = _bilinear(neighbor.grey, there)

    mine = mine - mine.mean(-1, keepdim=True)
    theirs = theirs - theirs.mean(-1, keepdim=True)
    mine_var, theirs_var = mine.square().mean(-1), theirs.square().mean(-1)
    ncc = (mine * theirs).mean(-1) * (mine_var * theirs_var + FLAT**2 * 1e-2).rsqrt()
    textured = (mine_var > FLAT) & (theirs_var.detach() > FLAT)
    usable = inside & textured & (on_plane & front & landed).all(-1) & at.usable
    return ncc, usable
