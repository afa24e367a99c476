"""True surfaces: a mesh, and which of its faces a result is to be scored on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.mesh import TriMesh
from voxterra.errors import InputError
from voxterra.io.ply import read_ply


@dataclass(frozen=True)
class TruthSurface:
    """A true mesh.

    Attributes:
        mesh: the whole of what is known, context included.
        scored: (F,) bool: inside the evaluated area and seen by enough photos. Points of a result
            that lie nearest to another face are left out of the score.
    """

    mesh: TriMesh
    scored: NDArray[np.bool_]


def read_truth_surface(
    path: Path, *, min_views: int = 3, labels: tuple[int, ...] = ()
) -> TruthSurface:
    """A PLY mesh, with `NAME_context.ply` beside it when there is one.

    Where faces carry a `views` property (the synthetic surveys), those that fewer than
    `min_views` photos see are not scored; context is never scored. With `labels`, faces whose
    property `label` is none of these are not scored either: in a street, 1 for façades.

    Raises:
        InputError: no mesh there, no labels in it, or nothing to score.
        FormatError: not a PLY mesh.
    """
    path = Path(path)
    candidates = (path, path / "mesh.ply", path / "truth/mesh.ply", path / "gt_mesh/gt_mesh.ply")
    found = next((p for p in candidates if p.is_file()), None)
    if found is None:
        raise InputError(
            "There is no true mesh at this place.",
            where=str(path),
            next_step="Give a PLY mesh, or a folder with truth/mesh.ply.",
        )
    mesh, properties = read_ply(found)
    scored = np.ones(len(mesh.faces), bool)
    if "views" in properties:
        scored = np.asarray(properties["views"]) >= min_views
    if labels:
        if "label" not in properties:
            raise InputError(
                "The faces of the true mesh have no labels.",
                where=str(found),
                next_step="Leave --labels out, to score all faces.",
            )
        scored &= np.isin(np.asarray(properties["label"]), labels)
    context = found.with_name(found.stem + "_context.ply")
    if context.is_file():
        other, _ = read_ply(context)
        faces = np.vstack([mesh.faces, other.faces + np.int32(len(mesh.vertices))])
        mesh = TriMesh(np.vstack([mesh.vertices, other.vertices]), faces)
        scored = np.concatenate([scored, np.zeros(len(other.faces), bool)])
    if not scored.any():
        raise InputError(
            "No face of the true mesh is to be scored.",
            where=str(found),
            next_step="Give a smaller --min-views, or other --labels.",
        )
    return TruthSurface(mesh, scored)
