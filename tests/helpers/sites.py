"""Photos of several places that share no view, drawn: one on the map, one far away, one nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.testing import look_at, photograph


@dataclass(frozen=True)
class Place:
    """A piece of ground with a house on it, flown over in two lines.

    Attributes:
        name: its photos begin with it.
        seed: of its colours.
        columns: photos in each line.
        lonlat: of its middle, None = its photos record no position.
    """

    name: str
    seed: int
    columns: int
    lonlat: tuple[float, float] | None


LAKE = Place("lake", 1, 4, (-91.9944, 46.8427))
CITY = Place("city", 2, 3, (13.4004, 52.5189))
LOST = Place("lost", 3, 3, None)
SPACING_M, HEIGHT_M = 3.0, 12.0  # of the photos, above the ground
FOCAL_35MM = 30  # as EXIF has it
GROUND_M = 150.0  # height of the ground


def draw(folder: Path, *places: Place) -> Path:
    """Write photos of the places, and `meta.csv` with their positions, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["filename,lat,lon,alt"]
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = FOCAL_35MM
    for place in places:
        views = [
            look_at(
                f"{place.name}_{row}{column}.jpg",
                (x, y, HEIGHT_M),
                (0.9 * x, 0.9 * y + 0.5, 0.0),
                width=480,
                height=360,
                focal_px=480 * FOCAL_35MM / 36,
            )
            for row, y in enumerate((-SPACING_M / 2, SPACING_M / 2))
            for column, x in enumerate(SPACING_M * (np.arange(place.columns) - 1.0))
        ]
        maps = photograph(_ground(), views, partial(_paint, seed=place.seed))
        for view, pixels in zip(views, maps.colors):
            Image.fromarray(pixels).save(folder / view.name, quality=95, exif=exif)
            if place.lonlat is not None:
                frame = GeoFrame("geo", *place.lonlat, GROUND_M)
                center = -view.cam_from_world[:, :3].T @ view.cam_from_world[:, 3]
                lon, lat, height = frame.to_lonlat(center[None])[0]
                lines.append(f"{view.name},{lat:.9f},{lon:.9f},{height:.3f}")
    (folder / "meta.csv").write_text("\n".join(lines) + "\n")
    return folder


def _ground() -> TriMesh:
    ground = trimesh.creation.box((60, 60, 0.1)).apply_translation((0, 0, -0.05))
    house = trimesh.creation.box((3, 2, 2)).apply_translation((0.5, 0.5, 1))
    shed = trimesh.creation.box((1.5, 1.5, 1)).apply_translation((-3, -1, 0.5))
    both = trimesh.util.concatenate([ground, house, shed])
    return TriMesh(np.asarray(both.vertices, np.float32), np.asarray(both.faces, np.int32))


def _paint(points: np.ndarray, seed: int) -> np.ndarray:
    """Smooth noise of two sizes, so that no two places look alike; walls are not striped."""
    across = points[:, :2] + points[:, 2:] * (0.37, 0.61)
    return 0.5 * (_noise(across, 0.35, seed) + _noise(across, 0.09, seed + 100))


def _noise(xy: np.ndarray, cell_m: float, seed: int) -> np.ndarray:
    """(N, 3) colours between those of random ones on a lattice."""
    n = 512
    lattice = np.random.default_rng(seed).uniform(0, 1, (n, n, 3))
    at = xy / cell_m + n / 2
    low = np.floor(at).astype(int)
    part = at - low
    (c, r), (u, v) = low.T % n, part.T[..., None]
    right, below = (c + 1) % n, (r + 1) % n
    top = lattice[r, c] * (1 - u) + lattice[r, right] * u
    bottom = lattice[below, c] * (1 - u) + lattice[below, right] * u
    return np.asarray(top * (1 - v) + bottom * v)
