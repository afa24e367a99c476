"""Every reader of what a user hands in, on damaged files: a result or an error of Voxterra.

Nothing else may come out: no other exception, no hang, no memory that a forged length asks for.
`benchmarks/fuzz.py` does the same through the command line, in processes of their own.
"""

from __future__ import annotations

import shutil
import signal
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from good_inputs import write_good_inputs
from mutate import BYTES, JSON, TEXT, Mutation, damaged

from voxterra.errors import VoxterraError
from voxterra.ingest.ingest import ingest_photos
from voxterra.io.archive import extract_zip
from voxterra.io.colmap.model import read_cameras, read_colmap
from voxterra.io.geojson import read_polygons
from voxterra.io.idr import read_idr_cameras
from voxterra.io.meta_csv import read_meta_csv
from voxterra.io.nerf import read_transforms
from voxterra.io.ply import read_ply
from voxterra.io.scale_bars import read_scale_bars
from voxterra.io.xmp import read_xmp
from voxterra.pipeline.recipe.config_file import read_options
from voxterra.pipeline.recipe.presets import preset

SECONDS = 10
MEMORY_BYTES = 300_000_000


@dataclass(frozen=True)
class Reader:
    """How a format is read, which of its files are damaged, and in how many ways."""

    good: str
    read: Callable[[Path], object]
    kinds: tuple[Mutation, ...]
    files: tuple[str, ...] = ("",)
    cases: int = 60


def unpack(path: Path) -> None:
    extract_zip(path, path.parent / "out", frozenset({".jpg", ".csv"}), max_bytes=10_000_000)


def photo(path: Path) -> object:
    return ingest_photos(path, work_dir=path.parent)


def cameras(path: Path) -> object:
    return read_cameras(path)


PARTS = ("cameras", "images", "points3D")
BINARY, TEXTUAL = tuple(f"{p}.bin" for p in PARTS), tuple(f"{p}.txt" for p in PARTS)
READERS = {
    "jpeg with exif and xmp": Reader("photo.jpg", photo, BYTES, cases=120),
    "png": Reader("photo.png", photo, BYTES, cases=40),
    "tiff": Reader("photo.tif", photo, BYTES, cases=40),
    "xmp": Reader("drone.xmp", lambda p: read_xmp(p.read_bytes()), TEXT, cases=120),
    "meta.csv": Reader("meta.csv", read_meta_csv, TEXT, cases=120),
    "scale bars": Reader("bars.csv", read_scale_bars, TEXT, cases=120),
    "area of interest": Reader("area.geojson", read_polygons, JSON, cases=160),
    "transforms.json": Reader("transforms.json", read_transforms, JSON, cases=160),
    "config": Reader("config.yaml", lambda p: read_options(p, preset("preview")), TEXT, cases=24),
    "zip": Reader("photos.zip", unpack, BYTES, cases=120),
    "colmap binary": Reader("colmap_binary", read_colmap, BYTES, BINARY, 180),
    "colmap text": Reader("colmap_text", read_colmap, TEXT, TEXTUAL, 180),
    "ply": Reader("mesh.ply", read_ply, BYTES, cases=120),
    "ply, ascii": Reader("mesh_ascii.ply", read_ply, TEXT, cases=120),
    "cameras of IDR": Reader("cameras_sphere.npz", read_idr_cameras, BYTES, cases=120),
    "cameras.bin": Reader("colmap_binary", cameras, BYTES, ("cameras.bin",)),
    "cameras.txt": Reader("colmap_text", cameras, TEXT, ("cameras.txt",)),
}


@contextmanager
def limits(case: str) -> Iterator[None]:
    """Fail instead of hanging or filling the memory."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"{case}: still reading after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < MEMORY_BYTES, f"{case}: {peak / 1e6:.0f} MB"
    finally:
        tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no alarm")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_a_result_or_an_error_of_voxterra(
    name: str, tmp_path: Path, every: Callable[[int], int]
) -> None:
    reader = READERS[name]
    good = write_good_inputs(tmp_path / "good")[reader.good]
    reader.read(good)  # the good file is one
    refused, seeds = 0, range(0, reader.cases, every(7))
    for seed in seeds:
        target = tmp_path / "bad" / reader.good
        shutil.rmtree(target.parent, ignore_errors=True)
        file = reader.files[(seed + seed // len(reader.kinds)) % len(reader.files)]
        if file:
            shutil.copytree(good, target)
        else:
            target.parent.mkdir()
        what, content = damaged((good / file).read_bytes(), seed, reader.kinds)
        (target / file).write_bytes(content)
        one = target / file if "cameras." in name else target
        case = f"{name} {file} seed {seed} ({what})"
        with limits(case), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # NumPy's, which would reach stderr
            try:
                reader.read(one)
            except VoxterraError as error:
                refused += 1
                assert error.next_step and error.what, case
            except Exception as error:
                raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    if name != "xmp":  # which picks out what can be read, and never raises
        assert refused > len(seeds) // 8, "damage that no reader notices tests nothing"
