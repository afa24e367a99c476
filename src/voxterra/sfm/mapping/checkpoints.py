"""Finished models and snapshots of growing ones on disk, so that a stopped run can resume.

Finished models are always read back from disk, so they are equal to the last bit whether this
process made them or an earlier one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pycolmap

from voxterra.errors import FormatError
from voxterra.io.colmap.model import read_colmap
from voxterra.io.files.atomic import sync_tree
from voxterra.io.files.disk import cannot_write

SNAPSHOT_PHOTOS = 25
"""Photos registered between two snapshots of a growing model."""


def folder_for(database: Path, *inputs: Any) -> Path:
    """Folder of the models made from a database with these inputs (anything with a `repr`)."""
    digest = hashlib.sha256(repr((database.name, *inputs)).encode()).hexdigest()[:16]
    return database.with_name(f"models-{digest}")


def read_finished(folder: Path) -> list[pycolmap.Reconstruction] | None:
    """Read the models that `write_finished` wrote; None where there are none."""
    if not folder.is_dir():
        return None
    found = sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    return [pycolmap.Reconstruction(path) for path in found]


def write_finished(
    models: list[pycolmap.Reconstruction], folder: Path
) -> list[pycolmap.Reconstruction]:
    """Write models into `folder`, all or none, delete the snapshots, and read the models back."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for index, model in enumerate(models):
        (partial / str(index)).mkdir(parents=True)
        model.write(partial / str(index))
        _check_written(partial / str(index), model)
    partial.mkdir(exist_ok=True)
    sync_tree(partial)
    os.replace(partial, folder)
    shutil.rmtree(snapshots(folder), ignore_errors=True)
    return read_finished(folder) or []


def _check_written(path: Path, model: pycolmap.Reconstruction) -> None:
    """Find an incomplete model: COLMAP does not notice a full disk."""
    try:
        written = read_colmap(path)
        whole = len(written.points) == model.num_points3D()
    except FormatError:
        whole = False
    if not whole:
        raise cannot_write(OSError("its content is not what was written"), path)


def snapshots(folder: Path) -> Path:
    """Folder of snapshots of growing models, each in a folder named by its time."""
    return folder.with_name(folder.name + ".growing")


def largest_snapshot(folder: Path) -> tuple[Path, int] | None:
    """Find the snapshot to resume from and its number of photos; None where none is readable."""
    best: tuple[Path, int] | None = None
    for path in _by_time(folder):
        try:
            count = len(read_colmap(path).images)
        except FormatError:  # the run was killed while it was written
            continue
        if best is None or count >= best[1]:
            best = path, count
    return best


def prune_snapshots(folder: Path) -> None:
    """Delete all snapshots but the last two; the last may still be incomplete."""
    for path in _by_time(folder)[:-2]:
        shutil.rmtree(path, ignore_errors=True)


def _by_time(folder: Path) -> list[Path]:
    growing = snapshots(folder)
    return sorted(growing.iterdir()) if growing.is_dir() else []
