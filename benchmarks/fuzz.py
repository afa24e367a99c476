"""Damaged inputs through the command line, each in a process of its own.

    python benchmarks/fuzz.py                   # all cases; writes results/fuzz.json
    python benchmarks/fuzz.py --case 123        # one again, with what it printed

Each case damages one good file (`tests/helpers/mutate.py`, seeded) and gives it to `voxterra`. What
must come out: exit code 0, or that of an error with a next step; no traceback, no internal error,
no end by a signal; in less than 60 s and 4 GB; nothing half-written: a converted file is whole or
not there, a run folder holds no temporary files, no stage without its record and no product that no
stage names. The photos of whole runs are those of the demo, reduced.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from measure import REPO, setting, write_result

sys.path.insert(0, str(REPO / "tests" / "helpers"))

from good_inputs import photo_bytes, write_good_inputs
from mutate import BYTES, JSON, TEXT, Mutation, damaged
from run_folders import half_written

from voxterra.errors import EXIT_CODES
from voxterra.io.colmap.model import read_colmap
from voxterra.io.nerf import read_transforms

VOXTERRA = [sys.executable, "-m", "voxterra"]
LIMIT_S, LIMIT_BYTES = 60.0, 4 << 30
WORDS = re.compile(r"Traceback|Internal error|Fatal Python|terminate called|Check failed")


@dataclass(frozen=True)
class Kind:
    """Cases of one sort: which good file is damaged, and what voxterra is told to do with it."""

    good: str
    kinds: tuple[Mutation, ...]
    command: Callable[[Path, Path], list[str]]
    cases: int
    files: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Outcome:
    """What a case came to.

    Attributes:
        code: exit status; None where it was ended after `LIMIT_S`.
        faults: what must not be; empty where all is well.
    """

    name: str
    what: str
    code: int | None
    wall_s: float
    rss_bytes: int
    faults: tuple[str, ...]
    said: str


def _inspect(bad: Path, out: Path) -> list[str]:
    return ["inspect", str(bad), "--json"]


def _block_of_photo(bad: Path, out: Path) -> list[str]:
    """The damaged block is the XMP, or the EXIF, of a photo that is whole otherwise."""
    block = bad.read_bytes()[:60_000]  # JPEG allows 64 kB
    with Image.open(io.BytesIO(photo_bytes())) as image:
        exif = image.info["exif"] if bad.suffix == ".xmp" else b"Exif\0\0" + block
        xmp = block if bad.suffix == ".xmp" else b""
        image.save(bad.with_suffix(".jpg"), exif=exif, xmp=xmp)
    return ["inspect", str(bad.with_suffix(".jpg")), "--json"]


def _go_on(bad: Path, out: Path) -> list[str]:
    """The run folder is damaged, and its run is to go on."""
    return ["run", "--out", str(bad), "--until", "sfm"]


def _beside_photos(bad: Path, out: Path) -> list[str]:
    """The damaged file lies among good photos."""
    for index, name in enumerate(("a.jpg", "b.jpg", "c, d.jpg")):
        (bad.parent / name).write_bytes(photo_bytes(10 + index))
    return ["run", str(bad.parent), "--out", str(out), "--until", "ingest"]


def _option(flag: str) -> Callable[[Path, Path], list[str]]:
    def command(bad: Path, out: Path) -> list[str]:
        photos = out.with_name("photos")
        photos.mkdir()
        for index in range(2):
            (photos / f"{index}.jpg").write_bytes(photo_bytes(20 + index))
        return ["run", str(photos), "--out", str(out), "--until", "ingest", flag, str(bad)]

    return command


def _run_zip(bad: Path, out: Path) -> list[str]:
    return ["run", str(bad), "--out", str(out), "--until", "ingest"]


def _to_json(bad: Path, out: Path) -> list[str]:
    return ["convert", str(bad), str(out.with_suffix(".json"))]


def _to_colmap(bad: Path, out: Path) -> list[str]:
    return ["convert", str(bad), str(out.with_name("model"))]


def _whole_run(bad: Path, out: Path) -> list[str]:
    """Four photos of the demo and the damaged copy of one, to the products."""
    for path in sorted((REPO / "demo" / "photos").iterdir())[:4]:
        with Image.open(path) as image:
            exif = image.info.get("exif", b"")
            image.thumbnail((640, 640))
            image.save(bad.parent / path.name, exif=exif, quality=90)
    small = ["--depth.max-size", "240", "--depth.color-max-size", "240"]
    return ["run", str(bad.parent), "--out", str(out), "--preset", "preview", *small]


PARTS = ("cameras", "images", "points3D")
OWN_FILES = (
    "voxterra.json",
    "stages/source.json",
    "stages/ingest/fingerprint.json",
    "stages/ingest/photos.json",
    "stages/ingest/root.json",
)
KINDS = {
    "photo (EXIF, XMP)": Kind("photo.jpg", BYTES, _inspect, 40),
    "EXIF block": Kind("photo.exif", BYTES, _block_of_photo, 24),
    "XMP packet": Kind("drone.xmp", TEXT, _block_of_photo, 24),
    "PNG": Kind("photo.png", BYTES, _inspect, 12),
    "TIFF, 16 bit": Kind("photo.tif", BYTES, _inspect, 12),
    "HEIC": Kind("photo.heic", BYTES, _inspect, 16),
    "meta.csv": Kind("meta.csv", TEXT, _beside_photos, 36),
    "zip": Kind("photos.zip", BYTES, _run_zip, 32),
    "COLMAP, binary": Kind("colmap_binary", BYTES, _to_json, 40, tuple(f"{p}.bin" for p in PARTS)),
    "COLMAP, text": Kind("colmap_text", TEXT, _to_json, 36, tuple(f"{p}.txt" for p in PARTS)),
    "transforms.json": Kind("transforms.json", JSON, _to_colmap, 40),
    "--cameras": Kind("colmap_binary/cameras.bin", BYTES, _option("--cameras"), 16),
    "--aoi": Kind("area.geojson", JSON, _option("--aoi"), 32),
    "--scale-bar": Kind("bars.csv", TEXT, _option("--scale-bar"), 24),
    "--config": Kind("config.yaml", TEXT, _option("--config"), 24),
    "a run's own files": Kind("run", JSON, _go_on, 60, OWN_FILES),
    "a photo of a whole run": Kind("demo.jpg", BYTES, _whole_run, 8),
}


def all_cases() -> list[tuple[str, int]]:
    """Kind and seed of every case; the number of a case is its place here."""
    return [(name, seed) for name, kind in KINDS.items() for seed in range(kind.cases)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--case", type=int, help="do this one only, and print what it said")
    given = parser.parse_args()
    cases = all_cases()
    with tempfile.TemporaryDirectory(prefix="voxterra-fuzz-") as folder:
        good = _good_files(Path(folder) / "good")
        if given.case is not None:
            outcome = run_case(*cases[given.case], good, Path(folder) / "case")
            print(outcome.said, outcome, sep="\n")
            return int(bool(outcome.faults))
        started = time.perf_counter()
        outcomes = []
        for number, (name, seed) in enumerate(cases):
            outcome = run_case(name, seed, good, Path(folder) / "case")
            outcomes.append(outcome)
            for fault in outcome.faults:
                print(f"case {number}: {name}, {outcome.what}: {fault}", flush=True)
    result = {"command": "python benchmarks/fuzz.py", **setting(), **summary(outcomes)}
    result["wall_s"] = round(time.perf_counter() - started, 1)
    path = write_result("fuzz", result)
    print(json.dumps({k: result[k] for k in ("cases", "exit_codes", "faults")}))
    print(path.relative_to(REPO))
    return int(bool(result["faults"]["cases"]))


def _good_files(folder: Path) -> Path:
    write_good_inputs(folder)
    shutil.copy(REPO / "tests" / "data" / "tiny.heic", folder / "photo.heic")
    with Image.open(sorted((REPO / "demo" / "photos").iterdir())[1]) as image:
        exif = image.info.get("exif", b"")
        image.thumbnail((640, 640))
        image.save(folder / "demo.jpg", exif=exif, quality=92)
    with Image.open(io.BytesIO(photo_bytes())) as image:
        (folder / "photo.exif").write_bytes(image.info["exif"].removeprefix(b"Exif\0\0"))
    (folder / "two photos").mkdir()
    for index in range(2):
        (folder / "two photos" / f"{index}.jpg").write_bytes(photo_bytes(20 + index))
    run = ["run", str(folder / "two photos"), "--out", str(folder / "run"), "--until", "ingest"]
    subprocess.run([*VOXTERRA, *run], check=True, capture_output=True)
    return folder


def run_case(name: str, seed: int, good: Path, work: Path) -> Outcome:
    """Damage a file, run voxterra on it, look at what it said and left."""
    kind = KINDS[name]
    shutil.rmtree(work, ignore_errors=True)
    source, bad, out = good / kind.good, work / "in" / Path(kind.good).name, work / "out"
    file = kind.files[(seed + seed // len(kind.kinds)) % len(kind.files)]
    bad.parent.mkdir(parents=True)
    if file:
        shutil.copytree(source, bad)
    what, content = damaged((source / file).read_bytes(), seed, kind.kinds)
    (bad / file).write_bytes(content)
    command = kind.command(bad, out)
    started = time.perf_counter()
    code, rss, stdout, stderr = _ended([*VOXTERRA, *command], work)
    wall = time.perf_counter() - started
    said = (stdout + stderr).decode("utf-8", "replace")
    faults = [*_of_ending(code, rss, said), *_of_files(command, out, code, stdout)]
    return Outcome(
        name, f"{file} seed {seed}: {what}".strip(), code, wall, rss, tuple(faults), said
    )


def _ended(command: list[str], work: Path) -> tuple[int | None, int, bytes, bytes]:
    """Exit status (None: ended after `LIMIT_S`), peak memory, and what was printed."""
    streams = work / "stdout", work / "stderr"
    with streams[0].open("wb") as stdout, streams[1].open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdout=stdout,
            stderr=stderr,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        until, killed = time.monotonic() + LIMIT_S, False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until and not killed:
                os.killpg(process.pid, signal.SIGKILL)
                killed = True
            time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    code = None if killed else process.returncode
    return code, usage.ru_maxrss * 1024, streams[0].read_bytes(), streams[1].read_bytes()


def _of_ending(code: int | None, rss_bytes: int, said: str) -> list[str]:
    if code is None:
        return ["hang"]
    faults = [f"traceback: {found.group()}" for found in [WORDS.search(said)] if found]
    if code not in {0, *EXIT_CODES.values()}:
        faults.append(f"exit code {code}")
    if code and not re.search(r"^error.*\n(  where: .*\n)?  next:  \S", said, re.MULTILINE):
        faults.append("no next step")
    if rss_bytes > LIMIT_BYTES:
        faults.append(f"memory: {rss_bytes / 1e9:.1f} GB")
    return faults


def _of_files(command: list[str], out: Path, code: int | None, stdout: bytes) -> list[str]:
    """What must not be left by a command, however it ended."""
    if command[0] == "run":
        return [
            f"half-written: {what}"
            for what in half_written(Path(command[command.index("--out") + 1]))
        ]
    if command[0] == "inspect":
        return _of_json(stdout) if code == 0 else []
    target = Path(command[2])
    left = [p.name for p in target.parent.iterdir() if ".tmp" in p.name]
    faults = [f"half-written: {name}" for name in left]
    if code != 0 and target.exists():
        faults.append(f"half-written: {target.name} of a conversion that failed")
    if code == 0:
        try:
            read_transforms(target) if target.suffix == ".json" else read_colmap(target)
        except Exception as error:
            faults.append(f"half-written: {target.name} cannot be read ({error})")
    return faults


def _of_json(stdout: bytes) -> list[str]:
    try:
        json.loads(stdout)
    except ValueError:
        return ["half-written: no JSON on stdout"]
    return []


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """The figures of all cases."""
    kinds = {}
    for name in KINDS:
        same = [o for o in outcomes if o.name == name]
        codes = Counter(str(o.code) for o in same)
        kinds[name] = {
            "cases": len(same),
            "exit_codes": dict(sorted(codes.items())),
            "longest_s": round(max(o.wall_s for o in same), 1),
            "peak_rss_bytes": max(o.rss_bytes for o in same),
        }
    faults = [fault for o in outcomes for fault in o.faults]
    return {
        "cases": len(outcomes),
        "exit_codes": dict(sorted(Counter(str(o.code) for o in outcomes).items())),
        "faults": {
            "cases": sum(bool(o.faults) for o in outcomes),
            "tracebacks": sum("traceback" in f for f in faults),
            "hangs_over_60_s": sum(f == "hang" for f in faults),
            "half_written": sum("half-written" in f for f in faults),
            "no_next_step": sum(f == "no next step" for f in faults),
            "other_exit_codes": sum("exit code" in f for f in faults),
            "over_4_gb": sum("memory" in f for f in faults),
        },
        "longest_s": round(max(o.wall_s for o in outcomes), 1),
        "peak_rss_bytes": max(o.rss_bytes for o in outcomes),
        "kinds": kinds,
    }


class _Raw(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
