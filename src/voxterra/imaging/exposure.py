"""Levelling of brightness and colour between photos that see the same surface.

Each photo is fitted to what the photos show in common: at every place the median of the logarithms
of their colours. A place so stays as bright as its photos show it; gains that only had to agree
with each other (as in Brown and Lowe 2007, "Automatic panoramic image stitching") could drift, as
brightly lit ground is exposed briefly.

Places are pixels of the depth maps, spread evenly over every photo; another photo shows a place
where its own depth map has the same depth. What is kept of a photo is bounded, so memory grows with
the number of photos alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.bands import Bands
from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.core.exposure import Exposure
from voxterra.core.progress import Progress, no_progress
from voxterra.kernels.raster.exposure import apply_gains

log = logging.getLogger(__name__)

DARKEST, BRIGHTEST = 8.0, 247.0
LEAST_PLACES = 24_000
# A place is seen by ten photos or more where photos overlap as they should.
PLACES_A_PHOTO = 150
MOST_SAMPLES_A_PHOTO = 6_000
# Photos are compared at a quarter of their size, which forgives small shifts.
SHRINK = 4
# Of the depth: how far a photo's own depth may lie from a place that it shows.
DEPTH_TOLERANCE = 0.01
FEWEST_SAMPLES = 60
# As if so many samples said that a photo is right as it is.
RIDGE = 5.0
LARGEST_GAIN = 1.5
# Differences must fall to this share of what they were, at places that the fit has not seen.
WORTHWHILE = 0.97
# Photos at a place are not all photos: targets are improved by what the levelled photos show. This
# share of a target stays with the photos as they are, so that a place stays as bright as it was.
ANCHOR, TARGET_ROUNDS = 0.1, 4
_ROUNDS = 8
_GREY = np.array([0.299, 0.587, 0.114])


class LevelledPhotos:
    """Depth maps whose photos have their gains applied; all else is as it was.

    The numbers of `load_bands` stay as they are: they are measurements.
    """

    def __init__(self, maps: DepthMaps, exposure: Exposure):
        self._maps = maps
        self._gain = exposure.log_gain

    @property
    def views(self) -> tuple[PinholeView, ...]:
        return self._maps.views

    @property
    def source_names(self) -> tuple[str, ...]:
        return self._maps.source_names

    def load(self, index: int) -> DepthMap:
        return self._maps.load(index)

    def load_color(self, index: int) -> NDArray[np.uint8]:
        color = self._maps.load_color(index)
        if not self._gain[index].any():
            return color
        return np.asarray(apply_gains(np.ascontiguousarray(color), self._gain[index]))

    def load_bands(self, index: int) -> Bands:
        return self._maps.load_bands(index)

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        return self._maps.load_mask(index)


def levelled(maps: DepthMaps) -> DepthMaps:
    """The photos levelled, by the exposure that `maps` know, as a `DepthStore` does; else found."""
    if isinstance(maps, LevelledPhotos):
        return maps
    known: Exposure | None = getattr(maps, "exposure", None)
    return LevelledPhotos(maps, find_exposure(maps) if known is None else known)


def find_exposure(maps: DepthMaps, progress: Progress = no_progress) -> Exposure:
    """Gains that level the photos, kept only where the photos then differ less.

    Each photo gets a gain for each channel and one ramp across the image, the same for all
    channels: light and vignetting change brightness over an image, white balance does not.

    Args:
        maps: photos and depth maps.
        progress: called twice a photo.
    """
    count = len(maps.views)
    samples = _sample(maps, progress)
    own = [np.flatnonzero(samples.photo == index) for index in range(count)]
    # Half of the places judge what the other half found.
    unseen = samples.place % 2 == 1
    trial = _fit_all(samples, [rows[~unseen[rows]] for rows in own])
    before = _difference(samples, Exposure.none(count), unseen)
    after = _difference(samples, trial, unseen)
    progress(1.0, "exposure")
    if not after < WORTHWHILE * before:
        log.info(
            "exposure: photos stay as they are (where they meet they differ by %.1f of 255, "
            "levelled %.1f)", before, after,
        )  # fmt: skip
        return Exposure.none(count)
    found = _fit_all(samples, own)
    gains = np.exp(found.log_gain[..., 0].mean(axis=1))
    log.info(
        "exposure: %d photos levelled by %.2f to %.2f; where they meet they differ by %.1f of 255, "
        "before %.1f", count, gains.min(), gains.max(), after, before,
    )  # fmt: skip
    few = sum(len(rows) < FEWEST_SAMPLES for rows in own)
    if few:
        log.info("exposure: %d photos share too little with others and stay as they are", few)
    return found


@dataclass(frozen=True)
class _Samples:
    """What photos show of places, neither dark nor glaring; ascending photos.

    Attributes:
        photo: (N,) int32. place: (N,) int32 number of the place.
        at: (N, 2) float32 where in the photo, x and y in [-1, 1].
        log_color: (N, 3) float32 logarithm of the colour.
    """

    photo: NDArray[np.int32]
    place: NDArray[np.int32]
    at: NDArray[np.float32]
    log_color: NDArray[np.float32]


def _sample(maps: DepthMaps, progress: Progress) -> _Samples:
    count = len(maps.views)
    places: list[NDArray[np.float64]] = []
    each = max(PLACES_A_PHOTO, LEAST_PLACES // max(count, 1))
    for index in range(count):
        progress(0.4 * index / count, f"exposure {index + 1}/{count} photos")
        places.append(_places(maps.load(index), each))
    start = np.concatenate([[0], np.cumsum([len(p) for p in places])]).astype(np.int64)
    spheres = _spheres(places)
    # Where a photo shows too many, all photos keep the same ones.
    rank = np.random.default_rng(0).permutation(int(start[-1]))
    parts = []
    for index, view in enumerate(maps.views):
        progress(0.4 + 0.6 * index / count, f"exposure {index + 1}/{count} photos")
        near = [int(i) for i in np.flatnonzero(_may_see(view, spheres))]
        number = np.concatenate([np.zeros(0, np.int64), *(_range(start, i) for i in near)])
        points = np.concatenate([np.zeros((0, 3)), *(places[i] for i in near)])
        shown, at, color = _look(maps, index, points)
        number = number[shown]
        if len(number) > MOST_SAMPLES_A_PHOTO:
            chosen = np.sort(np.argsort(rank[number])[:MOST_SAMPLES_A_PHOTO])
            number, at, color = number[chosen], at[chosen], color[chosen]
        parts.append((np.full(len(number), index), number, at, np.log(color)))
    kinds = (np.int32, np.int32, np.float32, np.float32)
    return _Samples(*(np.concatenate(p).astype(k) for p, k in zip(zip(*parts), kinds)))  # type: ignore[arg-type]


def _range(start: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    return np.arange(start[index], start[index + 1])


def _places(known: DepthMap, count: int) -> NDArray[np.float64]:
    """(N, 3) world points of about `count` pixels of a depth map, spread evenly."""
    height, width = known.depth.shape
    step = max(1, int(np.sqrt(height * width / count)))
    depth = known.depth[step // 2 :: step, step // 2 :: step]
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
    pixels = np.column_stack([columns, rows]).astype(np.float64) * step + (step // 2 + 0.5)
    return known.view.unproject(pixels, depth[rows, columns].astype(np.float64))


def _spheres(places: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(V, 4) centre and radius of a sphere around each photo's places; NaN where there are none."""
    out = np.full((len(places), 4), np.nan)
    for index, points in enumerate(places):
        if len(points):
            out[index, :3] = np.median(points, axis=0)
            out[index, 3] = np.linalg.norm(points - out[index, :3], axis=1).max()
    return out


def _may_see(view: PinholeView, spheres: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) False where a sphere lies beyond one side of the photo."""
    x, y, z = view.cam_from_world[:, :3] @ spheres[:, :3].T + view.cam_from_world[:, 3:]
    radius, K = spheres[:, 3], view.K
    seen = z + radius > 0
    for focal, middle, size, across in (
        (K[0, 0], K[0, 2], view.width, x), (K[1, 1], K[1, 2], view.height, y),
    ):  # fmt: skip
        for reach, side in ((middle, across), (size - middle, -across)):
            seen &= (focal * side + reach * z) / np.hypot(focal, reach) + radius > 0
    return np.asarray(seen)


def _look(
    maps: DepthMaps, index: int, points: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Which of (N, 3) points a photo shows, where in it (x, y in [-1, 1]), and their colours."""
    known = maps.load(index)
    view, (height, width) = known.view, known.depth.shape
    pixels, depth = view.project(points)
    inside = (depth > 0) & (pixels >= 1).all(1) & (pixels < [width - 1, height - 1]).all(1)
    number = np.flatnonzero(inside)
    column, row = pixels[number].astype(np.int64).T
    own = known.depth[row, column]
    number = number[np.abs(own - depth[number]) <= DEPTH_TOLERANCE * depth[number]]
    at = pixels[number] / [width, height]
    color, usable = maps.load_color(index), maps.load_mask(index)
    size = tuple(max(16, n // SHRINK) for n in (color.shape[1], color.shape[0]))
    small = cv2.resize(color, size, interpolation=cv2.INTER_AREA)
    column, row = (at * size).astype(np.int64).T
    shown = small[row, column].astype(np.float64)
    good = ((shown > DARKEST) & (shown < BRIGHTEST)).all(axis=1)
    if usable is not None:
        column, row = (at * [usable.shape[1], usable.shape[0]]).astype(np.int64).T
        good &= usable[row, column]
    return number[good], 2.0 * at[good] - 1.0, shown[good]


def _targets(samples: _Samples, log_color: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, 3) median of (N, 3) log colours at each sample's place; NaN where one photo shows it."""
    order = np.argsort(samples.place, kind="stable")
    place = samples.place[order]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    size = np.diff(np.append(first, len(place)))
    out = np.full(log_color.shape, np.nan, np.float32)
    for channel in range(3):
        value = log_color[order, channel]
        value = value[np.lexsort((value, place))]
        middle = 0.5 * (value[first + (size - 1) // 2] + value[first + size // 2])
        out[order, channel] = np.repeat(np.where(size >= 2, middle, np.nan), size)
    return out


def _fit_all(samples: _Samples, rows: list[NDArray[np.int64]]) -> Exposure:
    """Gains of all photos, each from its own rows of the samples."""
    found = Exposure.none(len(rows))
    as_is = target = _targets(samples, samples.log_color)
    for turn in range(TARGET_ROUNDS):
        if turn:
            shown = samples.log_color + found.at(samples.photo, samples.at)
            target = ANCHOR * as_is + (1.0 - ANCHOR) * _targets(samples, shown)
        for index, own in enumerate(rows):
            own = own[np.isfinite(target[own, 0])]
            if len(own) >= FEWEST_SAMPLES:
                wanted = (target[own] - samples.log_color[own]).astype(np.float64)
                found.log_gain[index] = _fit(wanted, samples.at[own].astype(np.float64))
    return found


def _fit(wanted: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) robust gains of a photo, from (N, 3) wanted log gains at (N, 2) places in it.

    Iteratively reweighted least squares (Cauchy), with a pull to no gain.
    """
    # Columns: a constant for each channel, then the ramp that all channels share.
    out, weight = np.zeros((3, 3)), np.ones(len(wanted))
    for _ in range(_ROUNDS):
        normal = np.diag([weight.sum() + RIDGE] * 3 + [3.0 * RIDGE] * 2)
        normal[:3, 3:] = weight @ at
        normal[3:, :3] = normal[:3, 3:].T
        normal[3:, 3:] += 3.0 * (weight[:, None] * at).T @ at
        right = np.concatenate([weight @ wanted, (weight * wanted.sum(axis=1)) @ at])
        found = np.linalg.solve(normal, right)
        out[:, 0], out[:, 1:] = found[:3], found[3:]
        residual = np.abs(wanted - found[:3] - (at @ found[3:])[:, None]).mean(axis=1)
        scale = max(1.5 * float(np.median(residual)), 1e-3)
        weight = 1.0 / (1.0 + (residual / scale) ** 2)
    strongest = np.abs(out[:, 0]).max() + np.abs(out[0, 1:]).sum()
    out *= min(1.0, float(np.log(LARGEST_GAIN)) / max(float(strongest), 1e-12))
    return out


def _difference(samples: _Samples, exposure: Exposure, chosen: NDArray[np.bool_]) -> float:
    """Median difference in grey [0, 255] of the two photos that show a place most centrally."""
    rows = np.flatnonzero(chosen)
    log_color = samples.log_color[rows] + exposure.at(samples.photo[rows], samples.at[rows])
    grey = np.exp(log_color) @ _GREY
    off_centre = (samples.at[rows].astype(np.float64) ** 2).sum(axis=1)
    order = np.lexsort((off_centre, samples.place[rows]))
    place = samples.place[rows][order]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    first = first[np.append(place, -1)[first + 1] == place[first]]
    if not len(first):
        return 0.0
    return float(np.median(np.abs(grey[order[first]] - grey[order[first + 1]])))
