"""Start values of the fit: similarities from random minimal samples, robust to gross errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxterra.core.transforms import Similarity, fit_similarity
from voxterra.georef.fit import robust_cost
from voxterra.georef.problem import Problem, State
from voxterra.georef.upright import rotation_to_up

Float = NDArray[np.float64]

_SAMPLES = 200


def from_positions(problem: Problem) -> list[State]:
    """Best similarity through three positions with heights (RANSAC; Fischler, Bolles 1981)."""
    o = problem.observations
    known = np.flatnonzero(o.has_height)
    if len(known) < 3:
        return []
    rng = np.random.default_rng(0)
    samples = [known] + [rng.choice(known, 3, replace=False) for _ in range(_SAMPLES)]
    return _best(problem, [_fit(o.centers[s], o.gps_in_world[s]) for s in samples])


def from_up(problem: Problem, up_in_model: Float) -> list[State]:
    """Best similarity that keeps `up_in_model` vertical: plane similarities of two positions."""
    o = problem.observations
    known = np.flatnonzero(o.has_position)
    if len(known) < 2:
        return []
    level_from_model = rotation_to_up(up_in_model)
    level = o.centers @ level_from_model.T
    source = level[:, 0] + 1j * level[:, 1]
    target = o.gps_in_world[:, 0] + 1j * o.gps_in_world[:, 1]
    rng = np.random.default_rng(0)
    candidates: list[Similarity | None] = []
    for i, j in (rng.choice(known, 2, replace=False) for _ in range(_SAMPLES)):
        if abs(source[i] - source[j]) < 1e-9 or target[i] == target[j]:
            continue
        turn = (target[i] - target[j]) / (source[i] - source[j])
        c, s = turn.real / abs(turn), turn.imag / abs(turn)
        rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ level_from_model
        candidates.append(_with_rotation(problem, rotation, abs(turn)))
    return _best(problem, candidates)


def from_rotation(problem: Problem, world_from_model: Float) -> list[State]:
    """Similarity with a known rotation: scale from the distances of the positions."""
    o = problem.observations
    known = np.flatnonzero(o.has_position)
    if len(known) < 2:
        return []
    rng = np.random.default_rng(0)
    pairs = np.array([rng.choice(known, 2, replace=False) for _ in range(_SAMPLES)])
    in_model = (o.centers[pairs[:, 0]] - o.centers[pairs[:, 1]]) @ world_from_model.T
    in_world = o.gps_in_world[pairs[:, 0]] - o.gps_in_world[pairs[:, 1]]
    both = np.where(np.isfinite(in_world), in_world, 0.0)
    against = np.where(np.isfinite(in_world), in_model, 0.0)
    products, lengths = (both * against).sum(1), (against**2).sum(1)
    good = (products > 0) & (lengths > 0)
    if not good.any():
        return []
    scale = float(np.median(products[good] / lengths[good]))
    return _best(problem, [_with_rotation(problem, world_from_model, scale)])


def _fit(source: Float, target: Float) -> Similarity | None:
    try:
        found = fit_similarity(source, target)
    except (ValueError, np.linalg.LinAlgError):
        return None
    return found if np.isfinite(found.scale) and found.scale > 1e-12 else None


def _with_rotation(problem: Problem, rotation: Float, scale: float) -> Similarity:
    o = problem.observations
    delta = o.gps_in_world - scale * o.centers @ rotation.T
    heights = delta[o.has_height, 2]
    east_north = np.median(delta[o.has_position, :2], axis=0)
    up = float(np.median(heights)) if len(heights) else 0.0
    return Similarity(scale, rotation, np.array([*east_north, up]))


def _best(problem: Problem, candidates: list[Similarity | None]) -> list[State]:
    positions_only = problem.without_attitude()
    states = [problem.state_of(c) for c in candidates if c is not None]
    if not states:
        return []
    return [min(states, key=lambda state: robust_cost(positions_only, state))]
