"""Robust solution of a `Problem`: weights, noise levels, outliers, covariance.

Iteratively reweighted Gauss-Newton. Noise levels are estimated with the solution, each kind of
observation by its weighted residuals over its redundancy (variance components, Foerstner 1979),
pulled towards the base sigma where there are few. A last phase without the outliers gives the
result and its covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.georef.problem import BIAS, HEADING, KINDS, LAG, POSITION, TILT, Problem, State

Float = NDArray[np.float64]

# Cauchy weight 1 / (1 + d^2 / C^2) of a block at d standard deviations.
_CAUCHY_C = 3.0
_ROBUST_STEPS, _FINAL_STEPS, _CLASSIFY_STEPS = 30, 15, 5
# Weight of the base sigma of a kind, as a number of observations.
_BELIEF = 2.0
# An attitude is an outlier only beyond the outlier limit at this factor on its base sigma: a few
# degrees among many do no harm, and need no warning.
_ATTITUDE_FLOOR = 0.6
_ATTITUDE_KINDS = [KINDS.index("tilt"), KINDS.index("heading")]
# Kinds whose outliers are found together.
_TOGETHER = [
    [KINDS.index("h"), KINDS.index("h stated")],
    [KINDS.index("v"), KINDS.index("v stated")],
    *([kind] for kind in _ATTITUDE_KINDS),
]


@dataclass(frozen=True)
class Fit:
    """A solution.

    Attributes:
        state: the unknowns.
        factors: estimated over base sigma by kind.
        outlier_rows: (R,) True for residual rows left out as outliers.
        cost: robust cost of the observations at their base sigmas, to compare solutions.
        covariance: (11, 11) of the unknowns.
    """

    state: State
    factors: Float
    outlier_rows: NDArray[np.bool_]
    cost: float
    covariance: Float

    @property
    def tilt_sigma(self) -> float:
        """Of the worst direction [rad]."""
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance[TILT, TILT])[-1]))

    @property
    def tilt_axis(self) -> tuple[float, float, float]:
        """Standard deviation of the tilt about its weakest axis [rad], the bearing of that axis
        in 0..180 [deg from north], and the standard deviation about the axis across it [rad]."""
        values, vectors = np.linalg.eigh(self.covariance[TILT, TILT])
        east, north = vectors[:, 1]
        bearing = float(np.degrees(np.arctan2(east, north)) % 180)
        return float(np.sqrt(values[1])), bearing, float(np.sqrt(max(values[0], 0.0)))

    @property
    def heading_sigma(self) -> float:
        """[rad]"""
        return float(np.sqrt(self.covariance[HEADING, HEADING].item()))

    @property
    def scale_sigma(self) -> float:
        """Relative."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def position_sigma(self) -> Float:
        """(3,) of the centroid [m]."""
        return np.sqrt(np.diag(self.covariance)[POSITION])

    @property
    def lag_sigma(self) -> float:
        """[m]"""
        return float(np.sqrt(self.covariance[LAG, LAG]))

    @property
    def yaw_bias(self) -> tuple[float, float]:
        """The compass's common error and its sigma [rad]."""
        i = BIAS.start
        return float(self.state.bias[0]), float(np.sqrt(self.covariance[i, i]))


def solve(problem: Problem, starts: list[State], outlier_sigmas: float) -> Fit:
    """Best solution of `problem` from any of the `starts`."""
    fits = [_solve(problem, start, outlier_sigmas) for start in starts]
    return min(fits, key=lambda fit: fit.cost)


def robust_cost(problem: Problem, state: State) -> float:
    """Cauchy cost of the observations at their base sigmas."""
    distance2, rows = _block_distance2(problem, problem.residuals(state))
    return float((rows * np.log1p(distance2 / (_CAUCHY_C**2 * rows))).sum())


def _solve(problem: Problem, start: State, outlier_sigmas: float) -> Fit:
    state, factors = start, np.ones(len(KINDS))
    for _ in range(_ROBUST_STEPS):
        scaled = problem.residuals(state) / factors[problem.row_kind]
        distance2, rows = _block_distance2(problem, scaled)
        weights = (1.0 / (1.0 + distance2 / (_CAUCHY_C**2 * rows)))[problem.row_block]
        before = factors
        state, factors, _, move = _step(problem, state, factors, weights, robust=True)
        if np.abs(move).max() < 1e-6 and np.abs(np.log(factors / before)).max() < 1e-4:
            break
    outlier = np.zeros(len(problem.row_kind), bool)
    for step in range(_FINAL_STEPS):
        # Classified again for a few steps, then fixed, so that the end converges.
        if step < _CLASSIFY_STEPS:
            scaled = problem.residuals(state) / factors[problem.row_kind]
            outlier = _outlier_rows(problem, scaled, factors, outlier_sigmas)
        weights = np.where(outlier, 0.0, 1.0)
        state, factors, covariance, move = _step(problem, state, factors, weights, robust=False)
        if step >= _CLASSIFY_STEPS and np.abs(move).max() < 1e-9:
            break
    return Fit(state, factors, outlier, robust_cost(problem, state), covariance)


def _step(
    problem: Problem, state: State, factors: Float, weights: Float, *, robust: bool
) -> tuple[State, Float, Float, Float]:
    """State and noise factors after one step; covariance; the step."""
    move, covariance, leverage = _gauss_newton(problem, state, factors, weights)
    state = _line_search(problem, state, move, factors, weights)
    factors = _noise_factors(problem, state, weights, leverage, robust=robust)
    return state, factors, covariance, move


def _block_distance2(problem: Problem, residuals: Float) -> tuple[Float, Float]:
    """Squared length and number of rows of each block."""
    return (
        np.bincount(problem.row_block, residuals**2).astype(float),
        np.bincount(problem.row_block).astype(float),
    )


def _gauss_newton(
    problem: Problem, state: State, factors: Float, weights: Float
) -> tuple[Float, Float, Float]:
    """Step, covariance and leverage of the rows at a state."""
    scaled = problem.residuals(state) / factors[problem.row_kind]
    jacobian, prior_jacobian = problem.jacobian(state)
    root = np.sqrt(weights)
    a = jacobian * (root / factors[problem.row_kind])[:, None]
    prior = problem.prior_rows(state)
    b = np.concatenate([scaled * root, prior, np.zeros(len(prior_jacobian) - len(prior))])
    stacked = np.vstack([a, prior_jacobian])
    # Columns differ in size by the extent of the survey: scale them for a sound inverse.
    norm = np.linalg.norm(stacked, axis=0)
    covariance = np.linalg.pinv((stacked / norm).T @ (stacked / norm)) / np.outer(norm, norm)
    leverage = np.einsum("ri,ij,rj->r", a, covariance, a)
    return -covariance @ (stacked.T @ b), covariance, leverage


def _line_search(
    problem: Problem, state: State, move: Float, factors: Float, weights: Float
) -> State:
    def cost(at: State) -> float:
        scaled = problem.residuals(at) / factors[problem.row_kind]
        return float((weights * scaled**2).sum() + (problem.prior_rows(at) ** 2).sum())

    before = cost(state)
    for shrink in (1.0, 0.5, 0.2, 0.05, 0.01):
        moved = state.moved(shrink * move)
        if cost(moved) <= before:
            return moved
    return state


def _noise_factors(
    problem: Problem, state: State, weights: Float, leverage: Float, *, robust: bool
) -> Float:
    """Estimated over base sigma by kind: from the median of the blocks, or from all weighted.

    The median is for the phase in which outliers still take part: their weighted squares would
    let the noise level grow until they fit.
    """
    raw = problem.residuals(state)
    usual = _usual_distances(problem, raw)
    factors = np.ones(len(KINDS))
    for kind in range(len(KINDS)):
        rows = problem.row_kind == kind
        redundancy = float((weights[rows] - leverage[rows]).sum())
        if redundancy < 0.5:
            continue
        if robust:
            level = usual[kind] * np.sqrt(max(weights[rows].sum() / redundancy, 1.0))
        else:
            level = np.sqrt(float((weights[rows] * raw[rows] ** 2).sum()) / redundancy)
        # Drawn to 1 on a log scale: noise levels are wrong by factors, not by amounts.
        factors[kind] = max(level, 1e-3) ** (redundancy / (redundancy + _BELIEF))
    return np.clip(factors, 0.02, 100.0)


def _usual_distances(problem: Problem, residuals: Float) -> Float:
    """(K,) robust standard deviation of the residuals by kind, from the median of their blocks."""
    distance2, rows = _block_distance2(problem, residuals)
    kinds = _kind_of_block(problem)
    out = np.ones(len(KINDS))
    for kind in np.unique(kinds):
        out[kind] = _usual_distance(distance2[kinds == kind], rows[kinds == kind])
    return out


def _usual_distance(distance2: Float, rows: Float) -> float:
    """Robust standard deviation of blocks of one size, from the median of their lengths."""
    # 0.67 and 1.18: median length of a unit normal in one dimension and in two.
    return float(np.sqrt(np.median(distance2)) / (0.6745 if rows[0] == 1 else 1.1774))


def _kind_of_block(problem: Problem) -> NDArray[np.int64]:
    out = np.zeros(problem.row_block.max(initial=-1) + 1, np.int64)
    out[problem.row_block] = problem.row_kind
    return out


def _outlier_rows(
    problem: Problem, scaled: Float, factors: Float, outlier_sigmas: float
) -> NDArray[np.bool_]:
    """Rows of blocks too far off; never more than half of the positions, heights or attitudes.

    What is usual is taken over all of them together, whether the photo states an accuracy or not:
    the one photo that does would be as far off as is usual for its kind, however far that is.
    """
    distance2, rows = _block_distance2(problem, scaled)
    kinds = _kind_of_block(problem)
    limit = np.empty(len(distance2))
    for together in _TOGETHER:
        blocks = np.isin(kinds, together)
        if blocks.any():
            limit[blocks] = max(_usual_distance(distance2[blocks], rows[blocks]), 1.0)
    attitude = np.isin(kinds, _ATTITUDE_KINDS)
    limit[attitude] = np.maximum(limit[attitude], _ATTITUDE_FLOOR / factors[kinds[attitude]])
    return (np.sqrt(distance2) > outlier_sigmas * limit)[problem.row_block]
