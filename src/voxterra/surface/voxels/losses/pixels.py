"""The channels of a rendered image as leaves of autograd, and their gradients put together.

Losses run on the channels by themselves: autograd of slices of the [H, W, 12] image would write
the whole image once for every slice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from voxterra.kernels.voxels import math as km

_EPS = 1e-6


@dataclass(frozen=True)
class Pixels:
    """Channels of a rendered image (`kernels.voxels.math`, P_*), each a leaf that takes a gradient.

    Attributes:
        rgb: [H, W, 3] sum w c, without background.
        transmittance: [H, W].
        depth_sum: [H, W] sum w t; `mean_depth` divides it.
        median: [H, W] median depth, 0 = none.
        normal: [H, W, 3] sum w n in world.
        rgb2: [H, W] sum w |c|^2.
        distortion: [H, W].
        rise: [H, W] how far the distance rises in front of the median depth [voxels].
    """

    rgb: Tensor
    transmittance: Tensor
    depth_sum: Tensor
    median: Tensor
    normal: Tensor
    rgb2: Tensor
    distortion: Tensor
    rise: Tensor


_CHANNELS: dict[str, int | slice] = {
    "rgb": slice(km.P_RGB, km.P_RGB + 3),
    "transmittance": km.P_T,
    "depth_sum": km.P_DEPTH,
    "median": km.P_MEDIAN,
    "normal": slice(km.P_NORMAL, km.P_NORMAL + 3),
    "rgb2": km.P_RGB2,
    "distortion": km.P_DISTORTION,
    "rise": km.P_RISE,
}


def split(pixels: Tensor) -> Pixels:
    """Channels of a rendered image [H, W, PIXEL] as leaves (views of it; nothing is copied)."""
    image = pixels.detach()
    return Pixels(**{name: image[..., at].requires_grad_() for name, at in _CHANNELS.items()})


def gradient(channels: Pixels) -> Tensor:
    """Gradients gathered by the leaves as one image [H, W, PIXEL]; 0 where there is none."""
    height, width = channels.transmittance.shape
    grad = channels.transmittance.new_zeros(height, width, km.PIXEL)
    for field in fields(channels):
        part = getattr(channels, field.name).grad
        if part is not None:
            grad[..., _CHANNELS[field.name]] = part
    return grad


def mean_depth(depth_sum: Tensor, transmittance: Tensor) -> Tensor:
    """Mean depth [H, W] along the optical axis, sum w t / (1 - T); 0 where a ray meets nothing."""
    opacity = 1.0 - transmittance
    seen = opacity > _EPS
    return torch.where(seen, depth_sum / torch.where(seen, opacity, 1.0), 0.0)


def masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of `values` where `valid` [the leading axes of `values`]; 0 where nothing is.

    Invalid values may be NaN or infinite as long as what they were computed from is finite.
    """
    if valid is None:
        return values.mean()
    valid = valid.bool()
    if values.ndim > valid.ndim:
        valid = valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim)).expand_as(values)
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)
