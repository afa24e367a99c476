"""`voxterra eval views OUT`: how well a model renders photos that it was not trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from voxterra.cli.arguments import parse
from voxterra.cli.display import showing, warnings_on_stderr
from voxterra.cli.svraster_options import plain_words
from voxterra.surface.voxels.model.folder import read_model, read_training, with_source

DESCRIPTION = """\
Render the views that were held out of the training of the model in OUT (train --eval), and compare
them with their photos: PSNR and SSIM, and PSNR inside the mask where there are masks. Pictures go
to OUT/test_view, figures to OUT/test_stat/views.json.

Examples:
  voxterra eval views out
  voxterra eval views out --train --json              (the training views too)
"""


@dataclass(frozen=True)
class ViewsArguments:
    """Options of `voxterra eval views`."""

    model_path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """The trained model."""
    source_path: Annotated[
        Path | None,
        tyro.conf.arg(metavar="DATA", help_behavior_hint="(default: where they were then)"),
    ] = None
    """Folder of the photos, where it has moved since the training."""
    train: tyro.conf.FlagCreatePairsOff[bool] = False
    """Score the views trained on too."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to render."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of a table."""


def run(args: list[str]) -> int:
    """Score the views; returns the exit code.

    Raises:
        InputError: no model, or no photos to compare with.
        MissingPartError: PyTorch is not installed.
    """
    words = plain_words(args, switches={"train", "json"}, positional="model_path")
    given = parse(ViewsArguments, words, verb="eval views", description=DESCRIPTION)
    warnings_on_stderr()
    from voxterra.surface.voxels.device import require_torch

    require_torch()
    from voxterra.surface.voxels.evaluate import score_views
    from voxterra.surface.voxels.options import resolve
    from voxterra.surface.voxels.scene.load import load_scene

    model = read_model(given.model_path)
    training = with_source(read_training(given.model_path), given.source_path)
    training = resolve({"device": given.device}, base=training, where="eval views")
    assert training.source_path is not None  # with_source() has seen to it
    config, names = training.config, training.image_dir_name
    scene = load_scene(training.source_path, config, image_dir_name=names)
    with showing("views", silent=given.json) as progress:
        figures = score_views(
            model, scene, given.model_path, config, train=given.train, progress=progress
        )
    print(json.dumps(figures, indent=1) if given.json else "\n".join(_table(figures)))
    return 0


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
        values = [row.get(key) for key, _, _ in columns]
        cells = ["-" if v is None else f"{v:.{c[2]}f}" for v, c in zip(values, columns)]
        lines.append("  ".join([f"{name:<{width}}", *(f"{cell:>12}" for cell in cells)]))
    if figures["lpips_missing"] is not None:
        lines.append(f"LPIPS is not measured: {figures['lpips_missing']}.")
    return lines
