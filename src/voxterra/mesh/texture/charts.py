"""Charts: connected faces of one photo, cut straight from it and packed into an atlas.

A chart keeps the photo's own pixel grid, so nothing is resampled unless the atlas would grow
beyond its budget; then all photos are reduced by one factor. Faces that no photo sees are
projected along the axis they face most, at about one texel an edge: they only carry colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.errors import UsageError
from voxterra.kernels.raster.texture_atlas import pack_skyline
from voxterra.mesh.texture.config import TextureConfig
from voxterra.mesh.texture.labels import Adjacency

Float = NDArray[np.float64]
Index = NDArray[np.int64]

LARGEST_CHART_PX = 1024
POOR_FILL = 0.5  # charts that fill less of their rectangle are split
SMALL_CHART_PX = 64.0
TEXELS_PER_EDGE = 2.0  # of faces without photo


@dataclass(frozen=True)
class Charts:
    """Where every face lies in the atlas.

    Attributes:
        label: (F,) photo index; photo count and above = no photo, one number for each axis.
        component: (F,) connected faces of one label; pieces of one share their colours' shift.
        order, start: faces of chart c are order[start[c]:start[c + 1]].
        chart_label: (C,) label of each chart.
        origin: (C, 2) first column and row of each chart in its (reduced) photo.
        place: (C, 2) the same in the atlas. size: (C, 2) width and height.
        corners: (F, 3, 2) texel coordinates in the atlas, v down, texel centres at +0.5.
        width, height: of the atlas.
        scale: factor by which photos are reduced.
    """

    label: NDArray[np.int32]
    component: NDArray[np.int32]
    order: NDArray[np.int64]
    start: NDArray[np.int64]
    chart_label: NDArray[np.int32]
    origin: NDArray[np.int64]
    place: NDArray[np.int64]
    size: NDArray[np.int64]
    corners: NDArray[np.float64]
    width: int
    height: int
    scale: float


def reduced_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height of a photo reduced by `scale`."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def lay_out(
    mesh: TriMesh,
    maps: DepthMaps,
    adjacency: Adjacency,
    views: NDArray[np.int32],
    config: TextureConfig,
) -> Charts:
    """Cut the mesh into charts by the photo of each face, and pack them.

    Raises:
        UsageError: the charts do not fit into `max_atlas_px` at any reduction.
    """
    label = np.where(views >= 0, views, len(maps.views) + _facing_axis(mesh)).astype(np.int32)
    corners = _corners_in_photos(mesh, maps, label)
    component = _connected(label, adjacency)
    piece = _split_sparse(component, corners, adjacency)
    order = np.argsort(piece, kind="stable")
    start = np.append(np.flatnonzero(np.diff(piece[order], prepend=-1)), len(piece))
    chart_label = label[order[start[:-1]]]

    scale, gutter = 1.0, config.gutter_px
    for _ in range(30):
        factor = np.full((len(maps.views) + 6, 2), scale)
        for i, view in enumerate(maps.views):
            width, height = reduced_size(view.width, view.height, scale)
            factor[i] = width / view.width, height / view.height
        scaled = corners * factor[label][:, None]
        low, high = _bounds(scaled, order, start)
        origin = np.floor(low).astype(np.int64) - gutter
        size = np.ceil(high).astype(np.int64) - origin + gutter
        packed = _pack(size, config.max_atlas_px)
        if packed is not None:
            place, width, height = packed
            shift = np.empty((len(label), 2))
            shift[order] = np.repeat(place - origin, np.diff(start), axis=0)
            return Charts(
                label, component, order, start, chart_label, origin, place, size,
                scaled + shift[:, None], width, height, scale,
            )  # fmt: skip
        excess = size.prod(axis=1).sum() / config.max_atlas_px**2
        scale *= float(np.clip(1.0 / np.sqrt(excess * 1.03), 0.5, 0.97))
        if scale < 0.05 and gutter > 1:
            scale, gutter = 1.0, 1
    raise UsageError(
        f"A texture of {config.max_atlas_px} px cannot hold {len(start) - 1} charts.",
        where="--texture.max-atlas-px",
        next_step="Allow a larger one (--texture.max-atlas-px) or fewer faces (--mesh.max-faces).",
    )


def _facing_axis(mesh: TriMesh) -> NDArray[np.int32]:
    """(F,) 0..5: the axis a face looks along, +x -x +y -y +z -z."""
    a, b, c = mesh.vertices[mesh.faces].astype(np.float64).swapaxes(0, 1)
    normal = np.cross(b - a, c - a)
    axis = np.abs(normal).argmax(axis=1)
    negative = np.take_along_axis(normal, axis[:, None], axis=1)[:, 0] < 0
    return np.asarray(2 * axis + negative, np.int32)


def _corners_in_photos(mesh: TriMesh, maps: DepthMaps, label: NDArray[np.int32]) -> Float:
    """(F, 3, 2) pixels of the faces' corners in their own full-size photos."""
    corners = np.zeros((*mesh.faces.shape, 2))
    for index in np.unique(label):
        chosen = np.flatnonzero(label == index)
        points = mesh.vertices[mesh.faces[chosen]].astype(np.float64)
        if index < len(maps.views):
            corners[chosen] = maps.views[index].project(points.reshape(-1, 3))[0].reshape(-1, 3, 2)
            continue
        axis = (index - len(maps.views)) // 2
        edge = np.median(np.linalg.norm(points[:, 1] - points[:, 0], axis=1))
        flat = np.delete(points, axis, axis=2) * (TEXELS_PER_EDGE / max(float(edge), 1e-300))
        corners[chosen] = flat
    return corners


def _connected(group: NDArray[np.integer], adjacency: Adjacency) -> NDArray[np.int32]:
    """(F,) number of the connected set of faces of equal `group` each face belongs to."""
    f, g = adjacency.edge_faces.T
    joined = group[f] == group[g]
    ones = np.ones(int(joined.sum()), np.int8)
    graph = coo_matrix((ones, (f[joined], g[joined])), shape=(len(group), len(group)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def _bounds(corners: Float, order: Index, start: Index) -> tuple[Float, Float]:
    """(C, 2) lowest and highest corner of each chart."""
    low = np.minimum.reduceat(corners.min(axis=1)[order], start[:-1], axis=0)
    high = np.maximum.reduceat(corners.max(axis=1)[order], start[:-1], axis=0)
    return low, high


def _split_sparse(
    component: NDArray[np.int32], corners: Float, adjacency: Adjacency
) -> NDArray[np.int32]:
    """Halve charts that are huge or fill little of their rectangle, until they do.

    Both halves come from one photo, so the cut is not a seam; it only saves space.
    """
    piece = component
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    face_area = 0.5 * np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    centre = corners.mean(axis=1)
    for _ in range(12):
        order = np.argsort(piece, kind="stable")
        start = np.append(np.flatnonzero(np.diff(piece[order], prepend=-1)), len(piece))
        low, high = _bounds(corners, order, start)
        size = high - low
        area = np.bincount(piece, face_area)
        sparse = (area < POOR_FILL * size.prod(axis=1)) & (size.max(axis=1) > SMALL_CHART_PX)
        split = (sparse | (size.max(axis=1) > LARGEST_CHART_PX)) & (np.diff(start) > 1)
        if not split.any():
            break
        axis = size.argmax(axis=1)
        middle = np.take_along_axis(0.5 * (low + high), axis[:, None], axis=1)[:, 0]
        upper = centre[np.arange(len(piece)), axis[piece]] > middle[piece]
        piece = _connected(2 * piece + (upper & split[piece]), adjacency)
    return piece


def _pack(size: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], int, int] | None:
    """Places, width and height of an atlas that holds all rectangles, or None beyond `limit`."""
    area = int(size.prod(axis=1).sum())
    widest = int(size[:, 0].max())
    if area > limit**2 or widest > limit or int(size[:, 1].max()) > limit:
        return None
    order = np.lexsort((-size[:, 0], -size[:, 1]))
    for slack in (1.02, 1.1, 1.3, None):
        width = limit if slack is None else max(widest, int(np.ceil(np.sqrt(area * slack))))
        width = min(-(-width // 16) * 16, limit)
        sorted_place, used = pack_skyline(np.ascontiguousarray(size[order]), width)
        height = min(-(-int(used) // 16) * 16, max(limit, int(used)))
        if height <= limit and (height <= 1.25 * width or slack is None or width == limit):
            place = np.empty_like(sorted_place)
            place[order] = sorted_place
            return place, width, height
    return None
