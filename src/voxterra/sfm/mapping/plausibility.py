"""Judge whether a model has the shape of the scene, which its number of photos does not show.

The checks need no ground truth: do photos that clearly match agree with their poses, is the lens
a real one, is its focal length that of the metadata, does the model fit GPS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from voxterra.adjust.lenses import MAX_FOCAL_DRIFT, cameras_of, lens_doubts
from voxterra.core.transforms import fit_similarity

Float = NDArray[np.float64]
Doubt = Literal["lens", "focal", "gps", "misplaced"]

# Matches from which on two photos count as connected; and from which on a pair is hardly ever
# wrong, so that the model must agree with it.
GOOD_PAIR, STRONG_PAIR = 30, 50
# Largest distance of a match from its epipolar line [px]; COLMAP verifies pairs with the same.
_EPIPOLAR_PX = 4.0

# Photos whose rays are kept in memory: 0.2 MB each.
_MOST_RAYS = 1000

# A model off by more than this many standard deviations of the GPS has a wrong shape.
_GPS_SIGMAS = 4.0


@dataclass(frozen=True)
class Plausibility:
    """Evidence for and against a set of models.

    Attributes:
        registered: photos in the largest model of each connected set, without misplaced ones.
        connected: photos that good matches connect in sets of three or more.
        misplaced: indices of photos whose best pair contradicts their pose.
        focal_drift: largest log ratio of an estimated focal length to the one in the metadata.
        lens_doubts: what is odd about the lenses, in words.
        gps_misfit_m: RMS distance from GPS on the ground after a similarity fit; None if unknown.
        gps_limit_m: largest misfit that GPS noise explains [m].
        error_px: mean reprojection error.
        observations: number of observations of points in photos.
    """

    registered: int
    connected: int
    misplaced: tuple[int, ...]
    focal_drift: float
    lens_doubts: tuple[str, ...]
    gps_misfit_m: float | None
    gps_limit_m: float
    error_px: float
    observations: int

    @property
    def complete(self) -> bool:
        """Whether nearly all connected photos are registered."""
        return self.registered >= 0.9 * self.connected

    @property
    def doubts(self) -> frozenset[Doubt]:
        """Checks that the models fail."""
        found: dict[Doubt, bool] = {
            "lens": bool(self.lens_doubts),
            "focal": self.focal_drift > MAX_FOCAL_DRIFT,
            "gps": self.gps_misfit_m is not None and self.gps_misfit_m > self.gps_limit_m,
            "misplaced": bool(self.misplaced),
        }
        return frozenset(doubt for doubt, holds in found.items() if holds)


def judge(
    models: Sequence[pycolmap.Reconstruction],
    database: Path,
    *,
    known_focal_px: dict[int, float],
    positions_m: Float,
    gps_sigma_m: float,
) -> Plausibility:
    """Judge models of one photo set.

    Args:
        models: largest first.
        database: with the matches.
        known_focal_px: focal lengths in the metadata, by camera id.
        positions_m: (N, 3) by GPS in a local metric frame, NaN where unknown; photo i is image i+1.
        gps_sigma_m: horizontal standard deviation of the positions.
    """
    sets = connected_sets(database)
    images = [set(model.reg_image_ids()) for model in models]
    misplaced = tuple(sorted({i for model in models for i in misplaced_images(model, database)}))
    bad = set(misplaced)
    largest = [max((len((s & r) - bad) for r in images), default=0) for s in sets]
    used = [(c, model.camera(c)) for model in models for c in cameras_of(model)]
    ratios = [c.mean_focal_length() / known_focal_px[i] for i, c in used if i in known_focal_px]
    return Plausibility(
        registered=sum(largest),
        connected=sum(map(len, sets)),
        misplaced=tuple(i - 1 for i in misplaced),
        focal_drift=max((abs(float(np.log(r))) for r in ratios), default=0.0),
        lens_doubts=tuple(dict.fromkeys(doubt for _, c in used for doubt in lens_doubts(c))),
        gps_misfit_m=gps_misfit_m(models[0], positions_m, gps_sigma_m) if models else None,
        gps_limit_m=_GPS_SIGMAS * gps_sigma_m,
        error_px=float(models[0].compute_mean_reprojection_error()) if models else np.inf,
        observations=sum(int(m.compute_num_observations()) for m in models),
    )


def connected_sets(database: Path) -> list[set[int]]:
    """Sets of image ids that good pairs connect: of three or more, or all if none is so large."""
    with closing(pycolmap.Database.open(database)) as opened:
        pairs = [(a, b) for a, b, count in _pairs(opened) if count >= GOOD_PAIR]
    ids = sorted({i for pair in pairs for i in pair})
    index = {image_id: k for k, image_id in enumerate(ids)}
    rows, columns = [index[a] for a, _ in pairs], [index[b] for _, b in pairs]
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(ids), len(ids)))
    labels = connected_components(graph, directed=False)[1] if ids else []
    sets: dict[int, set[int]] = defaultdict(set)
    for image_id, label in zip(ids, labels, strict=True):
        sets[label].add(image_id)
    return [s for s in sets.values() if len(s) >= 3] or list(sets.values())


def misplaced_images(model: pycolmap.Reconstruction, database: Path) -> list[int]:
    """Ids of images whose best pair contradicts their pose in the model.

    The best pair is the one with most matches. Pairs taken from nearly one place count too; in
    these only the rotation matters.
    """
    best: dict[int, tuple[int, bool]] = {}
    for a, b, count, fits in pair_fits(model, database, STRONG_PAIR):
        for i in (a, b):
            best[i] = max(best.get(i, (0, False)), (count, fits))
    return sorted(i for i, (_, fits) in best.items() if not fits)


def pair_fits(
    model: pycolmap.Reconstruction, database: Path, min_matches: int
) -> list[tuple[int, int, int, bool]]:
    """Pairs of registered images: ids, number of matches, whether these fit the model's poses."""
    registered = set(model.reg_image_ids())
    found: list[tuple[int, int, int, bool]] = []
    with closing(pycolmap.Database.open(database)) as opened:

        @lru_cache(_MOST_RAYS)
        def rays(i: int) -> Float:
            camera = model.camera(model.image(i).camera_id)
            keypoints = opened.read_keypoints(i)[:, :2].astype(np.float64)
            xy = np.asarray(camera.cam_from_img(keypoints))
            return np.column_stack([xy, np.ones(len(xy))])

        for a, b, count in _pairs(opened):
            if count < min_matches or a not in registered or b not in registered:
                continue
            matches = opened.read_two_view_geometry(a, b).inlier_matches
            fits = _epipolar_fits(model, a, b, rays(a)[matches[:, 0]], rays(b)[matches[:, 1]])
            found.append((a, b, count, fits))
    return found


def _epipolar_fits(
    model: pycolmap.Reconstruction, a: int, b: int, in_a: Float, in_b: Float
) -> bool:
    """Whether most matches lie near the epipolar lines of the model (Sampson distance)."""
    b_from_a = model.image(b).cam_from_world() * model.image(a).cam_from_world().inverse()
    x, y, z = b_from_a.translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ b_from_a.rotation.matrix()
    line_b, line_a = in_a @ essential.T, in_b @ essential
    norm = np.sqrt((line_b[:, :2] ** 2).sum(1) + (line_a[:, :2] ** 2).sum(1))
    distance = np.abs((in_b * line_b).sum(1)) / np.maximum(norm, 1e-12)
    focal = model.camera(model.image(a).camera_id).mean_focal_length()
    return bool(np.median(distance) * focal < _EPIPOLAR_PX)


def _pairs(database: pycolmap.Database) -> Iterable[tuple[int, int, int]]:
    pair_ids, counts = database.read_two_view_geometry_num_inliers()
    for pair_id, count in zip(pair_ids, counts, strict=True):
        a, b = pycolmap.pair_id_to_image_pair(pair_id)
        yield a, b, count


def gps_misfit_m(
    model: pycolmap.Reconstruction, positions_m: Float, sigma_m: float
) -> float | None:
    """RMS distance on the ground between model and GPS, of the three quarters that fit best.

    None where fewer than five photos have GPS, or their extent is too small for the GPS noise.
    """
    ids = sorted(model.reg_image_ids())
    target = positions_m[np.array(ids, int) - 1]
    source = np.array([model.image(i).projection_center() for i in ids])
    known = np.isfinite(target).all(axis=1)
    source, target = source[known], target[known]
    if len(target) < 5 or np.ptp(target[:, :2], axis=0).max() < 5 * sigma_m:
        return None
    kept = np.arange(len(target))
    for _ in range(3):
        try:
            fitted = fit_similarity(source[kept], target[kept]).apply(source)
        except (ValueError, np.linalg.LinAlgError):
            return None
        off = np.linalg.norm((fitted - target)[:, :2], axis=1)
        kept = np.argsort(off)[: max(4, int(np.ceil(0.75 * len(off))))]
    return float(np.sqrt((off[kept] ** 2).mean()))
