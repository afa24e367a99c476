"""The joint least-squares problem of placing a component: unknowns, residuals, Jacobian.

Unknowns are a similarity (7), the errors that all attitudes of a flight share (3): a yaw of the
compass, a pitch and a roll of the mount, and the lag of all positions along the path (1). Residuals
are positions and, for each attitude, its tilt and heading separately.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxterra.core.transforms import Similarity, rotation_from_vector
from voxterra.georef.attitude import tilt_and_heading
from voxterra.georef.observations import Observations
from voxterra.georef.upright import Upright

Float = NDArray[np.float64]

UNKNOWNS = 11
LOG_SCALE, TILT, HEADING, POSITION = slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 7)
BIAS, LAG = slice(7, 10), 10

# Kinds of observation whose noise level is estimated, each with one factor on its base sigma.
KINDS = ("h", "h stated", "v", "v stated", "tilt", "heading")

# A gimbal's or mount's common error, and a compass's [rad]; FREE for a compass that is ignored.
MOUNT_SIGMA, COMPASS_SIGMA, FREE_SIGMA = np.radians(0.5), np.radians(5.0), np.radians(180.0)
# Almost no knowledge at all: keeps what nothing observes finite, and its sigma large.
_VAGUE = np.array([1.0] + [np.radians(60.0)] * 3 + [1e4] * 3)
# The lag is free, or fixed at 0 [m].
_LAG_SIGMA, _NO_LAG_SIGMA = 1e3, 1e-6


@dataclass(frozen=True)
class State:
    """Values of the unknowns.

    Attributes:
        scale, rotation: of world_from_model.
        position: (3,) of the model's centroid in world [m].
        bias: (3,) yaw, pitch, roll that all attitudes share [rad].
        lag: how far positions stay behind the cameras at the usual speed [m].
    """

    scale: float
    rotation: Float
    position: Float
    bias: Float
    lag: float = 0.0

    def moved(self, step: Float) -> State:
        """The state after an (11,) step: log scale, rotation vector, position, bias, lag."""
        return State(
            self.scale * float(np.exp(step[0])),
            rotation_from_vector(step[1:4]) @ self.rotation,
            self.position + step[POSITION],
            self.bias + step[BIAS],
            self.lag + float(step[LAG]),
        )


@dataclass(frozen=True)
class Problem:
    """Observations of a component and which of them to use.

    Attributes:
        use_tilt, use_heading: use these parts of the attitudes.
        compass_sigma: prior standard deviation of the common yaw error [rad].
        mount_sigma: prior standard deviation of the common pitch and roll errors [rad].
        upright: up in the model from how the cameras are held, or None.
        way: (N, 3) in the model, the direction each camera moved in when it took its photo, of
            length 1 at the usual speed; None fixes the lag at 0.
    """

    observations: Observations
    use_tilt: bool = False
    use_heading: bool = False
    compass_sigma: float = COMPASS_SIGMA
    mount_sigma: float = MOUNT_SIGMA
    upright: Upright | None = None
    way: Float | None = None

    def without_attitude(self) -> Problem:
        """The same with positions only."""
        return replace(self, use_tilt=False, use_heading=False)

    @cached_property
    def centroid(self) -> Float:
        centroid: Float = self.observations.centers[self.observations.has_position].mean(0)
        return centroid

    @cached_property
    def row_kind(self) -> NDArray[np.int64]:
        """(R,) index into KINDS of each residual row."""
        o = self.observations
        kinds = [np.repeat(o.stated_h[o.has_position].astype(int), 2)]
        kinds.append(2 + o.stated_v[o.has_height].astype(int))
        attitudes = int(o.has_attitude.sum())
        kinds.append(np.full(2 * attitudes * self.use_tilt, 4))
        kinds.append(np.full(attitudes * self.use_heading, 5))
        return np.concatenate(kinds).astype(np.int64)

    @cached_property
    def row_block(self) -> NDArray[np.int64]:
        """(R,) index of the block that each row shares its robust weight with."""
        o = self.observations
        n_h, n_v, n_a = (int(x.sum()) for x in (o.has_position, o.has_height, o.has_attitude))
        parts = [np.repeat(np.arange(n_h), 2), n_h + np.arange(n_v)]
        if self.use_tilt:
            parts.append(n_h + n_v + np.repeat(np.arange(n_a), 2))
        if self.use_heading:
            parts.append(n_h + n_v + n_a * self.use_tilt + np.arange(n_a))
        return np.concatenate(parts).astype(np.int64)

    def state_of(self, world_from_model: Similarity) -> State:
        """The state with this similarity and no bias."""
        s = world_from_model
        return State(s.scale, s.rotation, s.apply(self.centroid), np.zeros(3))

    def similarity_of(self, state: State) -> Similarity:
        """world_from_model of a state."""
        translation = state.position - state.scale * state.rotation @ self.centroid
        return Similarity(state.scale, state.rotation, translation)

    def state_like(self, state: State, other: Problem) -> State:
        """The state that means the same here as `state` does in another problem of these images:
        positions are those of the centroid of the photos that a problem uses."""
        position = other.similarity_of(state).apply(self.centroid)
        return replace(state, position=position)

    def offsets(self, state: State) -> Float:
        """(N, 3) model, where it was when its position was recorded, minus that position [m]."""
        o = self.observations
        delta = self.similarity_of(state).apply(o.centers) - o.gps_in_world
        return delta if self.way is None else delta - state.lag * self.way @ state.rotation.T

    def residuals(self, state: State) -> Float:
        """(R,) residuals, model minus observation, in base standard deviations."""
        o = self.observations
        delta = self.offsets(state)
        p, h = o.has_position, o.has_height
        parts = [(delta[p, :2] / o.sigma_h[p, None]).ravel(), delta[h, 2] / o.sigma_v[h]]
        if self.use_tilt or self.use_heading:
            a = o.has_attitude
            tilt, heading = tilt_and_heading(self._attitude_errors(state))
            if self.use_tilt:
                parts.append((tilt / o.sigma_attitude[a, None]).ravel())
            if self.use_heading:
                parts.append(heading / o.sigma_attitude[a])
        return np.concatenate(parts)

    def _attitude_errors(self, state: State) -> Float:
        """(A, 3, 3) rotations of the model's world against the world of each attitude."""
        o = self.observations
        a = o.has_attitude
        yaw, pitch, roll = state.bias
        # The mount's error turns the camera about its own axes, the compass's about up. Yaw counts
        # clockwise, so a compass that reads too much makes its world turn about -z.
        mount = rotation_from_vector(np.array([pitch, 0.0, roll]))
        compass = rotation_from_vector(np.array([0.0, 0.0, yaw]))
        enu_from_displayed = np.transpose(mount @ o.displayed_from_enu[a], (0, 2, 1))
        prior = compass @ enu_from_displayed @ o.displayed_from_model[a]
        return state.rotation @ np.transpose(prior, (0, 2, 1))

    def prior_rows(self, state: State) -> Float:
        """Residuals of the priors, in standard deviations."""
        rows = [state.bias / np.array([self.compass_sigma, self.mount_sigma, self.mount_sigma])]
        lag_sigma = _NO_LAG_SIGMA if self.way is None else _LAG_SIGMA
        rows.append(np.array([state.lag / lag_sigma]))
        if self.upright is not None:
            up = state.rotation @ self.upright.up
            angle = np.arctan2(np.hypot(up[0], up[1]), up[2])
            direction = up[:2] / max(np.hypot(up[0], up[1]), 1e-12)
            rows.append(angle * direction / self.upright.sigma)
        if self.observations.scale is not None:
            factor, sigma = self.observations.scale
            rows.append(np.array([np.log(state.scale / factor) / sigma]))
        return np.concatenate(rows)

    def jacobian(self, state: State) -> tuple[Float, Float]:
        """(R, 11) and (P, 11) derivatives of `residuals` and of all prior rows by a step."""
        columns, prior_columns = [], []
        for j in range(UNKNOWNS):
            step = np.zeros(UNKNOWNS)
            step[j] = 1e-3 if POSITION.start <= j < POSITION.stop or j == LAG else 1e-6
            plus, minus = state.moved(step), state.moved(-step)
            size = 2 * step[j]
            columns.append((self.residuals(plus) - self.residuals(minus)) / size)
            prior_columns.append((self.prior_rows(plus) - self.prior_rows(minus)) / size)
        vague = np.hstack([np.diag(1.0 / _VAGUE), np.zeros((7, UNKNOWNS - 7))])
        return np.column_stack(columns), np.vstack([np.column_stack(prior_columns), vague])
