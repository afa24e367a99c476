"""`voxterra mesh OUT`: the mesh of a trained model; of a run, its step `mesh` again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from voxterra.cli.arguments import parse
from voxterra.cli.display import showing, warnings_on_stderr
from voxterra.cli.svraster_options import plain_words
from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.voxels import VoxelModel
from voxterra.errors import MissingPartError, ReconstructionError, UsageError

Box = tuple[float, float, float, float, float, float]

DESCRIPTION = """\
The surface of a trained model as a mesh with colours, by --method: sdf takes it from the voxels
themselves (closed, crack-free across levels), tsdf fuses the depths that the training views see
(no inner walls). Written as PLY in the world's coordinates and as GLB for viewers, the two methods
under names of their own: mesh.ply and mesh_tsdf.ply.

OUT is the folder of a trained model (voxterra train). Of a run, the step is done again:
voxterra mesh RUN --help lists its options.

Examples:
  voxterra mesh out
  voxterra mesh out --method tsdf --bound -1 -1 -1 1 1 1
  voxterra mesh out --out chair.ply
  voxterra mesh out --measured             (of a model that was trained with --stereo)
  voxterra mesh runs/site                  (the step of a run: clean, simplify, texture)
"""
_OF_A_RUN = {"--surface.voxel-size-m": "--voxel_size", "--surface.bounds-m": "--bound"}
"""Options of a run's fusion, which its errors name, and what they are called here."""
_MEASURED_IN = 2


@dataclass(frozen=True)
class MeshArguments:
    """Options of `voxterra mesh` for a trained model."""

    model_path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """The trained model."""
    method: Literal["sdf", "tsdf"] = "sdf"
    """sdf: from the voxels; tsdf: from the depths that the training views see."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: in the model's folder)"),
    ] = None
    """The file: .ply or .glb."""
    bound: Annotated[
        Box | None, tyro.conf.arg(help_behavior_hint="(default: the main bound of the training)")
    ] = None
    """World box to clip to: x_min y_min z_min x_max y_max z_max."""
    measured: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep only what two depth maps of the training's stereo measured; leave out invented surface,
    such as a table around an object."""
    voxel_size: Annotated[
        float | None, tyro.conf.arg(help_behavior_hint="(default: from the size of a pixel)")
    ] = None
    """Cells of tsdf, in world units."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where tsdf renders."""


def run(args: list[str]) -> int:
    """Mesh a model, or do the step of a run; returns the exit code.

    Raises:
        UsageError: unknown options, or a folder that is neither.
        VoxterraError: the model holds no surface, or the run fails.
    """
    if not _is_for_a_model(args):
        from voxterra.cli import steps

        return steps.run(["mesh", *args])
    warnings_on_stderr()
    words = plain_words(args, switches={"measured"}, positional="model_path")
    given = parse(MeshArguments, words, verb="mesh", description=DESCRIPTION)
    _check_numbers(given)
    from voxterra.surface.voxels.model.folder import read_model

    targets = _targets(given)
    write = _writer()
    model = read_model(given.model_path)
    maps = _stereo_maps(given.model_path) if given.measured else None
    mesh = _made(model, given, maps)
    for target in targets:
        write(mesh, target, model)
        megabytes = target.stat().st_size / 1e6
        print(f"{target}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, "
              f"{megabytes:.1f} MB")  # fmt: skip
    return 0


def _is_for_a_model(args: list[str]) -> bool:
    """Whether a command line names the folder of a model; a run's has a file of its own."""
    from voxterra.surface.voxels.model.folder import is_model_folder

    words = [arg.partition("=")[2] or arg for arg in args]
    named = any(is_model_folder(Path(word)) for word in words if word and not word.startswith("--"))
    own = any(arg.split("=")[0].replace("-", "_") in ("__model_path", "__method") for arg in args)
    return named or own or set(args) <= {"-h", "--help"}


def _targets(given: MeshArguments) -> list[Path]:
    """Files to write; without `--out` no method overwrites the mesh of the other."""
    from voxterra.surface.voxels.model.folder import MESH_KINDS, MESHES

    if given.out is None:
        return [given.model_path / f"{MESHES[given.method]}{kind}" for kind in MESH_KINDS]
    if given.out.suffix.lower() not in MESH_KINDS:
        raise UsageError(
            f"A mesh cannot be written as '{given.out.suffix or given.out.name}'.",
            where="--out",
            next_step="Give a file that ends in .ply or .glb.",
        )
    return [given.out]


def _check_numbers(given: MeshArguments) -> None:
    """Refuse numbers that no surface can be made with.

    Raises:
        UsageError: a bound that is no box, or cells without a size.
    """
    bounds, size = given.bound, given.voxel_size
    if bounds is not None and not all(
        math.isfinite(a) and math.isfinite(b) and a < b for a, b in zip(bounds[:3], bounds[3:])
    ):
        raise UsageError(
            "The bound is no box.",
            where="--bound",
            next_step="Give x_min y_min z_min x_max y_max z_max in world, each min below its max.",
        )
    if size is not None and not (math.isfinite(size) and size > 0):
        raise UsageError(
            f"Cells cannot have the size {size:g}.",
            where="--voxel_size",
            next_step="Give a length above 0 in world units, or leave it to the size of a pixel.",
        )
    if size is not None and given.method != "tsdf":
        raise UsageError(
            "Only the mesh of --method tsdf has cells of a size.",
            where="--voxel_size",
            next_step="Add --method tsdf, or leave --voxel_size out.",
        )


def _made(model: VoxelModel, given: MeshArguments, maps: DepthMaps | None) -> TriMesh:
    from voxterra.io.depth_store import DepthStore
    from voxterra.surface.voxels.mesh.make import MeshOptions, make_mesh

    options = MeshOptions(
        method=given.method,
        bounds=given.bound,
        voxel_size=given.voxel_size,
        measured_in=0 if maps is None else _MEASURED_IN,
        device=given.device,
    )
    # The views of the training; no photo is needed.
    views = DepthStore(given.model_path).views if given.method == "tsdf" else ()
    try:
        with showing("mesh") as progress:
            return make_mesh(model, options, views=views, maps=maps, progress=progress)
    except ReconstructionError as error:
        raise ReconstructionError(
            error.what, where=_named_here(error.where), next_step=_named_here(error.next_step)
        ) from error


def _named_here(text: str | None) -> str | None:
    for theirs, ours in _OF_A_RUN.items():
        text = text and text.replace(theirs, ours)
    return text


def _stereo_maps(folder: Path) -> DepthMaps:
    """The depth maps that the training of a model made for itself.

    Raises:
        UsageError: there are none, or they are of the cameras of an earlier model.
    """
    from voxterra.io.depth_store import DepthStore

    maps = folder / "stereo" / "depth"
    if not (maps / "views.json").is_file():
        raise UsageError(
            "There are no depth maps beside this model.",
            where=str(maps),
            next_step="Train with --stereo, or leave --measured out.",
        )
    stereo = DepthStore(maps)
    trained = np.array([view.cam_from_world for view in DepthStore(folder).views])
    # A training without --stereo does not touch the depth maps of an earlier one, of any photos.
    if not all(
        np.isclose(trained, view.cam_from_world, 1e-6, 1e-6).all((1, 2)).any()
        for view in stereo.views
    ):
        raise UsageError(
            "The depth maps beside this model belong to other cameras than those of its training.",
            where=str(maps),
            next_step="Train with --stereo, or leave --measured out.",
        )
    return stereo


def _writer() -> Callable[[TriMesh, Path, VoxelModel], None]:
    """The function that writes a mesh with the frame of its world.

    Raises:
        MissingPartError: what knows coordinate systems is not installed.
    """
    try:
        from voxterra.core.geo import GeoFrame
        from voxterra.io.gltf import write_glb
        from voxterra.io.ply import write_ply_mesh
    except ModuleNotFoundError as error:
        raise MissingPartError(
            f"Meshes are written with their coordinate system, which needs {error.name}.",
            where=str(error.name),
            next_step=f"pip install {error.name}, or make the mesh on another machine.",
        ) from error

    def write(mesh: TriMesh, path: Path, model: VoxelModel) -> None:
        recorded = model.metadata.get("frame")
        frame = GeoFrame.from_dict(recorded) if recorded else GeoFrame.local(scale_known=False)
        (write_glb if path.suffix.lower() == ".glb" else write_ply_mesh)(mesh, path, frame)

    return write
