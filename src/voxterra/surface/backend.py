"""Surface backends: what makes a surface of depth maps, photos and sparse points.

`docs/extending.md` shows how to bring another one; `voxterra.testing.check_backend` tries it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from voxterra.core.artifact import Artifact
from voxterra.core.costs import Cost
from voxterra.core.depth import DepthMaps
from voxterra.core.machine import Machine
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.progress import Progress
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registry import Registry
from voxterra.errors import ReconstructionError

Box = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class SurfaceInputs:
    """What a backend works on; everything is in the world frame.

    Attributes:
        maps: depth maps, with the undistorted photos, masks and views they belong to.
        components: yields the cameras and sparse points, component by component.
        bounds_m: box (x_min, y_min, z_min, x_max, y_max, z_max) to reconstruct [m, or model
            units]; None: everything.
        min_views: photos that must show a piece of surface for it to be kept.
        work: folder for checkpoints; it is kept when the run is stopped, and deleted at the end.
        out: folder for files that stay with the result, such as a trained model.
        source: how messages name the photos.
    """

    maps: DepthMaps
    components: Callable[[], Iterable[Reconstruction]]
    bounds_m: Box | None
    min_views: int
    work: Path
    out: Path
    source: str = "the depth maps"


@dataclass(frozen=True)
class SurfaceResult:
    """What a backend makes.

    Attributes:
        mesh: in world, faces counter-clockwise seen from free space; None where it makes none.
        cloud: in world; None: one is fused from the depth maps.
        artifacts: files in `SurfaceInputs.out` that are products of their own.
        made_by: one line for people: "fusion of depth maps".
        facts: what `metadata.json` says of how it was made, JSON-like.
        warnings: what the user should know.
    """

    mesh: TriMesh | None
    cloud: PointCloud | None = None
    artifacts: tuple[Artifact, ...] = ()
    made_by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SurfaceWork:
    """How much work a surface is, for an estimate.

    Attributes:
        photos: how many there are.
        depth_megapixels: of one depth map.
        m_faces: million faces that fusion would make of them.
        slower: seconds here for a second on 2 cores.
    """

    photos: int
    depth_megapixels: float
    m_faces: float
    slower: float


class SurfaceBackend(Protocol):
    """Makes a surface. The module that holds it is imported early: keep heavy imports in `run`.

    Attributes:
        name: as in `--backend NAME`.
        license: of its code and of what it loads, as an SPDX identifier.
        needs: packages and hardware it cannot do without, for `voxterra doctor`: "torch".
        version: raise it when it gives other surfaces for the same input, so that earlier ones are
            made again.
        options: frozen dataclass with a default for each field; fields with the metadata
            {"affects_result": False} do not enter the fingerprint.
    """

    name: str
    license: str
    version: int

    # Read-only here, so that a plugin's own class may say it more exactly.
    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def options(self) -> type[Any]: ...

    def preset(self, name: str, machine: Machine) -> Any:
        """Options of the run's preset `name` on a machine with or without a GPU."""

    def check(self, options: Any) -> None:
        """Raise `UsageError` for options that cannot work; asked at the start of each run."""

    def requires(self, options: Any) -> None:
        """Raise `MissingPartError` where this machine lacks what the backend needs; asked before
        hours of other work."""

    def estimate(self, work: SurfaceWork, options: Any) -> Cost:
        """What `run` takes beside fusing the cloud."""

    def run(self, inputs: SurfaceInputs, options: Any, progress: Progress) -> SurfaceResult:
        """Make the surface.

        Call `progress` often: it raises `Cancelled` when the run is stopped. What a stopped call
        left in `inputs.work` may be resumed from.

        Raises:
            ReconstructionError: the photos show no surface.
        """


BACKENDS: Registry[SurfaceBackend] = Registry(
    "surface backend",
    "voxterra.backends",
    SurfaceBackend,  # type: ignore[type-abstract]
    {
        "fusion": "voxterra.surface.fusion.backend:FusionBackend",
        "voxels": "voxterra.surface.voxels.backend:VoxelBackend",
    },
)


def checked(name: str, result: SurfaceResult) -> SurfaceResult:
    """The result of the backend `name`, if what comes after can work with it.

    Raises:
        ReconstructionError: it is empty, or its mesh, cloud or files are broken.
    """
    wrong = ""
    if result.mesh is None and result.cloud is None and not result.artifacts:
        wrong = "made no mesh, no cloud and no file"
    elif result.mesh is not None:
        faces, vertices = np.asarray(result.mesh.faces), np.asarray(result.mesh.vertices)
        if not len(faces):
            wrong = "made a mesh without faces"
        elif not np.isfinite(vertices).all():
            wrong = "made a mesh with vertices that are no finite numbers"
        elif faces.min() < 0 or faces.max() >= len(vertices):
            wrong = "made a mesh whose faces name vertices that do not exist"
    gone = [artifact.name for artifact in result.artifacts if not artifact.path.is_file()]
    if gone:
        wrong = f"names files that it did not write: {', '.join(gone)}"
    if wrong:
        raise ReconstructionError(
            f"The surface backend '{name}' {wrong}.",
            where="stage surface",
            next_step="Tell the authors of the backend, or use --backend fusion.",
        )
    return result
