"""Files of a surface in its stage's folder: mesh, cloud, and how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voxterra.core.artifact import Artifact
from voxterra.core.mesh import TriMesh
from voxterra.io.files.json_file import read_json, write_json
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.surface.backend import SurfaceResult

MESH_FILE, CLOUD_FILE, FACTS_FILE = "mesh.npz", "cloud.npz", "surface.json"

# Voxterra 0.1 had two backends; one wrote a model, with facts about it in a file of this name.
_MODEL_OF_0_1, _FACTS_OF_0_1 = "model.npz", "training.json"


def write_facts(backend: str, result: SurfaceResult, folder: Path) -> None:
    """Write how a surface was made, and which files of the folder are products.

    Raises:
        OutputError: it cannot be written.
    """
    listed = [
        {
            "name": artifact.name,
            "file": artifact.path.relative_to(folder).as_posix(),
            "kind": artifact.kind,
            "description": artifact.description,
        }
        for artifact in result.artifacts
    ]
    facts = {"backend": backend, "made_by": result.made_by, "facts": dict(result.facts)}
    write_json(facts | {"artifacts": listed}, folder / FACTS_FILE)


def backend_that_made(workspace: Workspace) -> str | None:
    """The backend of the surface in a run folder; None without a surface."""
    record = workspace.record("surface")
    if record is None:
        return None
    facts = read_json(workspace.stage_dir("surface") / FACTS_FILE)
    if isinstance(facts, dict) and isinstance(facts.get("backend"), str):
        return str(facts["backend"])
    return "voxels" if _MODEL_OF_0_1 in record.files else "fusion"


def surface_facts(folder: Path) -> dict[str, Any]:
    """Facts for `metadata.json` about how the surface in a stage's folder was made."""
    found = read_json(folder / FACTS_FILE)
    if isinstance(found, dict):
        return {
            "backend": found.get("backend"),
            "made_by": found.get("made_by", ""),
            **found.get("facts", {}),
        }
    earlier = read_json(folder / _FACTS_OF_0_1)
    return earlier if isinstance(earlier, dict) else {"backend": "fusion"}


def read_artifacts(folder: Path) -> tuple[Artifact, ...]:
    """Files of a surface that are products of their own."""
    found = read_json(folder / FACTS_FILE)
    listed = found.get("artifacts", []) if isinstance(found, dict) else []
    return tuple(
        Artifact(one["name"], folder / one["file"], one["kind"], one["description"])
        for one in listed
    )


def read_surface_mesh(folder: Path) -> TriMesh | None:
    """The mesh of a stage's folder; None where the backend makes none.

    Raises:
        FormatError: the file is damaged.
    """
    from voxterra.io.arrays import read_mesh

    path = folder / MESH_FILE
    return read_mesh(path) if path.is_file() else None
