"""The depth source 'sweep': it fills what stands in holes of photos from above."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from voxterra.core.bands import Bands, bands_of_color
from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.progress import no_progress
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.source import DepthInputs, DepthTask
from voxterra.depth.sparse import SparseDepth
from voxterra.depth.sweep.canopy import canopy_of
from voxterra.depth.sweep.config import SweepConfig
from voxterra.depth.sweep.source import SweepSource

FLYING, CROWN, HALF = 40.0, 8.0, 5.0  # heights, and half the width of a flat "crown" [m]
WIDTH, HEIGHT, FOCAL = 400, 300, 320.0
TEXTURE = np.random.default_rng(3).uniform(0, 255, (400, 400)).astype(np.float32)


def view_from(x: float) -> PinholeView:
    """A view straight down; rows run to the south."""
    K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
    R = np.diag([1.0, -1.0, -1.0])
    pose = np.column_stack([R, -R @ [x, 0.0, FLYING]])
    camera = Camera("PINHOLE", WIDTH, HEIGHT, (FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))
    return PinholeView(f"{x:g}.jpg", K, pose, WIDTH, HEIGHT, camera)


def seen_from(x: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of ground and crown, and which pixels show the crown."""
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    on_crown = x + (u - WIDTH / 2) / FOCAL * (FLYING - CROWN)
    across = (v - HEIGHT / 2) / FOCAL * (FLYING - CROWN)
    crown = (np.abs(on_crown) < HALF) & (np.abs(across) < HALF)
    return np.where(crown, FLYING - CROWN, FLYING).astype(np.float32), crown


@dataclass(frozen=True)
class Scene:
    """Photos of a textured plane with a crown, whose depth maps have a hole there."""

    views: tuple[PinholeView, ...]
    source_names: tuple[str, ...] = ("stereo",)

    def load_color(self, index: int) -> np.ndarray:
        x = self.views[index].center_in_world[0]
        depth, crown = seen_from(x)
        u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
        east = x + (u - WIDTH / 2) / FOCAL * depth
        south = (v - HEIGHT / 2) / FOCAL * depth
        at = [np.float32(a * 4 + 200 + 60 * crown) for a in (east, south)]  # texels of 25 cm
        gray = cv2.remap(TEXTURE, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.repeat(gray.astype(np.uint8)[..., None], 3, -1)

    def load_bands(self, index: int) -> Bands:
        return bands_of_color(self.load_color(index))

    def load_mask(self, index: int) -> None:
        return None

    def load(self, index: int) -> DepthMap:
        depth, crown = seen_from(self.views[index].center_in_world[0])
        normal = np.zeros((*depth.shape, 3), np.float32)
        known = cv2.dilate(crown.astype(np.uint8), np.ones((9, 9))) == 0
        return DepthMap(self.views[index], depth, normal, known.astype(np.float32)).kept(known)


def inputs_of(views: tuple[PinholeView, ...], folder: Path) -> DepthInputs:
    points = SparseDepth(np.full((1, 2), 50.0), np.array([FLYING]), (1 / 60, 1 / 25))
    count = len(views)
    others = [tuple(j for j in range(count) if j != i) for i in range(count)]
    tasks = tuple(DepthTask(v, (WIDTH, HEIGHT), o, points) for v, o in zip(views, others))
    return DepthInputs(tasks, Scene(views), tuple(range(count)), folder)


@pytest.fixture
def flight() -> tuple[PinholeView, ...]:
    return tuple(view_from(x) for x in (-9.0, -4.0, 1.0, 6.0))


def test_a_crown_is_filled_and_marked(flight, tmp_path: Path) -> None:
    inputs = inputs_of(flight, tmp_path)
    maps = dict(SweepSource().fill(inputs, Scene(flight), SweepConfig(), no_progress))
    assert sorted(maps) == [0, 1, 2, 3]
    for x, found in zip((-9.0, -4.0, 1.0, 6.0), maps.values(), strict=True):
        depth, crown = seen_from(x)
        known = found.depth > 0
        assert known[crown].mean() > 0.8  # but for its edges
        assert np.abs(found.depth - depth)[known & crown].max() < 0.5
        assert known[~crown].mean() < 0.03  # none of the ground, which is known
        assert (found.support[known] == SurfaceSource.COARSE).all()
    overlap = maps[1].depth[maps[2].depth.shape[0] // 2]
    assert np.ptp(overlap[overlap > 0]) < 0.5  # flat, as the crown is


def test_photos_that_look_across_are_left_alone(flight, tmp_path: Path) -> None:
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks north
    across = tuple(
        PinholeView(v.name, v.K, np.column_stack([turn, -turn @ v.center_in_world]), WIDTH,
                    HEIGHT, v.camera)
        for v in flight
    )  # fmt: skip
    inputs = inputs_of(across, tmp_path)
    assert not list(SweepSource().fill(inputs, Scene(across), SweepConfig(), no_progress))


def test_a_canopy_closes_gaps_and_drops_lone_points() -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.arange(20) + 0.5, np.arange(20) + 0.5))
    whole = np.column_stack([x, y, np.full(400, 7.0)])
    points = np.vstack([whole[(x != 10.5) | (y != 10.5)], [[60.5, 60.5, 30.0], [5.5, 5.5, 90.0]]])
    canopy = canopy_of([points], 1.0)
    inner = (canopy.row < 20) & (canopy.row >= 0) & (canopy.column < 20) & (canopy.column >= 0)
    assert inner.sum() == 400 and (canopy.height == 7.0).all()
    assert not (canopy.row > 30).any()
    far = canopy_of([points + np.array([0, 300.0, 0]), points], 1.0)  # over several stripes of rows
    assert len(far.row) == 2 * len(canopy.row) and (np.diff(far.row) >= 0).all()
    assert len(canopy_of([], 1.0).row) == 0
