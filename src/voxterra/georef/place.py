"""Place one component by the positions and attitudes of its photos.

Up and north come from positions and attitudes together. Attitudes are checked first, among
themselves and against the positions: those of real drones can be turned by a magnetised compass,
belong to the airframe instead of the camera, or follow another convention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from voxterra.core.georeference import Placement
from voxterra.core.wording import distance
from voxterra.georef.attitude import Consensus, consensus
from voxterra.georef.checks import Misfit, misfit
from voxterra.georef.config import GeorefConfig
from voxterra.georef.fit import Fit, solve
from voxterra.georef.initial import from_positions, from_rotation, from_up
from voxterra.georef.lag import correct_lag, describe_lag
from voxterra.georef.observations import Observations, with_attitudes_of_aircraft
from voxterra.georef.placement import placement_of
from voxterra.georef.problem import FREE_SIGMA, MOUNT_SIGMA, Problem, State
from voxterra.georef.upright import up_in_model

# Attitudes are checked against the positions if those determine up better than this [rad].
_UP_FIXED = np.radians(8.0)
# With a relative sigma of the scale above this the model is not metric.
_SCALE_UNKNOWN = 0.5
# A camera fixed in an aircraft is off by degrees, a gimbal by tenths of a degree [rad].
AIRCRAFT_MOUNT_SIGMA = np.radians(5.0)
# Cameras spread across their line by less than this share of its length are on a line.
NEAR_LINE = 0.2
# Attitudes are used if this share of them agrees.
_AGREE = 0.6


@dataclass(frozen=True)
class NotPlaced:
    """Why a component cannot be placed."""

    reason: str


def place(observations: Observations, config: GeorefConfig) -> Placement | NotPlaced:
    """Fit world_from_model to a component's positions and attitudes."""
    o = observations
    positions, attitudes = int(o.has_position.sum()), int(o.has_attitude.sum())
    if positions < 2 or (positions < 3 and not attitudes):
        return NotPlaced(
            f"only {positions} of its {len(o.names)} photos have a GPS position; three or more are "
            "needed: add them in EXIF or meta.csv"
        )
    gps = _fit_positions(o, config)
    problem, warnings = _choose_attitudes(o, gps, config)
    if problem.use_tilt:
        used = problem.observations
        starts = _starts(problem, consensus(used.world_from_model_of_attitudes()))
        starts += [gps.state] if gps else []
        fit: Fit | None = solve(problem, starts, config.outlier_sigmas) if starts else None
    else:
        fit = gps
        upright = up_in_model(o.displayed_from_model, o.centers)
        if fit is None or fit.tilt_sigma > upright.sigma:
            problem = Problem(o, upright=upright)
            starts = from_up(problem, upright.up) + ([fit.state] if fit else [])
            fit = solve(problem, starts, config.outlier_sigmas) if starts else None
    if fit is None:
        return NotPlaced(
            "all its GPS positions are at one place: give the right ones in meta.csv, or take "
            "photos further apart"
        )
    found = misfit(
        o, problem.offsets(fit.state), config.gps_sigma_horizontal_m, config.outlier_sigmas
    )
    if found.is_none:
        return NotPlaced(_why_no_fit(found))
    if fit.scale_sigma > _SCALE_UNKNOWN:
        return NotPlaced(
            "its GPS positions scatter more than the cameras moved, so its scale is unknown: take "
            "photos further apart, or give a known length with --scale-bar"
        )
    if problem.upright is not None:
        warnings.append(_about_up(o, fit))
    problem, fit, lag = correct_lag(problem, fit, config.outlier_sigmas)
    if lag is not None:
        warnings.append(describe_lag(lag))
    return replace(placement_of(problem, fit, warnings), lag=lag)


def _why_no_fit(found: Misfit) -> str:
    return (
        f"its GPS positions do not fit its camera positions: {found} of the best fit, half of them "
        f"are {distance(found.usual_m)} off or more; check whether positions and photos are mixed "
        "up (rows of the table, clocks of camera and receiver), or give --georef.no-use-gps to "
        "ignore them"
    )


def _about_up(o: Observations, fit: Fit) -> str:
    """Warning about a weak up: why, what it is derived from, and its accuracy by axis."""
    spread = np.linalg.svd(o.centers - o.centers.mean(0), compute_uv=False)
    reason = (
        "the cameras are nearly on one line, about which GPS leaves the model free to rotate"
        if spread[1] < NEAR_LINE * spread[0]
        else "the GPS positions determine its up weakly"
    )
    worst, bearing, across = fit.tilt_axis
    return (
        f"{reason}: up is also derived from how the cameras were held; the tilt about the axis at "
        f"bearing {bearing:.0f} deg is known to {np.degrees(worst):.1f} deg, across it to "
        f"{np.degrees(across):.1f} deg (1 sigma)"
    )


def _fit_positions(o: Observations, config: GeorefConfig) -> Fit | None:
    """Positions alone, or None when there are fewer than three with heights."""
    problem = Problem(o)
    starts = from_positions(problem)
    return solve(problem, starts, config.outlier_sigmas) if starts else None


def _choose_attitudes(
    o: Observations, gps: Fit | None, config: GeorefConfig
) -> tuple[Problem, list[str]]:
    """Choose the parts of the attitudes that agree with each other and with the positions."""
    if not o.has_attitude.any():
        return Problem(o), []
    agreed = consensus(o.world_from_model_of_attitudes())
    off = _tilt_against_positions(gps, agreed)
    warnings = []
    mount_sigma = MOUNT_SIGMA
    if off is not None or agreed.tilt_share < _AGREE:
        aircraft = with_attitudes_of_aircraft(o)
        agreed_aircraft = consensus(aircraft.world_from_model_of_attitudes())
        fits_aircraft = _tilt_against_positions(gps, agreed_aircraft) is None
        if gps is None or agreed_aircraft.tilt_share < _AGREE or not fits_aircraft:
            return Problem(o), [_why_not_used(agreed, off)]
        o, agreed, mount_sigma = aircraft, agreed_aircraft, AIRCRAFT_MOUNT_SIGMA
        warnings.append(
            "the recorded pitch and roll fit an aircraft with a camera facing down, not the "
            "camera itself, and are used as such"
        )
    problem = Problem(o, use_tilt=True, use_heading=True, mount_sigma=mount_sigma)
    if agreed.heading_share < _AGREE:
        warnings.append("the recorded headings (yaw) contradict each other and are not used")
        return replace(problem, use_heading=False), warnings
    free = replace(problem, compass_sigma=FREE_SIGMA)
    starts = _starts(free, agreed)
    if starts:
        offset, sigma = solve(free, starts[:1], config.outlier_sigmas).yaw_bias
        offset = (offset + np.pi) % (2 * np.pi) - np.pi
        if abs(offset) > max(np.radians(12.0), 4 * sigma):
            # Differences between headings remain useful: the compass's error is an unknown.
            warnings.append(
                f"the recorded headings (yaw) are off by {np.degrees(offset):.0f} deg against "
                "the GPS positions; north is taken from the positions"
            )
            return free, warnings
    return problem, warnings


def _starts(problem: Problem, agreed: Consensus) -> list[State]:
    rotation = agreed.world_from_model
    return from_up(problem, rotation[2]) + from_rotation(problem, rotation)


def _why_not_used(agreed: Consensus, off: float | None) -> str:
    if agreed.tilt_share < _AGREE or off is None:
        return (
            "the recorded attitudes contradict each other by more than 15 deg and are not used; "
            "yaw, pitch and roll should be those of the camera"
        )
    return (
        f"the recorded attitudes differ from the GPS positions by {off:.0f} deg in tilt and are "
        "not used; pitch should be that of the camera, 0 level and -90 straight down"
    )


def _tilt_against_positions(gps: Fit | None, agreed: Consensus) -> float | None:
    """Angle between the two ups [deg] when it is more than their noise explains, else None."""
    if gps is None or gps.tilt_sigma > _UP_FIXED:
        return None
    cosine = float(gps.state.rotation[2] @ agreed.world_from_model[2])
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    return float(np.degrees(angle)) if angle > 4 * np.hypot(gps.tilt_sigma, 0.02) else None
