"""Which photos see an area, and the box around what lies in it."""

from __future__ import annotations

import numpy as np
import pytest

from voxterra.core.area import Polygon
from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.depth.area import box_of_area, seeing_area
from voxterra.errors import ReconstructionError

FRAME = GeoFrame("geo", 9.9, 51.5, 200.0, "EPSG:32632")
CAMERA = Camera("SIMPLE_PINHOLE", 100, 80, (100.0, 50.0, 40.0))


def flight() -> Reconstruction:
    """Nadir photos 50 m up, every 20 m from x, y = 0 to 160; each shows 50 x 40 m."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(9) * 20.0, np.arange(9) * 20.0)
    centers = np.column_stack([x.ravel(), y.ravel(), np.full(81, 50.0)])
    down = np.diag([1.0, -1.0, -1.0])
    images = tuple(
        Image(f"{i:02d}.jpg", 1, np.hstack([down, (-down @ c)[:, None]]))
        for i, c in enumerate(centers)
    )
    ground = np.column_stack([rng.uniform(-30, 190, (3000, 2)), rng.uniform(0, 4, 3000)])
    starts, seen, xy, kept = [0], [], [], []
    for k, point in enumerate(ground):
        in_cam = (point - centers) @ down.T
        pixels = in_cam[:, :2] / in_cam[:, 2:] * 100.0 + [50.0, 40.0]
        by = np.flatnonzero(((pixels > 0) & (pixels < [100, 80])).all(1))
        if len(by) >= 2:
            kept.append(k)
            seen += by.tolist()
            xy += pixels[by].tolist()
            starts.append(len(seen))
    n = len(kept)
    points = SparsePoints(
        ground[kept], np.zeros((n, 3), np.uint8), np.arange(n, dtype=float),
        np.array(starts, np.int64), np.array(seen, np.int32), np.array(xy),
    )  # fmt: skip
    return Reconstruction({1: CAMERA}, images, points)


def square(x: float, y: float, half: float) -> tuple[Polygon, ...]:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + [x, y]
    lonlat = FRAME.to_lonlat(np.column_stack([corners, np.zeros(4)]))[:, :2]
    return ((lonlat,),)


def test_photos_that_see_the_area_and_no_others() -> None:
    whole = flight()
    (kept,) = seeing_area([whole], FRAME, square(80, 80, 10))
    names = {image.name for image in kept.images}
    for image in whole.images:
        away = np.abs(image.center_in_world[:2] - 80)
        # The area is 10 m and its margin 2 m on each side; a photo shows 25 x 20 m of each side.
        if (away < [34, 29]).all():
            assert image.name in names
        if (away > [39, 34]).any():
            assert image.name not in names
    assert 9 <= len(names) <= 16


def test_the_points_of_the_photos_that_are_left_stay_as_they_were() -> None:
    whole = flight()
    (kept,) = seeing_area([whole], FRAME, square(0, 0, 10))
    points = kept.points
    assert len(points) == len(points.track_start) - 1 < len(whole.points)
    assert points.track_start[-1] == len(points.track_image) == len(points.track_xy)
    for i in (0, len(points) // 2, len(points) - 1):
        before = int(points.errors_px[i])  # numbered by their errors
        assert np.array_equal(points.positions_in_world[i], whole.points.positions_in_world[before])
        mine = slice(points.track_start[i], points.track_start[i + 1])
        theirs = slice(*whole.points.track_start[before : before + 2])
        names = [whole.images[k].name for k in whole.points.track_image[theirs]]
        observed = dict(zip(names, whole.points.track_xy[theirs].tolist()))
        for k, xy in zip(points.track_image[mine], points.track_xy[mine]):
            assert observed[kept.images[k].name] == xy.tolist()


def test_an_area_without_sparse_points_is_seen_too() -> None:
    whole = flight()
    points = whole.points.positions_in_world
    holes = np.abs(points[:, :2] - 80).max(1) > 15
    seen = whole.with_images(np.ones(81, bool))
    bare = seen.points.positions_in_world.copy()
    bare[~holes, :2] += 500.0  # out of the area
    object.__setattr__(seen.points, "positions_in_world", bare)
    (kept,) = seeing_area([seen], FRAME, square(80, 80, 5))
    assert "40.jpg" in {image.name for image in kept.images}  # straight above


def test_nobody_sees_it() -> None:
    with pytest.raises(ReconstructionError, match="No two photos see") as error:
        seeing_area([flight()], FRAME, square(900, 0, 10))
    assert error.value.where == "--aoi" and "longitude first" in str(error.value.next_step)


def test_the_box_holds_the_area_its_margin_and_its_heights() -> None:
    x0, y0, z0, x1, y1, z1 = box_of_area([flight()], FRAME, square(80, 60, 10))
    assert [x0, y0, x1, y1] == pytest.approx([68, 48, 92, 72], abs=0.1)
    assert z0 < 0 - 1.5 and z1 > 4 + 1.5
    assert z1 - z0 < 12
