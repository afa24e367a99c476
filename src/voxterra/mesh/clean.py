"""From a raw surface to a mesh that can be shown: no floaters, few holes, a budget of faces."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.spatial import cKDTree

from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import ReconstructionError
from voxterra.kernels.mesh.connectivity import half_edges_by_start, patch_loops
from voxterra.mesh.close import close_holes
from voxterra.mesh.config import CleanConfig
from voxterra.mesh.topology import (
    boundary_edges,
    boundary_loops,
    compacted,
    components,
    edge_keys,
    face_areas,
    good_faces,
    with_faces,
    with_patches,
)

logger = logging.getLogger(__name__)

# Taubin, Curve and Surface Smoothing without Shrinkage, 1995.
_TAUBIN_IN, _TAUBIN_OUT = 0.5, -0.53

# A small piece lies alone beyond this many of its own widths. Nearer ones were mostly right: at
# 0.5 the survey whose truth is known lost 0.9 % of its surface, at 2 nothing.
_ALONE = 2.0

# Pieces with fewer faces are spared by the decimation, as long as they take no more than this share
# of its budget.
_SPARED_FACES = 2000
_SPARED_SHARE = 0.25

# Cells of the surface in the largest piece that counts as small. Scraps of water in the demo have
# up to 620; the survey whose truth is known loses nothing even at 2000.
_ISLAND_CELLS = 1000.0


def clean_mesh(
    mesh: TriMesh,
    config: CleanConfig = CleanConfig(),
    *,
    progress: Progress = no_progress,
) -> TriMesh:
    """Remove floaters and islands, close small holes, smooth on demand, decimate to a budget.

    Args:
        mesh: with or without vertex colours; a texture is dropped.
        config: options.
        progress: called as it advances.

    Returns:
        A mesh in which every edge has one or two faces of consistent orientation. Open rims stay
        open. The same input gives the same mesh.

    Raises:
        ReconstructionError: the mesh has no face.
    """
    progress(0.0, "removing bad faces")
    mesh = with_faces(mesh, good_faces(mesh.vertices, mesh.faces))
    if len(mesh.faces) == 0:
        raise ReconstructionError(
            "The surface has no faces to clean.",
            where="mesh",
            next_step="Add photos that overlap by 60 % or more and show texture.",
        )
    progress(0.15, "removing floaters")
    island = config.max_island_m2
    if island is None:
        island = _ISLAND_CELLS * cell_area(mesh)
    mesh = remove_floaters(mesh, config.min_component_faces, config.min_component_m2)
    mesh = remove_islands(mesh, island)
    progress(0.3, "closing small holes")
    mesh = fill_holes(mesh, config.max_hole_edges)
    if config.closed:
        progress(0.4, "closing holes inside")
        mesh = close_holes(mesh)
    if config.smoothing_iterations:
        progress(0.5, "smoothing")
        mesh = smooth(mesh, config.smoothing_iterations)
    if config.max_faces is not None and len(mesh.faces) > config.max_faces:
        progress(0.55, f"decimating {len(mesh.faces)} to {config.max_faces} faces")
        mesh = decimate(mesh, config.max_faces)
    progress(1.0, f"{len(mesh.faces)} faces")
    return mesh


def cell_area(mesh: TriMesh) -> float:
    """Area of a cell of the grid that a surface was made on: two faces of the usual size."""
    return 2.0 * float(np.median(face_areas(mesh.vertices, mesh.faces)))


def remove_floaters(mesh: TriMesh, min_faces: int, min_area: float) -> TriMesh:
    """Without pieces of fewer faces, or of less area; the largest piece stays."""
    labels = components(mesh.faces, len(mesh.vertices))
    areas = np.bincount(labels, weights=face_areas(mesh.vertices, mesh.faces))
    keep = (np.bincount(labels) >= min_faces) & (areas >= min_area)
    keep[np.argmax(areas)] = True
    logger.info("kept %d of %d pieces of the surface", keep.sum(), len(keep))
    return with_faces(mesh, keep[labels])


def remove_islands(mesh: TriMesh, max_area: float) -> TriMesh:
    """Without small pieces that lie alone; the largest piece stays.

    Small is of less area than `max_area`; alone is further from all pieces that are not small than
    twice the piece's own width. Such are scraps of forest and water; a roof or a tree crown in a
    gap stays.
    """
    labels = components(mesh.faces, len(mesh.vertices))
    areas = np.bincount(labels, weights=face_areas(mesh.vertices, mesh.faces))
    small = areas < max_area
    small[np.argmax(areas)] = False
    if not small.any():
        return mesh
    label_of_vertex = np.zeros(len(mesh.vertices), np.int32)
    label_of_vertex[mesh.faces] = labels[:, None]
    tree = cKDTree(mesh.vertices[~small[label_of_vertex]])
    alone = np.zeros(len(areas), np.bool_)
    order = np.argsort(label_of_vertex, kind="stable")
    ends = np.cumsum(np.bincount(label_of_vertex))
    for label in np.flatnonzero(small):
        own = mesh.vertices[order[ends[label - 1] if label else 0 : ends[label]]]
        reach = _ALONE * np.ptp(own, axis=0).max()
        nearest = tree.query(own, distance_upper_bound=reach, workers=-1)[0]
        alone[label] = not np.isfinite(nearest).any()
    logger.info("removed %d small pieces that lie alone", alone.sum())
    return with_faces(mesh, ~alone[labels])


def fill_holes(mesh: TriMesh, max_edges: int) -> TriMesh:
    """Close boundary loops of at most `max_edges` edges with triangles of least total area.

    A loop is a hole only if a square on its perimeter is smaller than the piece it is in: so a
    small open sheet keeps its rim.
    """
    if max_edges < 3:
        return mesh
    vertices, faces = mesh.vertices, mesh.faces
    labels = components(faces, len(vertices))
    areas = np.bincount(labels, weights=face_areas(vertices, faces))
    edges, face_of_edge = boundary_edges(faces, len(vertices))
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    start, edge = boundary_loops(edges)
    if len(start) < 2:
        return mesh
    n_edges = np.diff(start)
    perimeter = np.add.reduceat(lengths[edge], start[:-1])
    area = areas[labels[face_of_edge[edge[start[:-1]]]]]
    chosen = (n_edges >= 3) & (n_edges <= max_edges) & (perimeter**2 <= area)
    # Against the boundary's direction, so that the patch faces the same side.
    rim = edges[edge[np.repeat(chosen, n_edges)], 1][::-1].astype(np.int32)
    new_start = np.concatenate([[0], np.cumsum(n_edges[chosen][::-1])])
    first, half_edge = half_edges_by_start(faces, len(vertices))
    patches, owner = patch_loops(vertices, new_start, rim, first, half_edge, faces)
    patches = _without_existing_edges(patches, owner, faces, len(vertices))
    logger.info("closed small holes with %d faces", len(patches))
    return with_patches(mesh, patches) if len(patches) else mesh


def _without_existing_edges(
    patches: NDArray[np.int32],
    owner: NDArray[np.int32],
    faces: NDArray[np.int32],
    n_vertices: int,
) -> NDArray[np.int32]:
    """Patches none of whose inner edges is already an edge of the mesh or of another patch."""
    if len(patches) == 0:
        return patches
    keys = edge_keys(patches, n_vertices).ravel()
    # An inner edge occurs twice in its patch, an edge of the rim once.
    _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    inner = count[inverse] == 2
    near = np.zeros(n_vertices, np.bool_)
    near[patches] = True
    existing = edge_keys(faces[near[faces].sum(1) >= 2], n_vertices)
    bad = (count[inverse] > 2) | (inner & np.isin(keys, existing))
    spoiled = np.zeros(owner.max() + 1, np.bool_)
    spoiled[np.repeat(owner, 3)[bad]] = True
    return patches[~spoiled[owner]]


def smooth(mesh: TriMesh, iterations: int) -> TriMesh:
    """Taubin smoothing; vertices on open rims stay where they are."""
    n = len(mesh.vertices)
    a, b = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    ones = np.ones(2 * len(a), np.float32)
    graph = coo_matrix((ones, (np.r_[a, b], np.r_[b, a])), shape=(n, n)).tocsr()
    mean = diags(1.0 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1.0)) @ graph
    moves = np.ones((n, 1), np.float32)
    moves[boundary_edges(mesh.faces, n)[0].ravel()] = 0.0
    center = mesh.vertices.mean(0)
    vertices = mesh.vertices - center
    for _ in range(iterations):
        for factor in (_TAUBIN_IN, _TAUBIN_OUT):
            vertices = vertices + factor * moves * (mean @ vertices - vertices)
    return replace(mesh, vertices=(vertices + center).astype(np.float32), texture=None)


def decimate(mesh: TriMesh, max_faces: int) -> TriMesh:
    """Quadric edge collapse (Garland & Heckbert 1997) to about `max_faces`; nearest colours.

    Small pieces keep their faces, unless they would take too much of the budget: a twig or a post
    of 60 faces is gone before a wall loses its shape.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    spared = _spared(mesh, max_faces)
    if not spared.any():
        return _collapsed(mesh, max_faces)
    rest = _collapsed(with_faces(mesh, ~spared), max_faces - int(spared.sum()))
    return _side_by_side(rest, with_faces(mesh, spared))


def _spared(mesh: TriMesh, max_faces: int) -> NDArray[np.bool_]:
    """(F,) faces of the pieces to spare, the smallest first."""
    labels = components(mesh.faces, len(mesh.vertices))
    sizes = np.bincount(labels)
    order = np.argsort(sizes, kind="stable")
    fits = np.cumsum(sizes[order]) <= _SPARED_SHARE * max_faces
    small = np.zeros(len(sizes), np.bool_)
    small[order[fits]] = True
    small &= sizes < _SPARED_FACES
    spared: NDArray[np.bool_] = small[labels]
    return spared


def _side_by_side(one: TriMesh, other: TriMesh) -> TriMesh:
    """Two meshes that have the same attributes, as one."""

    def both(name: str) -> Any:
        a, b = getattr(one, name), getattr(other, name)
        return None if a is None else np.concatenate([a, b])

    faces = np.concatenate([one.faces, other.faces + np.int32(len(one.vertices))])
    return TriMesh(both("vertices"), faces, both("colors"), face_source=both("face_source"))


def _collapsed(mesh: TriMesh, max_faces: int) -> TriMesh:
    center = mesh.vertices.mean(0)
    vertices, faces = fast_simplification.simplify(
        mesh.vertices - center, mesh.faces, target_count=max_faces
    )[:2]
    vertices = (np.asarray(vertices) + center).astype(np.float32)
    faces = np.asarray(faces, np.int32)
    faces = faces[good_faces(vertices, faces)]
    colors = None
    if mesh.colors is not None:
        nearest = cKDTree(mesh.vertices).query(vertices, workers=-1)[1]
        colors = mesh.colors[nearest]
    source = None
    if mesh.face_source is not None:
        middles = cKDTree(mesh.vertices[mesh.faces].mean(1))
        source = mesh.face_source[middles.query(vertices[faces].mean(1), workers=-1)[1]]
    return compacted(TriMesh(vertices, faces, colors, face_source=source))
