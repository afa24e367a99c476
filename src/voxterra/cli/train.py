"""`voxterra train`: sparse voxels from posed photos, with the option names of SVRaster's users."""

from __future__ import annotations

import json
import logging
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxterra.cli.stopping import telling_that_it_stops
from voxterra.cli.svraster_options import option_lines, read_words, wants_help
from voxterra.core.progress import Progress
from voxterra.errors import FormatError, InputError, MissingPartError, UsageError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.options import (
    Training,
    option_groups,
    option_help,
    option_kinds,
    preset_names,
    resolve,
)

LINE_EVERY_S = 10.0

INTRO = """\
usage: voxterra train --source_path DATA --model_path OUT [options]

Train sparse voxels with signed distances on photos whose cameras are known. DATA is the folder of
a run (voxterra run PHOTOS --out DATA --until depth), a COLMAP folder (images/ and sparse/0, any
camera model, panoramas too), or one with transforms.json or transforms_train.json (NeRF,
Nerfstudio) or with cameras_sphere.npz (NeuS). Masks lie in masks/, or are the photos' own
transparency.

Options come from the defaults, the preset, the config files in order and the command line; later
ones win. Names are written with _ or -; a switch is turned off by --no_NAME.

Examples:
  voxterra train --source_path runs/site --model_path models/site
  voxterra train --source_path chair --model_path out --preset object --eval
  voxterra train --source_path scan24 --model_path out --cfg_files a.yaml b.yaml --n_iter 4000
  voxterra train --model_path out --resume            (goes on from the last checkpoint)
Then:
  voxterra mesh out --method sdf
  voxterra eval views out
"""

_OWN: dict[str, Any] = {
    "source_path": Path,
    "model_path": Path,
    "image_dir_name": str,
    "preset": str,
    "cfg_files": tuple[Path, ...],
    "resume": bool,
    "overwrite": bool,
}
_OWN_HELP = {
    "source_path": "Folder of the photos with their cameras.",
    "model_path": "Folder for the model: config.yaml, model.npz, checkpoints/, pg_view/, "
    "test_stat/, test_view/.",
    "image_dir_name": "Folder of the photos in the source.",
    "preset": f"Options for a kind of scene: {', '.join(preset_names())}.",
    "cfg_files": "YAML files with options, in sections or not; a later one wins.",
    "resume": "Go on from the last checkpoint in the model folder, with its options.",
    "overwrite": "Train anew in a folder that holds a model.",
}


@dataclass(frozen=True)
class Given:
    """What a command line asks for."""

    training: Training
    model_path: Path
    resume: bool


def run(args: list[str]) -> int:
    """Train; returns the exit code.

    Raises:
        UsageError: options that cannot be.
        VoxterraError: photos that cannot be used, or a training that cannot go on.
    """
    if wants_help(args):
        print(help_text())
        raise SystemExit(0)
    warn_on_stderr()
    given = parse(args)
    require_torch()
    from voxterra.surface.voxels.device import require_devices

    require_devices(given.training.config)  # before photos are read, or an old model is cleared
    begun = time.time()
    try:
        with telling_that_it_stops() as listen:
            _train(given, listen)
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be gone
            print(_how_to_go_on(given, begun), file=sys.stderr)
        raise
    return 0


def _how_to_go_on(given: Given, begun: float) -> str:
    from voxterra.surface.voxels.training.state import checkpoint_of

    kept = checkpoint_of(given.model_path)
    # With --overwrite an older model's checkpoint is there until the photos are read.
    if kept.is_file() and (given.resume or kept.stat().st_mtime >= begun):
        out = shlex.quote(str(given.model_path))
        return f"Go on from the last checkpoint: voxterra train --model_path {out} --resume"
    return "Nothing was trained long enough to be kept; the same command begins again."


def parse(args: list[str]) -> Given:
    """The options of a command line, resolved.

    Raises:
        UsageError: unknown or contradicting options.
        InputError: a config file cannot be read, or there is nothing to go on with.
    """
    values = read_words(args, {**_OWN, **option_kinds()}, verb="train")
    model_path = values.pop("model_path", None)
    if model_path is None:
        raise UsageError(
            "It is not said where the model shall go.",
            where="voxterra train",
            next_step="Name a folder: --model_path OUT.",
        )
    resume, overwrite = values.pop("resume", False), values.pop("overwrite", False)
    _check_folder(model_path, resume=resume, overwrite=overwrite)
    training = _resolved(values, model_path if resume else None)
    if training.source_path is None and resume:
        raise _nothing_to_go_on_with(model_path)
    if training.source_path is None:
        raise UsageError(
            "It is not said what to train on.",
            where="voxterra train",
            next_step="Name a folder with photos and cameras: --source_path DATA.",
        )
    return Given(training, model_path, resume)


def help_text() -> str:
    """What `voxterra train --help` prints."""
    lines = [INTRO, "options:", *option_lines(_OWN, _OWN, _OWN_HELP, {"image_dir_name": "images"})]
    for title, names in option_groups().items():
        lines += ["", f"{title}:"]
        lines += option_lines(names, option_kinds(), option_help(), VoxelConfig())
    return "\n".join(lines)


def require_torch() -> None:
    """Find out whether what trains and renders voxels is there.

    Raises:
        MissingPartError: torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingPartError(
            "Sparse voxels need PyTorch, which is not installed.",
            where="torch",
            next_step="pip install 'voxterra[voxels]' (for an NVIDIA GPU: 'voxterra[voxels,gpu]').",
        ) from error


def warn_on_stderr() -> None:
    """Print what the library warns of as the verbs print their own warnings."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")


def told_progress(verb: str) -> Progress:
    """A `Progress` that prints: one line kept up to date on a terminal, else one now and then."""
    terminal = sys.stdout.isatty()
    last = [-math.inf if terminal else time.monotonic()]

    def tell(fraction: float, message: str = "") -> None:
        now = time.monotonic()
        if now - last[0] < (0.2 if terminal else LINE_EVERY_S) and fraction < 1:
            return
        last[0] = now
        line = f"{verb}: {fraction:4.0%}  {message}"
        if terminal:
            print(f"\r\x1b[K{line}", end="\n" if fraction >= 1 else "", flush=True)
        else:
            print(line, flush=True)

    return tell


def _check_folder(model_path: Path, *, resume: bool, overwrite: bool) -> None:
    from voxterra.surface.voxels.model.folder import is_model_folder

    if resume and overwrite:
        raise UsageError(
            "A training cannot both go on and start anew.",
            where="--resume, --overwrite",
            next_step="Give one of them.",
        )
    if model_path.exists() and not model_path.is_dir():
        raise UsageError(
            "The model needs a folder; this is a file.",
            where=f"--model_path {model_path}",
            next_step="Give a folder; it may be a new one.",
        )
    if is_model_folder(model_path) and not (resume or overwrite):
        raise UsageError(
            "This folder holds a model already.",
            where=str(model_path),
            next_step="Give --resume to go on with it, --overwrite to train anew, or another "
            "folder.",
        )


def _nothing_to_go_on_with(folder: Path) -> InputError:
    """What is wrong with a folder that `--resume` names without saying what to train on."""
    from voxterra.surface.voxels.model.folder import CONFIG

    new = f"or begin a training there: voxterra train --source_path DATA --model_path {folder}"
    if (folder / CONFIG).is_file():  # the surface step of a run
        return InputError(
            "The photos that this model was trained on are not told in its folder.",
            where=str(folder / CONFIG),
            next_step="Name their folder: --source_path DATA (that of the run, for its surface).",
        )
    what = "holds no training to go on with" if folder.is_dir() else "does not exist"
    return InputError(
        f"The folder of the model {what}.",
        where=f"--model_path {folder}",
        next_step=f"Check the path, {new}.",
    )


def _resolved(values: Mapping[str, Any], resumed: Path | None) -> Training:
    """Options of the command line, on top of those of the training that goes on."""
    from voxterra.surface.voxels.model.folder import CONFIG, read_training

    values = dict(values)
    preset, cfg_files = values.pop("preset", None), values.pop("cfg_files", ())
    base = Training(None, "images", VoxelConfig())
    if resumed is not None and (resumed / CONFIG).is_file():
        base = read_training(resumed)
    training = resolve(
        values, preset=preset, cfg_files=cfg_files, base=base, where="voxterra train"
    )
    if base.source_path is not None:
        _check_unchanged(base.config, training.config)
    return training


# What a training has taken up once it has begun.
_BEGUN = (
    "bound", "bound_mode", "bound_scale", "outside_level", "init", "stereo", "stereo_size",
    "init_level", "init_n_level", "init_pixels", "init_band", "seed", "white_background",
    "black_background", "mask_mode",
)  # fmt: skip


def _check_unchanged(begun: VoxelConfig, now: VoxelConfig) -> None:
    """Refuse options that a training that goes on would not follow."""
    for name in _BEGUN:
        if getattr(begun, name) != getattr(now, name):
            raise UsageError(
                f"The training began with {name} = {getattr(begun, name)}; that cannot change now.",
                where=f"--{name}",
                next_step="Leave the option out to go on, or train anew (--overwrite).",
            )


def _train(given: Given, listen: Callable[[], None]) -> None:
    """Load, train, write and score; `listen` as in `telling_that_it_stops`."""
    from voxterra.io.depth_store import write_views
    from voxterra.pipeline.recipe.posed_photos import needs_stereo, with_stereo
    from voxterra.surface.voxels.model import folder
    from voxterra.surface.voxels.scene.load import load_scene
    from voxterra.surface.voxels.train import train

    training, out = given.training, given.model_path
    source = training.source_path
    assert source is not None  # parse() has seen to it
    begun = time.monotonic()
    scene = load_scene(
        source,
        training.config,
        image_dir_name=training.image_dir_name,
        progress=told_progress("photos"),
    )
    for warning in scene.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    listen()  # what undistorts photos may have imported COLMAP
    parts = f", {len(scene.held_out)} held out" if scene.held_out else ""
    faces = [view for view in scene.views if view.cut_from]
    if faces:
        size = f"{faces[0].view.width} x {faces[0].view.height}"
        parts += f"; {len(faces)} of them are faces of panoramas, of {size} pixels"
    print(f"{len(scene.views)} views of {source}{parts}", flush=True)
    if not given.resume:
        folder.clear(out)
    if needs_stereo(scene, training.config):
        tell = told_progress("stereo")

        def told(fraction: float, message: str = "") -> None:
            listen()
            tell(fraction, message)

        scene = with_stereo(scene, training.config, out / "stereo", progress=told)
    before = folder.read_training(out) if (out / folder.CONFIG).is_file() else None
    folder.write_training(training, out)
    try:
        model = train(
            scene, training.config, out=out, resume=given.resume, progress=told_progress("train")
        )
    except (InputError, UsageError):
        if before is not None:  # what the checkpoint cannot go on with shall not be remembered
            folder.write_training(before, out)
        raise
    write_views(tuple(view.view for view in scene.training), out)
    model = replace(model, metadata={**model.metadata, **_frame_of(source)})
    path = folder.write_model(model, out, quantized=training.config.save_quantized)
    print(
        f"{path}: {model.n_voxels:,} voxels, {path.stat().st_size / 1e6:.1f} MB, "
        f"{time.monotonic() - begun:.0f} s"
    )
    if scene.held_out:
        from voxterra.cli.eval.views import score_views

        # What is on disk, which may have been quantised.
        score_views(folder.read_model(out), scene, out, training.config)
    print(f"Next: voxterra mesh {out}")


def _frame_of(source: Path) -> dict[str, Any]:
    """Where the world of a run lies on Earth, for the meshes that will be made of the model."""
    file = source / "stages" / "georef" / "georeference.json"
    if not file.is_file():
        return {}
    try:
        return {"frame": json.loads(file.read_text(encoding="utf-8"))["frame"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"The georeference cannot be read: {error}.",
            where=str(file),
            next_step="Do that step again: voxterra georef RUN.",
        ) from error
