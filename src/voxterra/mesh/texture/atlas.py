"""Filling the atlas: copying charts from photos, painting levelled colours, hiding the rest."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.spatial import cKDTree

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress
from voxterra.kernels.raster.texture_atlas import dilate, paint_charts
from voxterra.mesh.texture.charts import Charts, reduced_size
from voxterra.mesh.texture.solve import conjugate_gradients

BACKGROUND_BLOCK_PX = 64
GREY = 128.0


def copy_photos(charts: Charts, maps: DepthMaps, progress: Progress) -> NDArray[np.uint8]:
    """(H, W, 3) atlas with every chart's rectangle as it is in its photo, reduced where needed."""
    raw = np.zeros((charts.height, charts.width, 3), np.uint8)
    for index, view in enumerate(maps.views):
        progress(index / len(maps.views), f"cutting photo {index + 1}/{len(maps.views)}")
        chosen = np.flatnonzero(charts.chart_label == index)
        if not len(chosen):
            continue
        photo = maps.load_color(index)
        size = reduced_size(view.width, view.height, charts.scale)
        if size != (view.width, view.height):
            photo = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        for chart in chosen:
            _copy(photo, raw, charts.origin[chart], charts.place[chart], charts.size[chart])
    return raw


def _copy(
    photo: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    origin: NDArray[np.int64],
    place: NDArray[np.int64],
    size: NDArray[np.int64],
) -> None:
    low = np.maximum(origin, 0)
    high = np.minimum(origin + size, [photo.shape[1], photo.shape[0]])
    if (high > low).all():
        (x, y), (right, bottom) = place + low - origin, place + high - origin
        raw[y:bottom, x:right] = photo[low[1] : high[1], low[0] : high[0]]


def paint(
    charts: Charts,
    raw: NDArray[np.uint8],
    shift: NDArray[np.float32],
    photo_count: int,
    out: NDArray[np.uint8],
    covered: NDArray[np.uint8],
    *,
    from_photo: bool,
) -> None:
    """Paint the charts that come from photos, or those that do not, into `out` and `covered`."""
    seen_chart = charts.chart_label < photo_count
    chosen = np.flatnonzero(seen_chart == from_photo)
    if not len(chosen):
        return
    parts = [charts.order[charts.start[c] : charts.start[c + 1]] for c in chosen]
    start = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    seen = charts.label < photo_count
    paint_charts(start, np.concatenate(parts), charts.corners, shift, seen, raw, out, covered)


def vertex_colors(
    mesh: TriMesh, charts: Charts, photo_count: int, out: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """(V, 3) colours [0, 255] of all vertices: from the atlas where a photo shows them.

    The others keep the mesh's colours, moved as smoothly as possible to meet the atlas; without
    any they take the smoothest colours between those around them.
    """
    count = len(mesh.vertices)
    seen = charts.label < photo_count
    vertex = mesh.faces[seen].ravel()
    # A little inside the face, where texels are its own.
    corners = charts.corners[seen]
    inside = 0.9 * corners + 0.1 * corners.mean(axis=1, keepdims=True)
    column, row = np.floor(inside.reshape(-1, 2)).astype(np.int64).T
    texel = out[np.clip(row, 0, len(out) - 1), np.clip(column, 0, out.shape[1] - 1)]
    share = np.bincount(vertex, minlength=count)
    known = share > 0
    total = np.stack([np.bincount(vertex, texel[:, c], count) for c in range(3)], axis=1)
    mean = total / np.maximum(share, 1)[:, None]
    base = np.zeros((count, 3)) if mesh.colors is None else mesh.colors.astype(np.float64)
    if known.all():
        return mean
    if not known.any():
        return base if mesh.colors is not None else np.full((count, 3), GREY)
    delta = _extend(mesh, known, mean - base)
    return np.where(known[:, None], mean, np.clip(base + delta, 0.0, 255.0))


def _extend(
    mesh: TriMesh, known: NDArray[np.bool_], value: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values at unknown vertices: harmonic between the known ones along the surface.

    Parts without any known vertex take the values of the known vertices nearest to them.
    """
    ends = np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    ends = ends[~known[ends].all(axis=1)]
    a, b = np.concatenate([ends, ends[:, ::-1]]).T
    number = np.cumsum(~known) - 1
    size = int((~known).sum())
    a, b = a[~known[a]], b[~known[a]]
    free = ~known[b]
    anchor = 1e-5
    degree = np.bincount(number[a], minlength=size) + anchor
    links = coo_matrix((np.ones(int(free.sum())), (number[a[free]], number[b[free]])), (size, size))
    matrix = (diags(degree) - links).tocsr()
    nearest = cKDTree(mesh.vertices[known]).query(mesh.vertices[~known])[1]
    start = value[known][nearest]
    right = anchor * start
    for c in range(value.shape[1]):
        right[:, c] += np.bincount(number[a[~free]], value[b[~free], c], size)
    out = value.copy()
    out[~known] = conjugate_gradients(matrix, right, start, accuracy=0.1)
    return out


def hide_background(out: NDArray[np.uint8], covered: NDArray[np.uint8], gutter_px: int) -> None:
    """Grow charts into their gutters and give the rest of the atlas the colours around it.

    So no mip-map level mixes a chart with black.
    """
    dilate(out, covered, gutter_px)
    block = BACKGROUND_BLOCK_PX
    height, width = covered.shape
    painted = covered > 0
    mean = out[painted][:: max(1, painted.size // 100_000)].mean(axis=0) if painted.any() else GREY
    for top in range(0, height, block):
        for left in range(0, width, block):
            here = painted[top : top + block, left : left + block]
            if here.all():
                continue
            tile = out[top : top + block, left : left + block]
            tile[~here] = tile[here].mean(axis=0) if here.any() else mean
