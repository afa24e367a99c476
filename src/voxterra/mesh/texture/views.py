"""Candidate photos of every face: what they see, and how well.

Quality follows Waechter, Moehrle & Goesele, "Let There Be Color!" (ECCV 2014): how large a face
appears, and whether the photo agrees with the others on its colour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress
from voxterra.kernels.raster import texture_views as kernels
from voxterra.kernels.raster.zbuffer import rasterize_depth
from voxterra.mesh.texture.config import TextureConfig

FACES_FOR_SHARPNESS = 60_000
FACES_AT_ONCE = 200_000


@dataclass(frozen=True)
class Candidates:
    """The best photos of each face.

    Attributes:
        view: (F, K) int32 photo index, -1 = none.
        quality: (F, K) float32, about the area of the face in the photo [px], 0 = none.
        channels: (F, K, 4) float32 mean RGB [0, 255] and gradient magnitude.
    """

    view: NDArray[np.int32]
    quality: NDArray[np.float32]
    channels: NDArray[np.float32]


def find_candidates(
    mesh: TriMesh, maps: DepthMaps, config: TextureConfig, progress: Progress
) -> Candidates:
    """Look at the mesh through every photo, one at a time, and keep each face's best photos."""
    count, views = len(mesh.faces), maps.views
    slots = max(1, min(config.candidates, len(views)))
    found = Candidates(
        np.full((count, slots), -1, np.int32),
        np.zeros((count, slots), np.float32),
        np.zeros((count, slots, kernels.CHANNELS), np.float32),
    )
    for index, view in enumerate(views):
        progress(index / len(views), f"{index + 1}/{len(views)} photos")
        quality, channels = _score(mesh, maps, index, view, config)
        kernels.keep_best(index, quality, channels, found.view, found.quality, found.channels)
    return found


def _score(
    mesh: TriMesh, maps: DepthMaps, index: int, view: PinholeView, config: TextureConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    shrink = min(1.0, config.visibility_px / max(view.width, view.height))
    small = view.resized(round(view.width * shrink), round(view.height * shrink))
    xy, depth = small.project(mesh.vertices.astype(np.float64))
    in_cam = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
    z, face_index = rasterize_depth(in_cam, mesh.faces, small.K, small.width, small.height)
    nothing = np.zeros((len(mesh.faces), kernels.CHANNELS), np.float32)
    if not (face_index >= 0).any():
        return nothing[:, 0], nothing
    near = depth > depth.max() * 1e-4
    inverse = np.where(near, 1.0 / np.where(near, depth, 1.0), 0.0)
    inverse_z = np.divide(1.0, z, out=np.zeros_like(z), where=z > 0)
    window = np.ones((2 * kernels.SILHOUETTE_PX + 1,) * 2, np.uint8)
    image, usable = _channels(maps, index, small)
    sums = nothing.copy()
    counts, unusable = np.zeros(len(nothing), np.int32), np.zeros(len(nothing), np.int32)
    kernels.accumulate_pixels(face_index, image, usable, sums, counts, unusable)
    options = (
        config.depth_tolerance,
        float(np.sqrt(small.K[0, 0] * small.K[1, 1])),
        1.0 / shrink,
        float(config.two_sided),
    )
    quality, channels = kernels.score_faces(
        xy, inverse, mesh.faces, face_index, cv2.dilate(inverse_z, window),
        image, usable, sums, counts, unusable, options,
    )  # fmt: skip
    return quality, channels


def _channels(
    maps: DepthMaps, index: int, small: PinholeView
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(H, W, 4) float32 RGB and gradient magnitude, and (H, W) usable pixels, reduced."""
    size = (small.width, small.height)
    rgb = cv2.resize(maps.load_color(index), size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    mask = maps.load_mask(index)
    usable = np.ones((small.height, small.width), np.bool_)
    if mask is not None:
        usable = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return np.dstack([rgb.astype(np.float32), gradient]), usable


def sharpness(found: Candidates, count: int) -> NDArray[np.float64]:
    """(N,) how steep edges are in each photo, beside their common mean; 1 without shared faces.

    Least squares on log values over the faces that several photos share, with the faces' own
    values eliminated and outliers reweighted (Cauchy).
    """
    shared = np.flatnonzero((found.view >= 0).sum(axis=1) >= 2)
    if len(shared) > FACES_FOR_SHARPNESS:
        shared = shared[np.linspace(0, len(shared) - 1, FACES_FOR_SHARPNESS).astype(int)]
    if not len(shared):
        return np.ones(count)
    view = found.view[shared]
    gradient = found.channels[shared, :, 3].astype(np.float64)
    value = np.log(np.maximum(gradient, 1e-3))
    # An edge's mean gradient falls as the face grows in the photo.
    value += 0.5 * np.log(np.maximum(found.quality[shared], 1e-12))
    usable = (view >= 0) & (gradient > 1.0)
    return np.asarray(np.exp(_offsets(view, _Pairs.of(view, count), value, usable, count)))


@dataclass(frozen=True)
class _Pairs:
    """The pairs of photos that share a face: the entries of a sparse (N, N) matrix.

    Attributes:
        row, column: (E,) photos of each entry; those of the diagonal are there for all photos.
        diagonal: (N,) entries of the diagonal.
        entry: (F, K, K) entry of each pair of a face's candidates, 0 where one is missing.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    diagonal: NDArray[np.int64]
    entry: NDArray[np.int32]

    @staticmethod
    def of(view: NDArray[np.int32], count: int) -> _Pairs:
        """Of the candidates (F, K) of some faces, -1 = none, among `count` photos."""
        first = np.repeat(view, view.shape[1], axis=1).ravel()
        second = np.tile(view, view.shape[1]).ravel()
        there = (first >= 0) & (second >= 0)
        own = np.arange(count, dtype=np.int32)
        row, column = (np.concatenate([own, x[there]]) for x in (first, second))
        pattern = coo_matrix((np.ones(len(row), np.int8), (row, column)), shape=(count, count))
        pattern = pattern.tocsr()
        pattern.sort_indices()
        start, column = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64)
        row = np.repeat(np.arange(count), np.diff(start))
        entry = kernels.find_entries(view, start, column)
        return _Pairs(row, column, np.flatnonzero(row == column), entry)


def _offsets(
    view: NDArray[np.int32],
    pairs: _Pairs,
    value: NDArray[np.float64],
    usable: NDArray[np.bool_],
    count: int,
) -> NDArray[np.float64]:
    offset, weight = np.zeros(count), usable.astype(np.float64)
    for _ in range(8):
        entries, right = kernels.gain_equations(
            view, pairs.entry, value, weight, count, len(pairs.row)
        )
        # The mean offset is free: keep it 0.
        entries[pairs.diagonal] += 1e-3 * max(entries[pairs.diagonal].sum() / count, 1e-9)
        matrix = coo_matrix((entries, (pairs.row, pairs.column)), shape=(count, count))
        offset = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A").solve(right)
        residual = value - offset[view]
        total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
        residual -= (weight * residual).sum(axis=1, keepdims=True) / total
        scale = 1.5 * np.median(np.abs(residual[usable])) if usable.any() else 1.0
        weight = usable / (1.0 + (residual / max(scale, 1e-3)) ** 2)
    return offset


def reject_outliers(
    found: Candidates, sharpness: NDArray[np.float64], config: TextureConfig
) -> Candidates:
    """Drop photos that disagree with a face's other photos on its colour; weigh by sharpness.

    With fewer than three photos there is no majority, so nothing is dropped.
    """
    present = found.view >= 0
    drop = np.zeros_like(present)
    several = np.flatnonzero(present.sum(axis=1) >= 3)
    for start in range(0, len(several), FACES_AT_ONCE):
        faces = several[start : start + FACES_AT_ONCE]
        view = found.view[faces]
        color = found.channels[faces, :, :3].copy()
        color[view < 0] = np.nan
        distance = np.abs(color - np.nanmedian(color, axis=1, keepdims=True)).max(axis=2)
        spread = np.nanmedian(distance, axis=1, keepdims=True)
        limit = np.maximum(255.0 * config.outlier_level, 3.0 * spread)
        drop[faces] = distance > limit
    sharp = np.clip(sharpness, 0.05, 2.0).astype(np.float32) ** 2
    quality = np.where(present & ~drop, found.quality * sharp[found.view], 0.0)
    view = np.where(quality > 0, found.view, -1).astype(np.int32)
    return replace(found, view=view, quality=quality.astype(np.float32))
