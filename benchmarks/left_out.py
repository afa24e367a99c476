"""How long matching photos again takes that were left out, part by part, beside all before.

    OMP_NUM_THREADS=1 python benchmarks/left_out.py [SET ...]

Prints rows of the second table in `results/left_out.md`. Default options but for one thread;
seconds are of the processor.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from measure import DATA
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.registration import Registration
from voxterra.core.transforms import fit_similarity
from voxterra.errors import NoOverlapError
from voxterra.sfm import reconstruct, solve
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.retry import left_out, rematch

# Focal lengths that EXIF would state [px]; others' photos have EXIF or go without.
FOCAL_PX = {"indoor_rgbd_7scenes": 520.0, "dtu_scan24": 2890.0, "fountain_p11": 1380.0}

# Every n-th photo of a set, from photo m on.
SETS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "indoor, 8 from 0": (("indoor_rgbd_7scenes", 8, 0),),
    "indoor, 6 from 3": (("indoor_rgbd_7scenes", 6, 3),),
    "fountain, 5 from 0": (("fountain_p11", 5, 0),),
    "dtu, 5 from 0": (("dtu_scan24", 5, 0),),
    "dtu, 6 from 0": (("dtu_scan24", 6, 0),),
    "beach and street": (("uav_brighton_beach", 2, 0), ("street_lund", 4, 0)),
    "four places": (
        ("uav_brighton_beach", 2, 0), ("street_lund", 2, 0),
        ("dtu_scan24", 12, 0), ("indoor_rgbd_7scenes", 8, 0),
    ),
}  # fmt: skip

# Functions, where they are called, and what of the time they are.
_PARTS = (
    (reconstruct, "extract_features", "features"),
    (reconstruct, "match_pairs", "matching"),
    (solve, "map_attempt", "mapping"),
    (solve, "register_left_out", "again"),
    (rematch, "extract_features", "hardened features"),
    (rematch, "match_pairs", "matching again"),
    (left_out, "map_attempt", "mapping again"),
)


def photos_of(name: str, step: int, start: int) -> tuple[Photo, ...]:
    """Photos of a set without GPS, with the focal length that is known of them."""
    found = []
    for path in sorted((DATA / name / "images").iterdir())[start::step]:
        with Image.open(path) as image:
            width, height = image.size
            focal_35mm = image.getexif().get_ifd(0x8769).get(0xA405)
        focal = float(focal_35mm) / 36.0 * max(width, height) if focal_35mm else None
        found.append(
            Photo(
                id=f"{name}/{path.name}", path=path, width=width, height=height,
                sha256=path.name, focal_px=FOCAL_PX.get(name, focal), camera_key=name,
            )
        )  # fmt: skip
    return tuple(found)


@contextmanager
def timed(seconds: Counter[str]) -> Iterator[None]:
    """Adds up the processor time of all parts."""

    def counting(usual: Callable[..., Any], what: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return usual(*args, **options)
            finally:
                seconds[what] += time.process_time() - start

        return call

    patches = [patch.object(m, n, counting(getattr(m, n), what)) for m, n, what in _PARTS]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def error_percent(name: str, found: Registration) -> str:
    """Largest error of a camera of the largest component, in % of the extent of all of the set."""
    if name not in ("dtu_scan24", "indoor_rgbd_7scenes"):
        return ""
    component = found.components[0]
    truth = true_centers(name)
    true = np.array([truth[Path(image.name).name] for image in component.images])
    centers = component.centers_in_world()
    off = np.linalg.norm(fit_similarity(centers, true).apply(centers) - true, axis=1)
    extent = np.linalg.norm(np.ptp(np.array(list(truth.values())), axis=0))
    return f"{100 * off.max() / extent:.2g} %"


def true_centers(name: str) -> dict[str, np.ndarray]:
    """Where the cameras of a set were, by file name."""
    names = sorted(path.name for path in (DATA / name / "images").iterdir())
    if name == "dtu_scan24":
        matrices = np.load(DATA / name / "cameras_sphere.npz")
        each = [matrices[f"world_mat_{int(Path(n).stem)}"][:3] for n in names]
        return {n: -np.linalg.solve(p[:, :3], p[:, 3]) for n, p in zip(names, each, strict=True)}
    poses = [DATA / name / "poses" / n.replace("color.jpg", "pose.txt") for n in names]
    return {n: np.loadtxt(pose)[:3, 3] for n, pose in zip(names, poses, strict=True)}


def row(title: str, config: SfmConfig) -> str:
    """One set's row of the table."""
    parts = SETS[title]
    photos = tuple(photo for part in parts for photo in photos_of(*part))
    seconds: Counter[str] = Counter()
    models: list[list[int]] = []
    usual = left_out.register_left_out

    def looked_at(task: Any, best: Any, progress: Any) -> Any:
        models.append([model.num_reg_images() for model in best.models])
        return usual(task, best, progress)

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(solve, "register_left_out", looked_at),
        timed(seconds),
    ):
        try:
            found = reconstruct.reconstruct(PhotoSet(DATA, photos), config, work_dir=Path(folder))
        except NoOverlapError:
            found = Registration((), (), ())
    now = [len(component.images) for component in found.components]
    error = error_percent(parts[0][0], found) if len(parts) == 1 and now else ""
    before = seconds["features"] + seconds["matching"] + seconds["mapping"]
    cells = [title, len(photos), _sizes(models[0]), _sizes(now), error]
    cells += [f"{seconds[what]:.1f}" for _, _, what in _PARTS if what != "again"]
    return "| " + " | ".join(map(str, [*cells, f"{seconds['again'] / before:.1f}"])) + " |"


def _sizes(counts: list[int]) -> str:
    return " + ".join(map(str, counts)) or "none"


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SETS:
        print(row(chosen, replace(SfmConfig(), threads=1)), flush=True)
