"""Where a trained model keeps its files.

`config.yaml` (all options as resolved), `model.npz`, `checkpoints/`, `pg_view/` (pictures of the
progress), `test_stat/` (figures) and `test_view/` (what held-out views show), as SVRaster's users
know them.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from voxterra.core.voxels import VoxelModel
from voxterra.errors import InputError, OutputError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.voxels import read_voxels, write_voxels
from voxterra.surface.voxels.options import Training, read_values, resolve

CONFIG = "config.yaml"
MODEL = "model.npz"
CHECKPOINTS = "checkpoints"
PROGRESS_VIEW = "pg_view"
TEST_STAT = "test_stat"
TEST_VIEW = "test_view"
VIEWS = "views.json"
MESHES = {"sdf": "mesh", "tsdf": "mesh_tsdf"}
"""Names of the meshes of each method, without their endings ..."""
MESH_KINDS = (".ply", ".glb")
"""... and these."""


def is_model_folder(folder: Path) -> bool:
    """Whether a training has been started in a folder."""
    return (folder / CONFIG).is_file() and (
        (folder / MODEL).is_file() or (folder / CHECKPOINTS).is_dir()
    )


def clear(folder: Path) -> None:
    """Delete what an earlier training left, so that nothing of it passes for the next one's.

    Its meshes too. `stereo/` stays: it is of the photos, and checked against them when it is used.

    Raises:
        OutputError: the file system refuses.
    """
    try:
        meshes = (stem + kind for stem in MESHES.values() for kind in MESH_KINDS)
        for name in (CONFIG, MODEL, VIEWS, *meshes):
            (folder / name).unlink(missing_ok=True)
        for name in (CHECKPOINTS, PROGRESS_VIEW, TEST_STAT, TEST_VIEW):
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
    except OSError as error:
        raise OutputError(
            f"The earlier model cannot be deleted: {error.strerror or error}.",
            where=str(folder),
            next_step="Give another folder, or see to its permissions.",
        ) from error


def write_training(training: Training, folder: Path) -> None:
    """Write `config.yaml`.

    Raises:
        OutputError: it cannot be written.
    """
    import yaml

    source = training.source_path
    data = {
        "source_path": None if source is None else str(source.absolute()),
        "image_dir_name": training.image_dir_name,
        **asdict(training.config),
    }
    with atomic_path(folder / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def read_training(folder: Path) -> Training:
    """Photos and options of the last training in a folder.

    Raises:
        InputError: there was none.
        UsageError: it has options that this version does not know.
        FormatError: the file is damaged.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise _no_model(folder)
    return resolve(read_values(file), where=str(file))


def holds(training: Training, folder: Path) -> bool:
    """Whether the last training in a folder was this very one."""
    source = training.source_path
    here = replace(training, source_path=None if source is None else source.absolute())
    return (folder / CONFIG).is_file() and read_training(folder) == here


def write_model(model: VoxelModel, folder: Path, *, quantized: bool) -> Path:
    """Write `model.npz`; returns its path.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / MODEL
    write_voxels(model, path, quantized=quantized)
    return path


def read_model(folder: Path) -> VoxelModel:
    """The trained model of a folder.

    Raises:
        InputError: there is none, or its training has not come to an end.
        FormatError: the file is damaged.
    """
    path = folder / MODEL
    if path.is_file():
        return read_voxels(path)
    if is_model_folder(folder):
        raise InputError(
            "The training in this folder has not come to its end.",
            where=str(folder),
            next_step=f"Resume it: voxterra train --model_path {folder} --resume.",
        )
    raise _no_model(folder)


def with_source(training: Training, source_path: Path | None) -> Training:
    """The training, with photos that may have moved since.

    Raises:
        InputError: it is not known where the photos are.
    """
    if source_path is not None:
        return replace(training, source_path=source_path)
    if training.source_path is None:
        raise InputError(
            "It is not known where the photos of this model are.",
            where=CONFIG,
            next_step="Name their folder with --source_path.",
        )
    return training


def _no_model(folder: Path) -> InputError:
    return InputError(
        "There is no trained model here.",
        where=str(folder),
        next_step=f"Train one: voxterra train --source_path DATA --model_path {folder}.",
    )
