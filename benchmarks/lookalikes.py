"""Two or three far parts of a rendered façade that repeats: as they come out with and without a
look at what differs, and how long the look takes.

    OMP_NUM_THREADS=1 python benchmarks/lookalikes.py OUT

One thread, 640 x 480 px, known focal length, no GPS. Prints a row of a table each.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

import repeating_facade as facade

from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.registration import Registration
from voxterra.core.transforms import fit_similarity
from voxterra.sfm.ambiguity import split
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct

WALK = list(np.arange(8, 17, 1.5))
CONFIG = SfmConfig(deterministic=True)
# Share of the surface that does not repeat, and how many bays the parts lie apart.
CASES: list[tuple[float, tuple[float, ...]]] = [
    (0.1, (0, 8)), (0.2, (0, 8)), (0.35, (0, 8)), (0.6, (0, 8)), (0.35, (0, 4)), (0.35, (0, 8.175)),
    (0.35, (0, 5, 10)),
]  # fmt: skip


def photographed(folder: Path, own: float, bays: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Photos of the parts; the camera's centre of each by name."""
    xs = [x + n * facade.BAY_M for n in bays for x in WALK]
    return facade.write_walk(folder, facade.build(own), xs)


def photo_set(folder: Path) -> PhotoSet:
    photos = [
        Photo(
            id=path.name, path=path, width=facade.WIDTH, height=facade.HEIGHT, sha256=path.name,
            focal_px=facade.FOCAL_PX, camera_key="camera",
        )
        for path in sorted(folder.iterdir())
    ]  # fmt: skip
    return PhotoSet(folder, tuple(photos))


def described(found: Registration, centers: dict[str, np.ndarray]) -> str:
    """Such as "6 (0.03 m) + 6 (0.01 m)": photos of each component and its worst camera."""
    parts = []
    for component in found.components:
        true = np.array([centers[image.name] for image in component.images])
        mine = component.centers_in_world()
        off = np.linalg.norm(fit_similarity(mine, true).apply(mine) - true, axis=1)
        parts.append(f"{len(component.images)} ({off.max():.2f} m)")
    return " + ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    looked: list[float] = []
    usual = split.find_look_alikes

    def timed(*args, **options):
        begun = time.process_time()
        found = usual(*args, **options)
        looked.append(time.process_time() - begun)
        return found

    split.find_look_alikes = timed
    print("| not repeated | bays apart | without | with | look | all before |")
    print("|---|---|---|---|---|---|")
    for own, bays in CASES:
        root = out / f"{own}_{'_'.join(map(str, bays))}"
        centers = photographed(root / "photos", own, bays)
        photos, rows, seconds = photo_set(root / "photos"), [], []
        for wanted in ("never", "auto"):
            begun = time.process_time()
            looked.clear()
            config = replace(CONFIG, split_lookalikes=wanted)
            rows.append(described(reconstruct(photos, config, work_dir=root / "work"), centers))
            seconds.append(time.process_time() - begun)
        steps = ", ".join(f"{n:g}" for n in bays[1:])
        print(
            f"| {100 * own:.0f} % | {steps} | {rows[0]} | {rows[1]} | {sum(looked):.1f} s | "
            f"{seconds[0]:.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
