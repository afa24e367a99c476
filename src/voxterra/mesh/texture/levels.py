"""Levelling at seams: a smooth shift of colours inside charts that makes them meet.

Each vertex has one unknown shift for every chart it belongs to. Least squares asks that the
shifted colours agree at seams and that neighbours inside a chart shift alike (Lempitsky & Ivanov
2007; colours averaged along seam edges as in Waechter et al. 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags

from voxterra.core.mesh import TriMesh
from voxterra.kernels.raster.texture_atlas import sample_mean
from voxterra.mesh.texture.charts import Charts
from voxterra.mesh.texture.labels import Adjacency
from voxterra.mesh.texture.solve import conjugate_gradients

SAMPLES = 5
SMOOTHNESS = 0.1
FADE_PX = 60.0  # shifts fade out over this distance from a seam, whatever the size of faces
SAMPLE_RADIUS_PX = 2
REAL_EDGE_LEVEL = 25.0  # larger differences are rather two things seen than two exposures
LARGEST_SHIFT = 80.0
ACCURACY = 0.02  # levels of 255, per round


def level_seams(
    mesh: TriMesh,
    charts: Charts,
    adjacency: Adjacency,
    candidates: NDArray[np.int32],
    raw: NDArray[np.uint8],
    photo_count: int,
) -> NDArray[np.float32]:
    """(F, 3, 3) RGB shift at each face's corners, added to what the photo shows [0, 255].

    Args:
        mesh, charts, adjacency: the textured mesh.
        candidates: (F, K) photos that see each face.
        raw: (H, W, 3) atlas as cut from the photos.
        photo_count: labels below it are photos.
    """
    seen = charts.label < photo_count
    f, g = adjacency.edge_faces.T
    seam = (charts.component[f] != charts.component[g]) & seen[f] & seen[g]
    # Colours around an edge compare only where both photos see both of its sides: past a
    # silhouette a photo shows something else.
    seam &= (candidates[f] == charts.label[g][:, None]).any(axis=1)
    seam &= (candidates[g] == charts.label[f][:, None]).any(axis=1)
    shift = np.zeros((len(mesh.faces), 3, 3), np.float32)
    if not seam.any():
        return shift
    node = _nodes(mesh, charts)
    count = int(node.max()) + 1
    color, pairs = _seam_colors(mesh, charts, adjacency, seam, raw, node, count)
    a, b = pairs.T
    gap = color[b] - color[a]
    weight = 1.0 / (1.0 + (np.abs(gap).mean(axis=1) / REAL_EDGE_LEVEL) ** 2)
    inner = np.stack([node, np.roll(node, -1, axis=1)], axis=-1)[seen].reshape(-1, 2)
    matrix = _laplacian(a, b, weight, count)
    matrix += SMOOTHNESS * _laplacian(inner[:, 0], inner[:, 1], np.ones(len(inner)), count)
    anchor = SMOOTHNESS / FADE_PX**2 * np.maximum(_texels_around(charts, node, count), 1.0)
    matrix = (matrix + diags(anchor)).tocsr()
    right = np.zeros((count, 3))
    for c in range(3):
        pull = weight * gap[:, c]
        right[:, c] = np.bincount(a, pull, count) - np.bincount(b, pull, count)
    solution = conjugate_gradients(matrix, right, np.zeros_like(right), accuracy=ACCURACY)
    shift[seen] = np.clip(solution, -LARGEST_SHIFT, LARGEST_SHIFT)[node[seen]]
    return shift


def _nodes(mesh: TriMesh, charts: Charts) -> NDArray[np.int64]:
    """(F, 3) number of the (vertex, component) each corner belongs to."""
    components = int(charts.component.max()) + 1
    key = mesh.faces.astype(np.int64) * components + charts.component[:, None]
    return np.asarray(np.unique(key.ravel(), return_inverse=True)[1].reshape(mesh.faces.shape))


def _texels_around(charts: Charts, node: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(count,) texels that belong to each node: a third of its faces' areas in the atlas."""
    one = charts.corners[:, 1] - charts.corners[:, 0]
    two = charts.corners[:, 2] - charts.corners[:, 0]
    third = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / 6.0
    return np.bincount(node.ravel(), np.repeat(third, 3), count).astype(np.float64)


def _laplacian(
    a: NDArray[np.int64], b: NDArray[np.int64], weight: NDArray[np.float64], count: int
) -> csr_matrix:
    rows, columns = np.concatenate([a, b, a, b]), np.concatenate([a, b, b, a])
    values = np.concatenate([weight, weight, -weight, -weight])
    return coo_matrix((values, (rows, columns)), shape=(count, count)).tocsr()


def _seam_colors(
    mesh: TriMesh,
    charts: Charts,
    adjacency: Adjacency,
    seam: NDArray[np.bool_],
    raw: NDArray[np.uint8],
    node: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(count, 3) colour of each node at the seams, and (P, 2) pairs of nodes that should agree."""
    total, weights, ends = np.zeros((count, 3)), np.zeros(count), []
    faces, sides = adjacency.edge_faces[seam], adjacency.edge_sides[seam]
    first_vertex = mesh.faces[faces[:, 0], sides[:, 0]]
    for which in range(2):
        face, one = faces[:, which], sides[:, which]
        two = (one + 1) % 3
        flip = mesh.faces[face, one] != first_vertex
        one, two = np.where(flip, two, one), np.where(flip, one, two)
        nodes = np.stack([node[face, one], node[face, two]], axis=1)
        ends.append(nodes)
        p, q = charts.corners[face, one], charts.corners[face, two]
        for t in np.linspace(0.0, 1.0, SAMPLES):
            color = sample_mean(raw, (1 - t) * p + t * q, SAMPLE_RADIUS_PX)
            for end, part in ((0, 1.0 - t), (1, t)):
                weights += part * np.bincount(nodes[:, end], minlength=count)
                for c in range(3):
                    total[:, c] += part * np.bincount(nodes[:, end], color[:, c], count)
    pairs = np.concatenate([np.stack([ends[0][:, e], ends[1][:, e]], axis=1) for e in range(2)])
    return total / np.maximum(weights, 1e-9)[:, None], np.unique(pairs, axis=0)
