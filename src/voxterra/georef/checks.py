"""What a placed model and its GPS say about each other: bowls, late positions, mirrored ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from voxterra.core.georeference import Placement
from voxterra.core.photos import Photo
from voxterra.core.reconstruction import Reconstruction
from voxterra.georef.observations import Observations

Float = NDArray[np.float64]

# An effect is told when it is this many of its own standard deviations.
_SIGNIFICANT = 4.0
_LEAST_DOMING_M, _LEAST_LAG_M = 0.1, 0.5


def contradictions(
    observations: Observations,
    placement: Placement,
    component: Reconstruction,
    by_id: dict[str, Photo],
) -> list[str]:
    """Bends against the recorded heights, and positions that come late, in words for a user."""
    o = observations
    centers = placement.world_from_model.apply(o.centers)
    used = o.has_position & ~np.isin(o.names, placement.outliers)
    known = used & o.has_height
    found = []
    bend = doming_m(centers[known], o.gps_in_world[known])
    if bend is not None:
        shape = "dome" if bend < 0 else "bowl"
        forward = [image.cam_from_world[2, :3] for image in component.images]
        looks_down = np.median(forward @ placement.world_from_model.rotation[2]) < -0.7
        found.append(
            f"it bends by {abs(bend):.1f} m from its middle to its edge against the recorded "
            f"heights, like a {shape}: "
            + (
                "photos straight down do not determine the lens; add oblique photos"
                if looks_down
                else "errors add up along a chain of photos; add photos that close a loop or cross "
                "the way"
            )
            + ", or positions by RTK"
        )
    photos = [by_id[image.name] for image in component.images]
    order = [i for i in np.flatnonzero(used) if photos[i].captured_at]
    order.sort(key=lambda i: (photos[i].captured_at or "", photos[i].id))
    lag = lag_m(centers, o.gps_in_world, np.array(order, np.int64))
    if lag is not None:
        seconds = seconds_of(lag, centers[order], [photos[i].captured_at for i in order])
        by = "" if seconds is None else f", about {seconds:.1f} s"
        side = "behind" if lag > 0 else "ahead of"
        found.append(
            f"the recorded positions lie {abs(lag):.1f} m {side} the cameras along their way{by}: "
            "the receiver's clock and the camera's differ"
        )
    return found


def doming_m(centers: Float, gps: Float) -> float | None:
    """How far the model bends against the recorded heights from its middle to its edge [m].

    Flights straight down with a lens that they do not determine come out as a bowl (negative: the
    edge lies too low) or a dome (James, Robson 2014). None when there is no such bend, or too few
    photos to tell.

    Args:
        centers, gps: (N, 3) camera centres and recorded positions in the world, all of them used.
    """
    if len(centers) < 12:
        return None
    xy = centers[:, :2] - centers[:, :2].mean(0)
    radius2 = (xy**2).sum(1)
    extent2 = float(radius2.max())
    if extent2 <= 0:
        return None
    design = np.column_stack([np.ones(len(xy)), xy / np.sqrt(extent2), radius2 / extent2])
    if np.linalg.cond(design) > 1e3:  # on one line: a bend is a slope
        return None
    up = centers[:, 2] - gps[:, 2]
    solution, *_ = np.linalg.lstsq(design, up, rcond=None)
    noise = float(((up - design @ solution) ** 2).sum() / (len(up) - 4))
    sigma = float(np.sqrt(noise * np.linalg.inv(design.T @ design)[3, 3]))
    bend = float(solution[3])
    return bend if abs(bend) > max(_SIGNIFICANT * sigma, _LEAST_DOMING_M) else None


def lag_m(centers: Float, gps: Float, order: NDArray[np.int64]) -> float | None:
    """How far recorded positions stay behind the cameras along their way [m], negative ahead.

    Positions that a receiver writes late. Seen only where the way goes in several directions:
    along one, the model moves with them. None when there is no lag, or no way to tell.

    Args:
        centers, gps: (N, 3) camera centres and recorded positions in the world.
        order: (M,) indices of photos in the order they were taken.
    """
    if len(order) < 10:
        return None
    way = centers[order, :2]
    heading = np.gradient(way, axis=0)
    length = np.linalg.norm(heading, axis=1)
    moving = length > 1e-6
    heading = heading[moving] / length[moving, None]
    if len(heading) < 10 or np.linalg.norm(heading.mean(0)) > 0.7:
        return None
    behind = (((way - gps[order, :2])[moving]) * heading).sum(1)
    mean, sigma = float(behind.mean()), float(behind.std() / np.sqrt(len(behind)))
    return mean if abs(mean) > max(_SIGNIFICANT * sigma, _LEAST_LAG_M) else None


def seconds_of(lag: float, centers: Float, times: Sequence[str | None]) -> float | None:
    """The lag in seconds, by the usual speed between photos; None without times.

    Args:
        lag: [m].
        centers: (N, 3) in the order they were taken.
        times: ISO 8601, in the same order.
    """
    try:
        taken = [datetime.fromisoformat(t).timestamp() for t in times if t]
    except ValueError:
        return None
    if len(taken) != len(centers):
        return None
    elapsed = np.diff(taken)
    moved = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    if not (elapsed > 0).any():
        return None
    return abs(lag) / max(float(np.median(moved[elapsed > 0] / elapsed[elapsed > 0])), 1e-6)
