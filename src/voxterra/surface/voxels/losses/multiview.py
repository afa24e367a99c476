"""Does the surface a view renders look the same, and lie at the same place, in a neighbour?

PGSR (arXiv 2406.06521), written from its equations: patches around sampled pixels are carried to
the neighbour over the plane of rendered depth and normal and compared by normalised cross
correlation; going to the neighbour's depth map and back shows what is hidden there.
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


def draw_pixels(
    height: int, width: int, count: int, generator: torch.Generator, margin: int = 3
) -> Tensor:
    """Random pixels for `sample_pixels` to choose from: int64 [4 count, 2] (row, column).

    Args:
        height, width: of the image.
        count: how many will be chosen.
        generator: on the device of the result.
        margin: half the patch; so far are they off the border.
    """
    high, wide = max(height - 2 * margin, 1), max(width - 2 * margin, 1)
    flat = torch.randint(high * wide, (4 * count,), generator=generator, device=generator.device)
    row, column = flat // wide + margin, flat % wide + margin
    return torch.stack((row.clamp(max=height - 1), column.clamp(max=width - 1)), dim=-1)


def sample_pixels(valid: Tensor, drawn: Tensor) -> Tensor:
    """A quarter of the drawn pixels, valid ones first: int64 [count, 2] (row, column).

    If the valid ones are too few invalid ones remain, which the losses leave out; so the number is
    fixed and nothing is read back.

    Args:
        valid: [H, W] bool.
        drawn: int64 [4 count, 2] of `draw_pixels`.
    """
    good = valid.bool()[drawn[:, 0], drawn[:, 1]]
    return drawn[torch.argsort(good, descending=True, stable=True)[: len(drawn) // 4]]


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


def _project(camera: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel x [P, ...], y [P, ...] of points [P, 3, ...] in the camera frame; where z > 0."""
    x, y, z = points.unbind(1)
    front = z.detach() > 1e-6
    inverse = torch.where(front, z, 1.0).reciprocal()
    x = x * inverse * camera[km.C_FX] + camera[km.C_CX]
    y = y * inverse * camera[km.C_FY] + camera[km.C_CY]
    return x, y, front


def _bilinear(image: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values at pixel positions, the smallest of their 4 pixels, and where they exist.

    By gathers, because torch's `grid_sample` has no deterministic backward on CUDA.
    """
    height, width = image.shape
    inside = (x >= 0.5) & (y >= 0.5) & (x <= width - 0.5) & (y <= height - 0.5)
    x, y = torch.where(inside, x - 0.5, 0.0), torch.where(inside, y - 0.5, 0.0)
    left = x.detach().floor().clamp(max=max(width - 2, 0))
    top = y.detach().floor().clamp(max=max(height - 2, 0))
    u, v = x - left, y - top
    first = top.long() * width + left.long()
    right, down = min(1, width - 1), width * min(1, height - 1)
    flat = image.reshape(-1)
    a, b = flat[first], flat[first + right]
    c, d = flat[first + down], flat[first + down + right]
    value = torch.lerp(torch.lerp(a, b, u), torch.lerp(c, d, u), v)
    least = torch.minimum(torch.minimum(a, b), torch.minimum(c, d))
    return value, least, inside


def _there_and_back(camera: Tensor, neighbor: MultiviewView, at: _Samples) -> tuple[Tensor, Tensor]:
    """Reprojection error phi [P] [px], and where the neighbour has a depth to come back from."""
    assert neighbor.depth is not None
    x, y, front = _project(neighbor.camera, (at.z[:, None] * at.ray) @ at.turn.T + at.shift)
    other, least, inside = _bilinear(torch.nan_to_num(neighbor.depth.detach()), x, y)
    good = front & inside & (least > 0)
    other = torch.where(good, other, 1.0)
    point = other[:, None] * _rays(neighbor.camera, torch.stack((x, y), dim=-1))
    x, y, front = _project(camera, (point - at.shift) @ at.turn)
    good = good & front
    x, y = torch.where(good, x - at.xy[:, 0], 0.0), torch.where(good, y - at.xy[:, 1], 0.0)
    # The root's slope at 0 is infinite; a thousandth of a pixel is as good as none.
    return (x.square() + y.square() + 1e-6).sqrt() - 1e-3, good


def _patch_ncc(
    reference: MultiviewView,
    neighbor: MultiviewView,
    at: _Samples,
    row: Tensor,
    column: Tensor,
    patch: int,
) -> tuple[Tensor, Tensor]:
    """Normalised cross correlation [P] of patches over the samples' planes, where comparable.

    By the homography of the plane n . x = d, d = z n . ray, from rays to rays: R + t n^T / d
    (PGSR writes it with K_n and K_r^-1 around, from pixels to pixels).
    """
    half, camera = patch // 2, reference.camera
    height, width = reference.grey.shape
    step = torch.arange(-half, half + 1, device=row.device)
    dy, dx = step.repeat_interleave(patch), step.repeat(patch)
    inside = (row >= half) & (row < height - half) & (column >= half) & (column < width - half)
    first = torch.where(inside, row * width + column, half * width + half)
    around = first[:, None] + (dy * width + dx)
    mine = reference.grey.reshape(-1)[around.clamp(0, height * width - 1)]

    offset = torch.stack((dx / camera[km.C_FX], dy / camera[km.C_FY]))  # [2, patch^2], of rays
    level = (at.normal * at.ray).sum(-1, keepdim=True)
    with torch.no_grad():
        # The plane's depth within a factor of 2 over the patch, and not behind its horizon.
        share = 1.0 + (at.normal[:, :2] @ offset) / level
        on_plane = ((share > 0.5) & (share < 2.0)).all(-1)
    over_plane = at.normal / (level * at.z[:, None])
    homography = at.turn + at.shift[:, None] * over_plane[:, None, :]
    middle = homography @ at.ray[:, :, None]
    x, y, front = _project(neighbor.camera, middle + homography[:, :, :2] @ offset)
    theirs, _, landed = _bilinear(neighbor.grey, x, y)

    mine = mine - mine.mean(-1, keepdim=True)
    theirs = theirs - theirs.mean(-1, keepdim=True)
    mine_var, theirs_var = mine.square().mean(-1), theirs.square().mean(-1)
    ncc = (mine * theirs).mean(-1) * (mine_var * theirs_var + FLAT**2 * 1e-2).rsqrt()
    textured = (mine_var > FLAT) & (theirs_var.detach() > FLAT)
    usable = inside & textured & on_plane & (front & landed).all(-1) & at.usable
    return ncc, usable
