"""Describe a solution: residuals of the photos, outliers, and accuracy of the placement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxterra.core.georeference import Method, PhotoResidual, Placement
from voxterra.core.wording import distance, listed
from voxterra.georef.fit import Fit
from voxterra.georef.observations import shared_sigma_m
from voxterra.georef.problem import Problem

Bool = NDArray[np.bool_]

# Warn above this relative sigma of the scale, and above this sigma of the tilt.
_SCALE_WEAK, _TILT_WEAK_DEG = 0.05, 3.0
# Most photos named in a warning; the report names all.
_NAMED = 10


def placement_of(problem: Problem, fit: Fit, warnings: Sequence[str]) -> Placement:
    """Make the placement of a solution; `warnings` come before those about the solution."""
    o = problem.observations
    residuals, kept_h, kept_v = _residuals(problem, fit)
    tilt, heading = np.degrees(fit.tilt_sigma), np.degrees(fit.heading_sigma)
    warnings = [*warnings, *_position_outliers(problem, fit), *_attitude_outliers(problem, fit)]
    if fit.scale_sigma > _SCALE_WEAK:
        warnings.append(
            f"the scale is known only to {100 * fit.scale_sigma:.0f} %; a known length "
            "(--scale-bar) would determine it"
        )
    if tilt > _TILT_WEAK_DEG:
        warnings.append(
            f"the tilt is known only to {tilt:.0f} deg; photos further apart in all directions, or "
            "their pitch and roll in meta.csv, would determine it"
        )
    if not o.has_height.any():
        warnings.append(
            "no photo has a recorded height: height 0 is assumed; give heights in meta.csv (alt) "
            "if you know them"
        )
    method: Method = "gps+attitude" if problem.use_tilt else "gps"
    outlier = np.logical_or(*_outliers(problem, fit))
    # A photo with a wrong position or height says nothing about the accuracy of the others.
    known_h, known_v = o.has_position & ~outlier, o.has_height & ~outlier
    shared_h = shared_sigma_m(o.sigma_h[known_h if known_h.any() else o.has_position])
    shared_v = shared_sigma_m(o.sigma_v[known_v]) if known_v.any() else None
    fit_h = float(np.hypot(*fit.position_sigma[:2]) / np.sqrt(2))
    return Placement(
        world_from_model=problem.similarity_of(fit.state),
        placed=True,
        method=method,
        residuals=residuals,
        rmse_horizontal_m=_rms(kept_h) * float(np.sqrt(2)) if kept_h else None,
        rmse_vertical_m=_rms(kept_v) if kept_v else None,
        tilt_sigma_deg=float(tilt),
        heading_sigma_deg=float(heading),
        scale_sigma=fit.scale_sigma,
        position_sigma_horizontal_m=float(np.hypot(fit_h, shared_h)),
        position_sigma_vertical_m=(
            None if shared_v is None else float(np.hypot(fit.position_sigma[2], shared_v))
        ),
        warnings=tuple(warnings),
    )


def _position_outliers(problem: Problem, fit: Fit) -> list[str]:
    """Warnings about positions and heights left out as outliers, and how far off they are."""
    o, delta = problem.observations, problem.offsets(fit.state)
    off_h, off_v = _outliers(problem, fit)
    out = []
    if off_h.any():
        far = np.linalg.norm(delta[:, :2], axis=1)
        named = [f"{o.names[i]} ({distance(far[i])} off)" for i in np.flatnonzero(off_h)]
        out.append(f"GPS position set aside as an outlier: {listed(named, _NAMED)}")
    if off_v.any():
        side = np.where(delta[:, 2] > 0, "low", "high")
        far = np.abs(delta[:, 2])
        named = [f"{o.names[i]} ({distance(far[i])} too {side[i]})" for i in np.flatnonzero(off_v)]
        out.append(f"recorded height set aside as an outlier: {listed(named, _NAMED)}")
    return out


def _outliers(problem: Problem, fit: Fit) -> tuple[Bool, Bool]:
    """(N,) True for photos whose horizontal position, and whose height, is an outlier."""
    o = problem.observations
    n_h, n_v = int(o.has_position.sum()), int(o.has_height.sum())
    off_h, off_v = np.zeros(len(o.names), bool), np.zeros(len(o.names), bool)
    off_h[o.has_position] = fit.outlier_rows[: 2 * n_h : 2]
    off_v[o.has_height] = fit.outlier_rows[2 * n_h : 2 * n_h + n_v]
    return off_h, off_v


def _attitude_outliers(problem: Problem, fit: Fit) -> list[str]:
    o = problem.observations
    out = []
    start = 2 * int(o.has_position.sum()) + int(o.has_height.sum())
    names = np.array(o.names)[o.has_attitude]
    for used, rows, what in (
        (problem.use_tilt, 2, "pitch and roll"),
        (problem.use_heading, 1, "heading (yaw)"),
    ):
        if used:
            stop = start + rows * len(names)
            off = names[fit.outlier_rows[start:stop:rows]]
            start = stop
            if len(off):
                out.append(
                    f"recorded {what} set aside as an outlier: {listed(off.tolist(), _NAMED)}"
                )
    return out


def _residuals(
    problem: Problem, fit: Fit
) -> tuple[tuple[PhotoResidual, ...], list[float], list[float]]:
    """Residuals by photo; horizontal and vertical components of those that are no outliers."""
    o = problem.observations
    delta = problem.offsets(fit.state)
    off_h, off_v = _outliers(problem, fit)
    sigma_h = o.sigma_h * fit.factors[o.stated_h.astype(int)]
    sigma_v = o.sigma_v * fit.factors[2 + o.stated_v.astype(int)]
    out, kept_h, kept_v = [], [], []
    for i in np.flatnonzero(o.has_position):
        up = float(delta[i, 2]) if o.has_height[i] else None
        outlier = bool(off_h[i] or off_v[i])
        out.append(
            PhotoResidual(
                o.names[i],
                float(delta[i, 0]),
                float(delta[i, 1]),
                up,
                float(sigma_h[i]),
                float(sigma_v[i]),
                outlier,
            )
        )
        if not outlier:
            kept_h += [float(delta[i, 0]), float(delta[i, 1])]
            kept_v += [] if up is None else [up]
    return tuple(out), kept_h, kept_v


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
