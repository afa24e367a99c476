"""How well a model renders views: PSNR and SSIM, inside the masks too, and LPIPS.

LPIPS (Zhang et al., CVPR 2018) is measured where its package and weights are installed. Nothing is
downloaded: the package `lpips` would fetch 230 MB without asking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from voxterra.surface.voxels.losses.photometric import WINDOW, psnr, ssim
from voxterra.surface.voxels.model.render import Rendered, Voxels, render_view
from voxterra.surface.voxels.scene.scene import Scene, SceneView

BACKBONE = "alexnet-owt-7be5be79.pth"
"""File of torchvision's AlexNet, in the folder `checkpoints` of torch's hub."""

Distance = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class ViewScore:
    """How well one view is rendered.

    Attributes:
        name: of the photo.
        held_out: whether it was kept from training.
        psnr: [dB], over all pixels.
        ssim: mean over all pixels; NaN where the image is smaller than its window.
        psnr_in_mask: [dB] over the object's pixels, None without a mask or an object in it.
        depth_smooth: share of the covered pixels whose depth is within 0.5 % of the mean of its
            neighbours to the left and right, and above and below.
    """

    name: str
    held_out: bool
    psnr: float
    ssim: float
    psnr_in_mask: float | None
    depth_smooth: float


Shown = Callable[[SceneView, Rendered], None]


@torch.no_grad()
def evaluate_views(
    voxels: Voxels,
    scene: Scene,
    *,
    ss: float = 1.0,
    held_out: bool | None = True,
    shown: Shown | None = None,
) -> tuple[ViewScore, ...]:
    """Scores of the views held out (True), of those trained on (False), or of all (None).

    Args:
        voxels: the model on its device.
        scene: photos with poses.
        ss: render this much larger and average.
        shown: called with each view and what was rendered.
    """
    scores = []
    for image in scene.views:
        if held_out is not None and image.held_out != held_out:
            continue
        rendered = render_view(voxels, image.view, ss=ss)
        scores.append(score_view(image, rendered))
        if shown is not None:
            shown(image, rendered)
    return tuple(scores)


def score_view(image: SceneView, rendered: Rendered) -> ViewScore:
    """Score of one view; colours are clamped to [0, 1] first."""
    color = rendered.color.clamp(0, 1)
    photo = torch.from_numpy(image.rgb).to(color.device).float() / 255.0
    inside = None
    if image.mask is not None and (image.mask > 127).any():
        inside = float(psnr(color, photo, torch.from_numpy(image.mask).to(color.device) > 127))
    large = min(photo.shape[:2]) >= WINDOW
    counts = None if image.ignored is None else torch.from_numpy(~image.ignored).to(color.device)
    anything = counts is None or bool(counts.any())
    if counts is not None:  # windows that reach into what is ignored see no difference there
        photo = torch.where(counts[..., None], photo, color)
    return ViewScore(
        image.view.name,
        image.held_out,
        float(psnr(color, photo, counts)) if anything else float("nan"),
        float(ssim(color, photo, counts)) if large and anything else float("nan"),
        inside,
        smooth_share(rendered.depth),
    )


def smooth_share(depth: Tensor, tolerance: float = 0.005) -> float:
    """Share of (H, W) depths that agree with the mean of their neighbours; 0 = unknown."""
    center = depth[1:-1, 1:-1]
    pairs = ((depth[1:-1, :-2], depth[1:-1, 2:]), (depth[:-2, 1:-1], depth[2:, 1:-1]))
    known, close = center > 0, torch.ones_like(center, dtype=torch.bool)
    for a, b in pairs:
        known &= (a > 0) & (b > 0)
        close &= (0.5 * (a + b) - center).abs() < tolerance * center
    return float((close & known).sum() / known.sum().clamp_min(1))


def means(scores: tuple[ViewScore, ...]) -> dict[str, float]:
    """Means over the views that have a figure."""
    out = {}
    for name in ("psnr", "ssim", "psnr_in_mask", "depth_smooth"):
        values = [getattr(s, name) for s in scores]
        told = [v for v in values if v is not None and np.isfinite(v)]
        if told:
            out[name] = float(np.mean(told))
    return out


def why_no_lpips() -> str | None:
    """What is missing for LPIPS, or None."""
    for package in ("lpips", "torchvision"):
        if find_spec(package) is None:
            return f"the package {package} is not installed"
    weights = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
    return None if weights.is_file() else f"the weights {BACKBONE} are not in {weights.parent}"


def load_lpips(device: torch.device) -> Distance:
    """Function of two (H, W, 3) images in [0, 1] to their distance; lower is more alike.

    Call it only where `why_no_lpips` returns None.
    """
    import lpips

    network = lpips.LPIPS(net="alex", verbose=False).to(device).eval()

    @torch.no_grad()
    def distance(image: Tensor, other: Tensor) -> float:
        a, b = (x.clamp(0, 1).permute(2, 0, 1)[None] * 2 - 1 for x in (image, other))
        return float(network(a, b))

    return distance
