"""One photo for each face, in patches as large as quality allows.

The energy is that of Lempitsky & Ivanov, "Seamless Mosaicing of Image-Based Texture Maps"
(CVPR 2007): a data cost of each face and photo, and a cost for every edge between faces of
different photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress
from voxterra.kernels.raster import texture_labels as kernels
from voxterra.mesh.texture.config import TextureConfig
from voxterra.mesh.texture.views import Candidates

ROUNDS = 40
SWEEPS = 10
WORST = 3.0  # log quality ratio beyond which a photo gets no worse


@dataclass(frozen=True)
class Adjacency:
    """Which faces meet along edges; edges of more than two faces join none.

    Attributes:
        edge_faces: (E, 2) the faces of each inner edge.
        edge_sides: (E, 2) the side of the edge in each; side s runs from corner s to s + 1.
    """

    edge_faces: NDArray[np.int32]
    edge_sides: NDArray[np.int32]


def face_adjacency(faces: NDArray[np.int32]) -> Adjacency:
    """Inner edges of a mesh of (F, 3) faces."""
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2).astype(np.int64)
    key = ends.min(axis=1) * (int(faces.max(initial=0)) + 1) + ends.max(axis=1)
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    before = np.concatenate([[False], same[:-1]])
    after = np.concatenate([same[1:], [False]])
    first = np.flatnonzero(same & ~before & ~after)
    pair = np.stack([order[first], order[first + 1]], axis=1)
    return Adjacency((pair // 3).astype(np.int32), (pair % 3).astype(np.int32))


def choose_views(
    mesh: TriMesh,
    adjacency: Adjacency,
    found: Candidates,
    config: TextureConfig,
    progress: Progress,
) -> NDArray[np.int32]:
    """(F,) photo of each face, -1 where none sees it."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    sides = np.roll(corners, -1, axis=1) - corners
    length = np.linalg.norm(sides, axis=2)
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    # Relative to the mesh's own means, so that neither unit nor density matters.
    area_weight = np.clip(area / max(area.mean(), 1e-300), 0.1, 20.0)[:, None]
    best = found.quality.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.minimum(np.log(best / found.quality), WORST)
    cost = np.where(found.view >= 0, ratio * area_weight, np.inf).astype(np.float32)

    neighbour = np.full(mesh.faces.shape, -1, np.int32)
    neighbour_side = np.zeros(mesh.faces.shape, np.int32)
    (f, g), (s, t) = adjacency.edge_faces.T, adjacency.edge_sides.T
    neighbour[f, s], neighbour[g, t] = g, f
    neighbour_side[f, s], neighbour_side[g, t] = t, s
    seam = config.smoothness * np.clip(length / max(length.mean(), 1e-300), 0.1, 5.0)
    seam = seam.astype(np.float32)

    messages = np.zeros((*mesh.faces.shape, found.view.shape[1]), np.float32)
    sent = np.zeros_like(messages)
    for n in range(ROUNDS):
        progress(n / ROUNDS, "choosing photos")
        kernels.send_messages(found.view, cost, neighbour, neighbour_side, seam, messages, sent)
        messages, sent = sent, messages
    labels: NDArray[np.int32] = kernels.best_beliefs(found.view, cost, messages)
    for _ in range(SWEEPS):
        if kernels.sweep(found.view, cost, neighbour, seam, labels) == 0:
            break
    return labels
