"""LPIPS (Zhang et al., CVPR 2018), where its package and its weights are on this machine already.

Nothing is downloaded: the package `lpips` would fetch 230 MB behind the user's back.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

BACKBONE = "alexnet-owt-7be5be79.pth"
"""File of torchvision's AlexNet, in the folder `checkpoints` of torch's hub."""

Distance = Callable[[Tensor, Tensor], float]


def why_no_lpips() -> str | None:
    """What is missing for LPIPS, or None."""
    for package in ("lpips", "torchvision"):
        if find_spec(package) is None:
            return f"the package {package} is not installed"
    weights = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
    return None if weights.is_file() else f"the weights {BACKBONE} are not in {weights.parent}"


def load_lpips(device: torch.device) -> Distance:
    """Function of two (H, W, 3) images in [0, 1] to their distance; lower is more alike.

    To be called only where `why_no_lpips` has nothing to say.
    """
    import lpips

    network = lpips.LPIPS(net="alex", verbose=False).to(device).eval()

    @torch.no_grad()
    def distance(image: Tensor, other: Tensor) -> float:
        a, b = (x.clamp(0, 1).permute(2, 0, 1)[None] * 2 - 1 for x in (image, other))
        return float(network(a, b))

    return distance
