"""How well a model renders views: PSNR and SSIM, inside the masks too, and LPIPS.

LPIPS (Zhang et al., CVPR 2018) is measured where its package and weights are installed. Nothing is
downloaded: the package `lpips` would fetch 230 MB without asking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxterra.core.progress import Progress, no_progress
from voxterra.core.voxels import VoxelModel
from voxterra.errors import InputError
from voxterra.io.files.json_file import write_json
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import choose_device
from voxterra.surface.voxels.losses.photometric import WINDOW, psnr, ssim
from voxterra.surface.voxels.model.folder import TEST_STAT, TEST_VIEW
from voxterra.surface.voxels.model.pictures import panel, write_png
from voxterra.surface.voxels.model.render import Rendered, Voxels, render_view, to_device
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
        known = [v for v in values if v is not None and np.isfinite(v)]
        if known:
            out[name] = float(np.mean(known))
    return out


def score_views(
    model: VoxelModel,
    scene: Scene,
    folder: Path,
    config: VoxelConfig,
    *,
    train: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Render views of a model and compare them with their photos.

    Pictures go to `test_view/` of the model's folder, the figures to `test_stat/views.json`.

    Args:
        model: trained.
        scene: its photos, with some held out.
        folder: of the model.
        config: `device` and `ss` count.
        train: score the training views too.
        progress: called after each view.

    Returns:
        means of the views "held_out" and of those to "train" on, where there are any; "each" view;
        "lpips_missing", why LPIPS is not measured, or None. What has no value is None, as JSON
        wants it.

    Raises:
        InputError: no view is held out, and training views are not asked for.
    """
    if not scene.held_out and not train:
        raise InputError(
            "No view was held out of this training.",
            where=str(folder),
            next_step="Train with --eval, or score the training views: --train.",
        )
    voxels = to_device(model, choose_device(config))
    missing, lpips = why_no_lpips(), list[float | None]()
    distance = None if missing else load_lpips(voxels.device)
    total = len(scene.views) if train else len(scene.held_out)

    def shown(image: SceneView, rendered: Rendered) -> None:
        photo = torch.from_numpy(image.rgb).to(rendered.color.device).float() / 255.0
        write_png(panel(rendered, photo), folder / TEST_VIEW / picture_name(image.view.name))
        if image.ignored is not None:
            ignored = torch.from_numpy(image.ignored).to(photo.device)[..., None]
            photo = torch.where(ignored, rendered.color, photo)
        lpips.append(distance(rendered.color, photo) if distance else None)
        progress(len(lpips) / total, f"{len(lpips)}/{total} views")

    scores = evaluate_views(
        voxels, scene, ss=config.ss, held_out=None if train else True, shown=shown
    )
    figures = {**_figures(scores, lpips), "lpips_missing": missing, "each": _rows(scores, lpips)}
    write_json(figures, folder / TEST_STAT / "views.json")
    return figures


def picture_name(name: str) -> str:
    """File name of what the view of a photo shows: train/r_0.png becomes train_r_0.png."""
    stem = name.rpartition(".")[0] or name
    return stem.replace("/", "_").replace("\\", "_") + ".png"


def _figures(scores: Sequence[ViewScore], lpips: Sequence[float | None]) -> dict[str, Any]:
    """Means of each kind of view."""
    figures: dict[str, Any] = {}
    for name, held_out in (("held_out", True), ("train", False)):
        some = [i for i, s in enumerate(scores) if s.held_out == held_out]
        if some:
            figures[name] = {"views": len(some), **means(tuple(scores[i] for i in some))}
            known = [v for i in some if (v := lpips[i]) is not None]
            if known:
                figures[name]["lpips"] = sum(known) / len(known)
    return figures


def _rows(scores: Sequence[ViewScore], lpips: Sequence[float | None]) -> list[dict[str, Any]]:
    """Every view."""
    rows = []
    for score, value in zip(scores, lpips):
        row = asdict(score)
        for key, number in row.items():
            if isinstance(number, float) and not math.isfinite(number):
                row[key] = None
        rows.append({**row, "lpips": value})
    return rows


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
