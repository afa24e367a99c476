"""Z-buffers of triangle meshes: what a camera sees, and the highest surface from above.

Rows are split into bands; each band draws its own triangles in face order, so bands run in
parallel and the result is the same for any number of threads. Where two faces are equally near,
the one with the lower index is kept.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

BAND_ROWS = 16
# Of a triangle's own size: closes the cracks that rounding leaves along shared edges.
EDGE_TOLERANCE = 1e-9
# Of the farthest vertex: how near the camera a surface may come when the caller does not say.
RELATIVE_NEAR = 1e-4


def rasterize_depth(
    vertices_in_cam: NDArray[np.floating],
    faces: NDArray[np.int32],
    K: NDArray[np.float64],
    width: int,
    height: int,
    *,
    near: float | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Depth and face seen at every pixel centre of a pinhole camera; both sides of a face count.

    Args:
        vertices_in_cam: (V, 3) in the camera frame (x right, y down, z forward), any unit.
        faces: (F, 3) vertex indices.
        K: (3, 3) pinhole matrix [px], first pixel centre at (0.5, 0.5); skew is ignored.
        width, height: of the image [px].
        near: faces are clipped at this depth; None = 1e-4 of the farthest vertex.

    Returns:
        depth (H, W) float32 along the optical axis, perspective-correct, 0 where there is none,
        and face_index (H, W) int32, -1 where there is none.
    """
    vertices = np.ascontiguousarray(vertices_in_cam, np.float64).reshape(-1, 3)
    faces = np.ascontiguousarray(faces, np.int32).reshape(-1, 3)
    z = vertices[:, 2]
    farthest = float(z.max(initial=0.0, where=np.isfinite(z)))
    if farthest <= 0 or not len(faces):
        return np.zeros((height, width), np.float32), np.full((height, width), -1, np.int32)
    limit = farthest * RELATIVE_NEAR if near is None else near
    ids = np.arange(len(faces), dtype=np.int32)
    behind = ~(z >= limit)
    if behind.any():
        vertices, faces, ids = _clip_near(vertices, faces, ids, behind, limit)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / vertices[:, 2]
        x = K[0, 0] * vertices[:, 0] * inverse + K[0, 2]
        y = K[1, 1] * vertices[:, 1] * inverse + K[1, 2]
    nearest, face_index = _rasterize(x, y, inverse, faces, ids, width, height)
    depth = np.zeros((height, width), np.float32)
    np.divide(1.0, nearest, out=depth, where=face_index >= 0, casting="same_kind")
    return depth, face_index


def rasterize_height(
    xy_in_cells: NDArray[np.floating],
    z: NDArray[np.floating],
    faces: NDArray[np.int32],
    width: int,
    height: int,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Highest surface over every cell centre, seen straight from above.

    Args:
        xy_in_cells: (V, 2) column and row of each vertex; the first cell's centre is (0.5, 0.5).
        z: (V,) height of each vertex [any unit]; a vertex that is not finite drops its faces.
        faces: (F, 3) vertex indices.
        width, height: of the raster [cells].

    Returns:
        z (H, W) float32, NaN where there is no surface, and face_index (H, W) int32, -1 there.
    """
    xy = np.asarray(xy_in_cells, np.float64).reshape(-1, 2)
    faces = np.ascontiguousarray(faces, np.int32).reshape(-1, 3)
    x, y = np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1])
    ids = np.arange(len(faces), dtype=np.int32)
    values = np.ascontiguousarray(z, np.float64).reshape(-1)
    highest, face_index = _rasterize(x, y, values, faces, ids, width, height)
    highest[face_index < 0] = np.nan
    return highest.astype(np.float32), face_index


def _rasterize(x, y, value, faces, ids, width, height):
    """Largest `value` at every pixel centre and the id of its face; -inf and -1 without one."""
    row_range = _row_ranges(x, y, value, faces, width, height)
    start, order = _bin_by_band(row_range, (height + BAND_ROWS - 1) // BAND_ROWS)
    best = np.full((height, width), -np.inf)
    face_index = np.full((height, width), -1, np.int32)
    with numba.parallel_chunksize(1):
        _draw_bands(x, y, value, faces, ids, row_range, start, order, best, face_index)
    return best, face_index


@njit(cache=True, parallel=True)
def _row_ranges(x, y, value, faces, width, height):
    """(F, 2) first and one past last row whose centres a face may cover; equal = draws nothing."""
    out = np.zeros((len(faces), 2), np.int32)
    for f in prange(len(faces)):
        a, b, c = faces[f]
        if not (np.isfinite(value[a]) and np.isfinite(value[b]) and np.isfinite(value[c])):
            continue
        x_low, x_high = min(x[a], x[b], x[c]), max(x[a], x[b], x[c])
        y_low, y_high = min(y[a], y[b], y[c]), max(y[a], y[b], y[c])
        if not (x_low < width and x_high >= 0 and y_low < height and y_high >= 0):
            continue
        first_column = np.ceil(max(x_low, 0.0) - 0.5 - 1e-6)
        if first_column > np.floor(min(x_high, float(width)) - 0.5 + 1e-6):
            continue
        first = int(np.ceil(max(y_low, 0.0) - 0.5 - 1e-6))
        stop = int(np.floor(min(y_high, float(height)) - 0.5 + 1e-6)) + 1
        if stop > first:
            out[f, 0] = max(first, 0)
            out[f, 1] = max(min(stop, height), out[f, 0])
    return out


@njit(cache=True)
def _bin_by_band(row_range, bands):
    """Faces of band b are order[start[b]:start[b + 1]], in face order."""
    start = np.zeros(bands + 1, np.int64)
    for f in range(len(row_range)):
        if row_range[f, 1] > row_range[f, 0]:
            for b in range(row_range[f, 0] // BAND_ROWS, (row_range[f, 1] - 1) // BAND_ROWS + 1):
                start[b + 1] += 1
    for b in range(bands):
        start[b + 1] += start[b]
    cursor = start.copy()
    order = np.empty(start[bands], np.int32)
    for f in range(len(row_range)):
        if row_range[f, 1] > row_range[f, 0]:
            for b in range(row_range[f, 0] // BAND_ROWS, (row_range[f, 1] - 1) // BAND_ROWS + 1):
                order[cursor[b]] = f
                cursor[b] += 1
    return start, order


@njit(cache=True, parallel=True)
def _draw_bands(x, y, value, faces, ids, row_range, start, order, best, face_index):
    height = best.shape[0]
    for band in prange(len(start) - 1):
        top, bottom = band * BAND_ROWS, min((band + 1) * BAND_ROWS, height)
        for k in range(start[band], start[band + 1]):
            f = order[k]
            rows = (max(top, row_range[f, 0]), min(bottom, row_range[f, 1]))
            _draw_face(x, y, value, faces[f], ids[f], rows, best, face_index)


@njit(cache=True)
def _draw_face(x, y, value, face, face_id, rows, best, face_index):
    width = best.shape[1]
    a, b, c = face
    xa, ya, xb, yb, xc, yc = x[a], y[a], x[b], y[b], x[c], y[c]
    area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
    if area == 0.0 or not np.isfinite(area):
        return
    inverse_area = 1.0 / area
    va, vb, vc = value[a], value[b], value[c]
    low, high = min(va, vb, vc), max(va, vb, vc)
    first = max(int(np.ceil(max(min(xa, xb, xc), 0.0) - 0.5 - 1e-6)), 0)
    stop = min(int(np.floor(min(max(xa, xb, xc), float(width)) - 0.5 + 1e-6)) + 1, width)
    # Barycentric weights are linear along a row.
    step_b, step_c = (yc - ya) * inverse_area, (ya - yb) * inverse_area
    for row in range(rows[0], rows[1]):
        py = row + 0.5 - ya
        base_b = -(xc - xa) * py * inverse_area
        base_c = (xb - xa) * py * inverse_area
        for column in range(first, stop):
            px = column + 0.5 - xa
            weight_b, weight_c = base_b + px * step_b, base_c + px * step_c
            weight_a = 1.0 - weight_b - weight_c
            if min(weight_a, weight_b, weight_c) < -EDGE_TOLERANCE:
                continue
            v = va + weight_b * (vb - va) + weight_c * (vc - va)
            v = min(max(v, low), high)
            # Strictly larger: of equal values the first drawn, the lowest id, stays.
            if v > best[row, column] or (
                v == best[row, column] and face_id < face_index[row, column]
            ):
                best[row, column] = v
                face_index[row, column] = face_id


def _clip_near(vertices, faces, ids, behind, near):
    """Faces in front of `near`; a face that crosses it is cut into one or two triangles."""
    corners_behind = behind[faces].sum(axis=1)
    keep = corners_behind == 0
    crossing = (corners_behind == 1) | (corners_behind == 2)
    crossing &= np.isfinite(vertices[faces]).all(axis=(1, 2)) if crossing.any() else False
    new_vertices, new_faces, new_ids = [vertices], [faces[keep]], [ids[keep]]
    count = len(vertices)
    for corners, kind in ((1, "quad"), (2, "triangle")):
        chosen = crossing & (corners_behind == corners)
        if not chosen.any():
            continue
        # Turn each face so that its odd corner (alone behind, or alone in front) comes first.
        face = faces[chosen]
        odd = behind[face] if corners == 1 else ~behind[face]
        turn = (odd.argmax(axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = vertices[np.take_along_axis(face, turn, axis=1)].swapaxes(0, 1)
        ab, ac = _cut(a, b, near), _cut(a, c, near)
        pieces = [(a, ab, ac)] if kind == "triangle" else [(ab, b, c), (ab, c, ac)]
        for piece in pieces:
            new_vertices.append(np.stack(piece, axis=1).reshape(-1, 3))
            size = len(piece[0])
            new_faces.append(np.arange(count, count + 3 * size, dtype=np.int32).reshape(-1, 3))
            new_ids.append(ids[chosen])
            count += 3 * size
    return np.concatenate(new_vertices), np.concatenate(new_faces), np.concatenate(new_ids)


def _cut(a, b, near):
    """Points where the segments a-b cross depth `near`."""
    t = (near - a[:, 2]) / (b[:, 2] - a[:, 2])
    point = a + t[:, None] * (b - a)
    point[:, 2] = near
    return point
