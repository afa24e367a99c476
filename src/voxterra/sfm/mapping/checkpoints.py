"""What mapping has made, or is making, kept on disk so that a stopped run need not make it again.

Finished models are always read from the disk, so that they are the same to the last bit whether
this process made them or an earlier one.
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
"""So many photos find a place between two snapshots of a model that grows."""


def folder_for(database: Path, *question: Any) -> Path:
    """Where the models of a database go that answer this question (anything with a `repr`)."""
    digest = hashlib.sha256(repr((database.name, *question)).encode()).hexdigest()[:16]
    return database.with_name(f"models-{digest}")


def finished(folder: Path) -> list[pycolmap.Reconstruction] | None:
    """The models that `finish` put into `folder`; None where it did not."""
    if not folder.is_dir():
        return None
    found = sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    return [pycolmap.Reconstruction(path) for path in found]


def finish(models: list[pycolmap.Reconstruction], folder: Path) -> list[pycolmap.Reconstruction]:
    """Keep models in `folder`, all of them or none, in place of the snapshots; reads them back."""
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
    return finished(folder) or []


def _check_written(path: Path, model: pycolmap.Reconstruction) -> None:
    """COLMAP does not notice that a disk is full."""
    try:
        written = read_colmap(path)
        whole = len(written.points) == model.num_points3D()
    except FormatError:
        whole = False
    if not whole:
        raise cannot_write(OSError("what is in it is not what was written"), path)


def snapshots(folder: Path) -> Path:
    """Where COLMAP writes models that still grow, each into a folder named by its time."""
    return folder.with_name(folder.name + ".growing")


def largest_snapshot(folder: Path) -> tuple[Path, int] | None:
    """The snapshot to go on from and its number of photos; None where none can be read."""
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
    """Delete all snapshots but the last two, the last of which may still be being written."""
    for path in _by_time(folder)[:-2]:
        shutil.rmtree(path, ignore_errors=True)


def _by_time(folder: Path) -> list[Path]:
    growing = snapshots(folder)
    return sorted(growing.iterdir()) if growing.is_dir() else []
