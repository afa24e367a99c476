"""`voxterra eval views OUT`: how well a model renders photos that it was not trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxterra.cli.svraster_options import option_lines, read_words, wants_help
from voxterra.cli.train import require_torch, told_progress, warn_on_stderr
from voxterra.core.voxels import VoxelModel
from voxterra.errors import InputError
from voxterra.io.files.json_file import write_json
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.folder import (
    TEST_STAT,
    TEST_VIEW,
    read_model,
    read_training,
    with_source,
)
from voxterra.surface.voxels.scene.scene import Scene, SceneView

if TYPE_CHECKING:
    from voxterra.surface.voxels.evaluate import ViewScore
    from voxterra.surface.voxels.model.render import Rendered

INTRO = """\
usage: voxterra eval views OUT [options]

Render the views that were held out of the training of the model in OUT (train --eval), and compare
them with their photos: PSNR and SSIM, and PSNR inside the mask where there are masks. Pictures go
to OUT/test_view, figures to OUT/test_stat/views.json.

Examples:
  voxterra eval views out
  voxterra eval views out --train --json              (the training views too)
"""
_KINDS: dict[str, Any] = {
    "model_path": Path,
    "source_path": Path,
    "train": bool,
    "device": str,
    "json": bool,
}
_HELPS = {
    "model_path": "The trained model; it may stand without the name.",
    "source_path": "Folder of the photos, where it has moved since the training.",
    "train": "Score the views trained on too.",
    "device": "auto, cpu or cuda.",
    "json": "Print JSON instead of a table.",
}


def run(args: list[str]) -> int:
    """Score the views; returns the exit code.

    Raises:
        InputError: no model, or no photos to compare with.
        MissingPartError: PyTorch is not installed.
    """
    if wants_help(args):
        print(INTRO, *option_lines(_KINDS, _KINDS, _HELPS, {"device": "auto"}), sep="\n")
        raise SystemExit(0)
    warn_on_stderr()
    given = read_words(args, _KINDS, verb="eval views", positional=("model_path",))
    folder: Path | None = given.get("model_path")
    if folder is None:
        raise InputError(
            "It is not said which model to score.",
            where="voxterra eval views",
            next_step="Name its folder: voxterra eval views OUT.",
        )
    require_torch()
    model = read_model(folder)
    training = with_source(read_training(folder), given.get("source_path"))
    from voxterra.surface.voxels.options import resolve
    from voxterra.surface.voxels.scene.load import load_scene

    training = resolve({"device": given.get("device", "auto")}, base=training, where="eval views")
    source = training.source_path
    assert source is not None  # with_source() has seen to it
    as_json = given.get("json", False)
    scene = load_scene(source, training.config, image_dir_name=training.image_dir_name)
    score_views(
        model, scene, folder, training.config, train=given.get("train", False), as_json=as_json
    )
    return 0


def score_views(
    model: VoxelModel,
    scene: Scene,
    folder: Path,
    config: VoxelConfig,
    *,
    train: bool = False,
    as_json: bool = False,
) -> dict[str, Any]:
    """Render and compare views; write pictures and figures, print a table; returns the figures.

    Args:
        model: trained.
        scene: its photos, with some held out.
        folder: of the model.
        config: `device` and `ss` count.
        train: score the training views too.
        as_json: print JSON.

    Raises:
        InputError: no view is held out, and training views are not asked for.
    """
    from voxterra.surface.voxels.device import choose_device
    from voxterra.surface.voxels.evaluate import evaluate_views
    from voxterra.surface.voxels.model.render import to_device

    if not scene.held_out and not train:
        raise InputError(
            "No view was held out of this training.",
            where=str(folder),
            next_step="Train with --eval, or score the training views: --train.",
        )
    voxels = to_device(model, choose_device(config))
    total = len(scene.views) if train else len(scene.held_out)
    views = _Views(folder / TEST_VIEW, total, voxels.device, silent=as_json)
    scores = evaluate_views(
        voxels, scene, ss=config.ss, held_out=None if train else True, shown=views
    )
    figures = _figures(scores, views)
    write_json(figures, folder / TEST_STAT / "views.json")
    print(json.dumps(figures, indent=1) if as_json else "\n".join(_table(figures)))
    return figures


def picture_name(name: str) -> str:
    """File name of what the view of a photo shows: train/r_0.png becomes train_r_0.png."""
    stem = name.rpartition(".")[0] or name
    return stem.replace("/", "_").replace("\\", "_") + ".png"


class _Views:
    """Called with each view: writes it as a picture, and measures LPIPS where that can be.

    Attributes:
        missing: why LPIPS is not measured, or None.
        lpips: of the views so far.
    """

    def __init__(self, folder: Path, total: int, device: Any, *, silent: bool):
        from voxterra.surface.voxels.evaluate import load_lpips, why_no_lpips

        self.folder, self.total, self.silent = folder, total, silent
        self.tell, self.done = told_progress("views"), 0
        self.missing = why_no_lpips()
        self.distance = None if self.missing else load_lpips(device)
        self.lpips: list[float | None] = []

    def __call__(self, image: SceneView, rendered: Rendered) -> None:
        import torch

        from voxterra.surface.voxels.model.pictures import panel, write_png

        photo = torch.from_numpy(image.rgb).to(rendered.color.device).float() / 255.0
        write_png(panel(rendered, photo), self.folder / picture_name(image.view.name))
        if image.ignored is not None:
            ignored = torch.from_numpy(image.ignored).to(photo.device)[..., None]
            photo = torch.where(ignored, rendered.color, photo)
        self.lpips.append(self.distance(rendered.color, photo) if self.distance else None)
        self.done += 1
        if not self.silent:
            self.tell(self.done / self.total, f"{self.done}/{self.total} views")


def _figures(scores: Sequence[ViewScore], views: _Views) -> dict[str, Any]:
    """Means of each kind of view, and every view; what has no value is None, as JSON wants it."""
    from voxterra.surface.voxels.evaluate import means

    figures: dict[str, Any] = {}
    for name, held_out in (("held_out", True), ("train", False)):
        some = [i for i, s in enumerate(scores) if s.held_out == held_out]
        if some:
            figures[name] = {"views": len(some), **means(tuple(scores[i] for i in some))}
            known = [v for i in some if (v := views.lpips[i]) is not None]
            if known:
                figures[name]["lpips"] = sum(known) / len(known)
    each = [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in map(asdict, scores)
    ]
    for row, value in zip(each, views.lpips):
        row["lpips"] = value
    return {**figures, "lpips_missing": views.missing, "each": each}


def _table(figures: dict[str, Any]) -> list[str]:
    rows = [(row["name"], row) for row in figures["each"]]
    rows += [
        (title, figures[name])
        for name, title in (("held_out", "held out, mean"), ("train", "training, mean"))
        if name in figures
    ]
    width = max(len(name) for name, _ in rows)
    columns: tuple[tuple[str, str, int], ...]
    columns = (("psnr", "PSNR", 2), ("ssim", "SSIM", 4), ("psnr_in_mask", "PSNR in mask", 2))
    if figures["lpips_missing"] is None:
        columns += (("lpips", "LPIPS", 4),)
    lines = ["  ".join([" " * width, *(f"{title:>12}" for _, title, _ in columns)])]
    for name, row in rows:
        known = [row.get(key) for key, _, _ in columns]
        cells = ["-" if v is None else f"{v:.{c[2]}f}" for v, c in zip(known, columns)]
        lines.append("  ".join([f"{name:<{width}}", *(f"{cell:>12}" for cell in cells)]))
    if figures["lpips_missing"] is not None:
        lines.append(f"LPIPS is not measured: {figures['lpips_missing']}.")
    return lines
