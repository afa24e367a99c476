"""How alike a rendered image and a photo are: colour differences, SSIM, PSNR.

Images are [H, W, 3] float32 in [0, 1]. The photo takes no gradient.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from voxterra.errors import InputError
from voxterra.kernels.voxels.cpu import images
from voxterra.surface.voxels.losses.pixels import masked_mean

WINDOW = 11
"""Side of the window of SSIM [px]."""
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def photometric(
    rendered: Tensor,
    photo: Tensor,
    kind: Literal["mse", "l1", "huber"] = "mse",
    mask: Tensor | None = None,
    huber_delta: float = 0.03,
) -> Tensor:
    """Mean colour difference over the pixels of `mask` and the 3 channels.

    Args:
        rendered, photo: [H, W, 3].
        kind: "mse"; "l1"; "huber", quadratic up to `huber_delta` and of slope 1 beyond it.
        mask: [H, W], where to compare; None = everywhere.
        huber_delta: where the Huber loss becomes linear.
    """
    difference = rendered - photo
    if mask is not None:
        # Before the loss, so that a NaN outside of the mask reaches no gradient.
        difference = torch.where(mask.bool()[..., None], difference, 0.0)
    if kind == "mse":
        values = difference.square()
    elif kind == "l1":
        values = difference.abs()
    else:
        zero = torch.zeros_like(difference)
        values = F.huber_loss(difference, zero, reduction="none", delta=huber_delta) / huber_delta
    return masked_mean(values, mask)


def psnr(rendered: Tensor, photo: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal to noise ratio [dB] over the pixels of `mask`; 100 at most (equal images)."""
    return -10.0 * torch.log10(photometric(rendered, photo, "mse", mask).clamp(min=1e-10))


def ssim(rendered: Tensor, photo: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean structural similarity, 1 for equal images; gradient for `rendered` only.

    Wang et al. 2004 (doi 10.1109/TIP.2003.819861): Gaussian window of 11x11 pixels with sigma 1.5,
    K1 = 0.01, K2 = 0.03, windows that lie wholly in the image, each channel by itself.

    Args:
        rendered, photo: [H, W, 3].
        mask: [H, W], windows centred on these pixels count; None = all. No window: 1, no gradient.

    Raises:
        InputError: the images are smaller than the window.
    """
    similarity = ssim_map(rendered, photo)
    if mask is None:
        return similarity.mean()
    edge = WINDOW // 2
    inside = mask.bool()[edge:-edge, edge:-edge]
    return 1.0 - masked_mean((1.0 - similarity).movedim(0, -1), inside)


def ssim_map(rendered: Tensor, photo: Tensor) -> Tensor:
    """SSIM of every window and channel, [3, H - 10, W - 10]; see `ssim`."""
    if min(rendered.shape[:2]) < WINDOW:
        raise InputError(
            f"An image of {rendered.shape[1]}x{rendered.shape[0]} pixels is too small for SSIM.",
            where="--lambda_ssim",
            next_step=f"Use images of at least {WINDOW}x{WINDOW} pixels, or --lambda_ssim 0.",
        )
    result: Tensor = _Ssim.apply(rendered, photo)  # type: ignore[no-untyped-call]
    return result


@lru_cache(maxsize=8)
def _window(channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Gaussian weights of the window [channels, 1, 1, WINDOW], summing to 1."""
    x = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-x.square() / (2 * _SIGMA**2))
    weights = (weights / weights.sum()).to(device, dtype)
    return weights.repeat(channels, 1, 1, 1)


def _by_loops(maps: Tensor) -> bool:
    """Whether compiled loops do the work, in a quarter of the time of torch on a CPU."""
    return maps.device.type == "cpu"


def _blur(maps: Tensor, padding: int = 0) -> Tensor:
    """Gaussian of [C, H, W] over the windows inside; `padding` WINDOW - 1 is the adjoint."""
    window = _window(maps.shape[0], maps.device, maps.dtype)
    if _by_loops(maps):
        grown = 2 * padding + 1 - WINDOW
        out = maps.new_empty(len(maps), maps.shape[1] + grown, maps.shape[2] + grown)
        images.blur(maps.contiguous().numpy(), window[0].ravel().numpy(), padding, out.numpy())
        return out
    # TensorFloat-32 keeps 10 bits: too few for the variances, which are differences.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        rows = F.conv2d(maps[None], window, padding=(0, padding), groups=maps.shape[0])
        columns = window.transpose(2, 3)
        return F.conv2d(rows, columns, padding=(padding, 0), groups=maps.shape[0])[0]


class _Ssim(torch.autograd.Function):
    """SSIM map with its gradient written out: half the memory and time of autograd's."""

    @staticmethod
    def forward(ctx: Any, rendered: Tensor, photo: Tensor) -> Tensor:
        height, width = rendered.shape[:2]
        maps = rendered.new_empty(5, 3, height, width)
        a, b = maps[0], maps[1]
        a.copy_(rendered.movedim(-1, 0))
        b.copy_(photo.movedim(-1, 0))
        torch.mul(a, a, out=maps[2])
        torch.mul(b, b, out=maps[3])
        torch.mul(a, b, out=maps[4])
        mean_a, mean_b, aa, bb, ab = _blur(maps.flatten(0, 1)).unflatten(0, (5, 3))
        means = mean_a * mean_b
        squares = mean_a.square().addcmul_(mean_b, mean_b)
        top_1 = (2 * means).add_(_C1)
        top_2 = (ab - means).mul_(2).add_(_C2)
        bottom_1 = squares + _C1
        bottom_2 = (aa + bb).sub_(squares).add_(_C2)
        inverse = (bottom_1 * bottom_2).reciprocal_()
        value: Tensor = (top_1 * top_2).mul_(inverse)
        if ctx.needs_input_grad[0]:
            # By the moments: mean_a (at fixed aa, ab), aa, and ab.
            g_aa = -value / bottom_2
            g_ab = (top_1 * inverse).mul_(2)
            g_mean = (2 * mean_b * inverse).mul_(top_2 - top_1)
            g_mean.addcmul_(mean_a, value / bottom_1 + g_aa, value=-2)
            ctx.save_for_backward(maps[:2], torch.stack((g_mean, g_aa, g_ab)))
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        maps, derivative = ctx.saved_tensors
        weighted = (derivative * grad_outputs[0]).flatten(0, 1)
        g_mean, g_aa, g_ab = _blur(weighted, padding=WINDOW - 1).unflatten(0, (3, 3))
        grad = g_mean.addcmul_(maps[0], g_aa, value=2).addcmul_(maps[1], g_ab)
        return grad.movedim(0, -1), None
