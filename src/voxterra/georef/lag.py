"""Estimate and correct a lag: recorded positions behind the cameras along the flight path.

A receiver that writes its last fix, or a shutter that opens later than the trigger, records every
position where the camera was a moment before. There and back the errors point in opposite
directions, which separates a lag from a shift; along a single line they cannot be separated.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from voxterra.core.georeference import Lag
from voxterra.georef.fit import Fit, solve
from voxterra.georef.observations import Observations
from voxterra.georef.problem import Problem

_log = logging.getLogger(__name__)

Float = NDArray[np.float64]

# A lag is accepted if it is this many of its standard deviations, and photos left out of the fit
# are predicted better by this share with it.
_SIGNIFICANT, _BETTER = 4.0, 0.05
# Fewest photos to estimate a lag from, and smallest lag to correct [m].
_FEWEST, _LEAST_M = 10, 0.1
# A step this many times longer than usual, in distance or time, is a break between two flights.
_BREAK = 5.0
# Number of stretches of the path that are left out in turn.
_FOLDS = 5


def correct_lag(
    problem: Problem, fit: Fit, outlier_sigmas: float
) -> tuple[Problem, Fit, Lag | None]:
    """Solve with a lag as an unknown; returns problem and solution unchanged where there is none.

    The lag is estimated together with the similarity. It is applied if it is significant and the
    positions of stretches of the path left out of the fit are predicted better with it.
    """
    o = problem.observations
    seconds = _seconds(o.captured_at)
    order = _order(o.names, seconds)
    if int(o.has_position.sum()) < _FEWEST:
        return problem, fit, None
    found = []
    for before in (True, False):
        way = way_of(o.centers, order, seconds, before=before)
        late = replace(problem, way=way)
        found.append((late, solve(late, [fit.state], outlier_sigmas)))
    late, with_lag = min(found, key=lambda pair: pair[1].cost)
    lag, sigma = with_lag.state.lag, with_lag.lag_sigma
    if abs(lag) < max(_SIGNIFICANT * sigma, _LEAST_M):
        return problem, fit, None
    without = _left_out_m(problem, fit, order, outlier_sigmas)
    better = _left_out_m(late, with_lag, order, outlier_sigmas)
    _log.info(
        "Positions late by %.2f m (%.2f m): left-out photos miss by %.2f m without, %.2f m with.",
        lag, sigma, without, better,
    )  # fmt: skip
    if better > (1 - _BETTER) * without:
        return problem, fit, None
    speed = None if seconds is None else _usual_speed(o.centers, order, seconds)
    in_seconds = lag / (speed * with_lag.state.scale) if speed else None
    return late, with_lag, Lag(lag, sigma, in_seconds, without, better)


def describe_lag(lag: Lag) -> str:
    """Warning about a lag."""
    by = "" if lag.seconds is None else f", about {abs(lag.seconds):.1f} s"
    side = "behind" if lag.distance_m > 0 else "ahead of"
    return (
        f"the recorded positions are {abs(lag.distance_m):.2f} m (1 sigma {lag.sigma_m:.2f} m) "
        f"{side} the cameras along their path{by}, as when the receiver's clock and the camera's "
        "differ; this is corrected (median misfit of photos left out of the fit: "
        f"{lag.left_out_without_m:.2f} m before, {lag.left_out_with_m:.2f} m after)"
    )


def way_of(
    centers: Float, order: NDArray[np.int64], seconds: Float | None, *, before: bool
) -> Float:
    """(N, 3) direction in which each camera moved, of length 1 at the usual speed.

    Args:
        centers: (N, 3) in the model.
        order: (N,) indices in the order the photos were taken.
        seconds: (N,) when they were taken, or None: then the usual speed is assumed.
        before: from the photo before, where a late position is; else to the photo after.

    Returns:
        Zero where that photo is missing, or belongs to another flight.
    """
    steps = np.diff(centers[order], axis=0)
    length = np.linalg.norm(steps, axis=1)
    usual = float(np.median(length[length > 0])) if (length > 0).any() else 1.0
    good = (length > 1e-3 * usual) & (length < _BREAK * usual)
    speed = np.ones(len(steps))
    if seconds is not None:
        elapsed = np.diff(seconds[order])
        good &= (elapsed > 0) & (elapsed < _BREAK * np.median(elapsed[elapsed > 0]))
        speed = length / np.where(elapsed > 0, elapsed, 1.0)
        speed /= float(np.median(speed[good])) if good.any() else 1.0
    unit = steps / np.where(length > 0, length, 1.0)[:, None]
    moved = np.where(good, np.minimum(speed, 2.0), 0.0)[:, None] * unit
    way = np.zeros_like(centers)
    way[order[1:] if before else order[:-1]] = moved
    return way


def _order(names: Sequence[str], seconds: Float | None) -> NDArray[np.int64]:
    """Indices in the order of capture: by time, else by name, as cameras number their files."""
    if seconds is None:
        return np.array(sorted(range(len(names)), key=lambda i: names[i]), np.int64)
    return np.array(sorted(range(len(names)), key=lambda i: (seconds[i], names[i])), np.int64)


def _seconds(times: Sequence[str | None]) -> Float | None:
    """(N,) seconds; None unless all photos have a time, and most times differ."""
    try:
        found = np.array([datetime.fromisoformat(t).timestamp() for t in times if t])
    except (ValueError, OverflowError):
        return None
    if not len(found) or len(found) != len(times) or len(np.unique(found)) < 0.8 * len(found):
        return None
    seconds: Float = found - found.min()
    return seconds


def _usual_speed(centers: Float, order: NDArray[np.int64], seconds: Float) -> float | None:
    """Median speed between photos, in units of the model a second."""
    elapsed = np.diff(seconds[order])
    moved = np.linalg.norm(np.diff(centers[order], axis=0), axis=1)
    speed = float(np.median(moved[elapsed > 0] / elapsed[elapsed > 0]))
    return speed if speed > 0 else None


def _left_out_m(
    problem: Problem, fit: Fit, order: NDArray[np.int64], outlier_sigmas: float
) -> float:
    """Median horizontal misfit of photos in fits without their stretch of the path."""
    o = problem.observations
    known = order[o.has_position[order]]
    misfit: list[float] = []
    for stretch in np.array_split(known, _FOLDS):
        rest = replace(problem, observations=_without(o, stretch))
        found = solve(rest, [rest.state_like(fit.state, problem)], outlier_sigmas)
        # The full problem reads the state about another centroid.
        offsets = problem.offsets(problem.state_like(found.state, rest))
        misfit += list(np.linalg.norm(offsets[stretch, :2], axis=1))
    return float(np.median(misfit))


def _without(o: Observations, stretch: NDArray[np.int64]) -> Observations:
    gps = o.gps_in_world.copy()
    gps[stretch] = np.nan
    return replace(o, gps_in_world=gps)
