"""`voxterra train`: sparse voxels from posed photos, with the option names of SVRaster's users."""

from __future__ import annotations

import time
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from voxterra.cli import arguments
from voxterra.cli.display import follow
from voxterra.cli.svraster_options import plain_words
from voxterra.errors import InputError, UsageError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model import folder
from voxterra.surface.voxels.options import Training, preset_names, resolve, unchecked

if TYPE_CHECKING:
    PresetName = str
else:  # so that a wrong name is answered with the nearest right one
    PresetName = Literal[preset_names()]

DESCRIPTION = """\
Train sparse voxels with signed distances on photos whose cameras are known. DATA is the folder of
a run (voxterra run PHOTOS --out DATA --until depth), a COLMAP folder (images/ and sparse/0, any
camera model, panoramas too), or one with transforms.json or transforms_train.json (NeRF,
Nerfstudio) or with cameras_sphere.npz (NeuS). Masks lie in masks/, or are the photos' own
transparency.

Options come from the defaults, the preset, the config files in order and the command line; later
ones win. Names may be written with _ or -. Give the same command again and a stopped training
resumes.

Examples:
  voxterra train --source_path runs/site --model_path models/site
  voxterra train --source_path chair --model_path out --preset object --eval
  voxterra train --source_path scan24 --model_path out --cfg_files a.yaml b.yaml --n_iter 4000
  voxterra train --model_path out --resume            (from the last checkpoint)

Then:
  voxterra mesh out --method sdf
  voxterra eval views out
"""


@dataclass(frozen=True)
class TrainArguments:
    """Options of `voxterra train`."""

    source_path: Annotated[
        Path | None,
        tyro.conf.arg(metavar="DATA", help_behavior_hint="(with --resume: that of the training)"),
    ] = None
    """Folder of the photos with their cameras."""
    model_path: Annotated[
        Path | None, tyro.conf.arg(metavar="OUT", help_behavior_hint="(required)")
    ] = None
    """Folder for the model: config.yaml, model.npz, checkpoints/, pg_view/, test_stat/,
    test_view/."""
    image_dir_name: Annotated[
        str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: images)")
    ] = None
    """Folder of the photos in the source."""
    preset: Annotated[PresetName | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    """Options for a kind of scene."""
    cfg_files: Annotated[
        tuple[Path, ...],
        tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="(default: none)"),
    ] = ()
    """YAML files with options, in sections or not; a later one wins."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Resume from the last checkpoint in OUT, with its options."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Start over in a folder that holds a model."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON event a line, and nothing else."""
    options: Annotated[VoxelConfig, tyro.conf.arg(name="")] = field(default_factory=VoxelConfig)


@dataclass(frozen=True)
class Given:
    """What a command line asks for.

    Attributes:
        training: photos and options.
        model_path: folder for the model.
        resume: from the last checkpoint there, if there is one.
        json: print events as JSON.
    """

    training: Training
    model_path: Path
    resume: bool
    json: bool


def run(args: list[str]) -> int:
    """Parse the command line, train, show; returns the exit code.

    Raises:
        UsageError: options that cannot be.
    """
    from voxterra.pipeline.engine.collected_warnings import collecting_warnings
    from voxterra.pipeline.recipe.training import stopped, train_on_photos

    with collecting_warnings("train") as warnings:
        given = parse(args)
    begun = time.time()
    events = train_on_photos(
        given.training, given.model_path, resume=given.resume, warnings=warnings
    )
    return follow(
        events,
        as_json=given.json,
        stopped=lambda: stopped(given.model_path, begun, resume=given.resume),
    )


def parse(args: Sequence[str]) -> Given:
    """The options of a command line, resolved.

    Raises:
        UsageError: unknown or contradicting options.
        FormatError: a config file cannot be read.
        InputError: there is nothing to resume.
    """
    switches = {k for k, kind in _kinds().items() if kind is bool}
    args = plain_words(args, switches=switches)
    out = arguments.peek(args, "--model-path")
    base = Training(None, "images", VoxelConfig())
    if "--resume" in args and out is not None and (Path(out) / folder.CONFIG).is_file():
        base = folder.read_training(Path(out))
    preset, files = arguments.peek(args, "--preset"), _words_of(args, "--cfg-files")
    known = preset if preset in preset_names() else None  # else parsing names the nearest
    start = unchecked(known, files, base=base)
    given = _parse(args, start)
    if given.model_path is None:
        raise UsageError(
            "No output folder given.",
            where="voxterra train",
            next_step="Name a folder: --model_path OUT.",
        )
    training = resolve(
        _changes(given, start), preset=preset, cfg_files=files, base=base, where="voxterra train"
    )
    if base.source_path is not None:
        _check_unchanged(base.config, training.config)
    resume = _resumes(given.model_path, training, resume=given.resume, overwrite=given.overwrite)
    if training.source_path is None:
        if resume:
            raise _nothing_to_resume(given.model_path)
        raise UsageError(
            "No input folder given.",
            where="voxterra train",
            next_step="Name a folder with photos and cameras: --source_path DATA.",
        )
    return Given(training, given.model_path, resume, given.json)


def _kinds() -> dict[str, object]:
    return {**typing.get_type_hints(VoxelConfig), "resume": bool, "overwrite": bool, "json": bool}


def _words_of(args: Sequence[str], flag: str) -> list[Path]:
    """All values of an option that takes several."""
    found: list[Path] = []
    taking = False
    for arg in args:
        name, equals, value = arg.partition("=")
        if arg.startswith("--"):
            taking = name == flag
            found = [] if taking else found
            found += [Path(value)] if taking and equals else []
        elif taking:
            found.append(Path(arg))
    return found


def _parse(args: Sequence[str], start: Training) -> TrainArguments:
    """The arguments; options that are not given are those of `start`, as the help shows too."""

    @dataclass(frozen=True)
    class Arguments(TrainArguments):
        options: Annotated[VoxelConfig, tyro.conf.arg(name="")] = start.config

    return arguments.parse(
        Arguments, args, verb="train", description=DESCRIPTION, options=start.config
    )


def _changes(given: TrainArguments, start: Training) -> dict[str, object]:
    """What the command line adds to `start`."""
    asked = {f.name: getattr(given.options, f.name) for f in fields(VoxelConfig)}
    changes = {k: v for k, v in asked.items() if v != getattr(start.config, k)}
    own = {"source_path": given.source_path, "image_dir_name": given.image_dir_name}
    return {**changes, **{k: v for k, v in own.items() if v is not None}}


def _resumes(model_path: Path, training: Training, *, resume: bool, overwrite: bool) -> bool:
    """Whether a training resumes from its folder: if requested, or if the same training was stopped
    there.

    Raises:
        UsageError: the folder is a file, or holds another model.
    """
    if resume and overwrite:
        raise UsageError(
            "A training cannot both resume and start over.",
            where="--resume, --overwrite",
            next_step="Give one of them.",
        )
    if model_path.exists() and not model_path.is_dir():
        raise UsageError(
            "The model needs a folder; this is a file.",
            where=f"--model_path {model_path}",
            next_step="Give a folder; it may be a new one.",
        )
    if resume or overwrite or not folder.is_model_folder(model_path):
        return resume
    if not (model_path / folder.MODEL).is_file() and folder.holds(training, model_path):
        return True
    raise UsageError(
        "This folder holds a model already.",
        where=str(model_path),
        next_step="Give --resume to train it further, --overwrite to start over, or another "
        "folder.",
    )


def _nothing_to_resume(model_path: Path) -> InputError:
    """The error for a folder given with `--resume`, without photos, that cannot be resumed."""
    new = f"or start a training there: voxterra train --source_path DATA --model_path {model_path}"
    if (model_path / folder.CONFIG).is_file():  # the surface step of a run
        return InputError(
            "The folder of this model does not record which photos it was trained on.",
            where=str(model_path / folder.CONFIG),
            next_step="Name their folder: --source_path DATA (that of the run, for its surface).",
        )
    what = "holds no training to resume" if model_path.is_dir() else "does not exist"
    return InputError(
        f"The folder of the model {what}.",
        where=f"--model_path {model_path}",
        next_step=f"Check the path, {new}.",
    )


# What has shaped a training by the time its first checkpoint is written.
_BEGUN = (
    "bound", "bound_mode", "bound_scale", "outside_level", "init", "stereo", "stereo_size",
    "init_level", "init_n_level", "init_pixels", "init_band", "seed", "white_background",
    "black_background", "mask_mode",
)  # fmt: skip


def _check_unchanged(begun: VoxelConfig, now: VoxelConfig) -> None:
    """Refuse options that a resumed training would not follow.

    Raises:
        UsageError: one of them changed.
    """
    for name in _BEGUN:
        if getattr(begun, name) != getattr(now, name):
            raise UsageError(
                f"The training began with {name} = {getattr(begun, name)}; that cannot change now.",
                where=f"--{name}",
                next_step="Leave the option out to resume, or start over (--overwrite).",
            )
