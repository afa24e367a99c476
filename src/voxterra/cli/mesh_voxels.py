"""`voxterra mesh OUT`: the mesh of a trained model; of a run, its step `mesh` again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from voxterra.cli.svraster_options import option_lines, read_words, wants_help
from voxterra.cli.train import require_torch, told_progress, warn_on_stderr
from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.voxels import VoxelModel
from voxterra.errors import MissingPartError, ReconstructionError, UsageError

Box = tuple[float, float, float, float, float, float]

INTRO = """\
usage: voxterra mesh OUT [options]          OUT: the folder of a trained model (voxterra train)
       voxterra mesh RUN [options]          RUN: the folder of a run; voxterra mesh RUN --help

The surface of a trained model as a mesh with colours, by --method: sdf takes it from the voxels
themselves (closed, crack-free across levels), tsdf fuses the depths that the training views see
(no inner walls). Written as PLY in the world's coordinates and as GLB for viewers, the two methods
under names of their own: mesh.ply and mesh_tsdf.ply.

Examples:
  voxterra mesh out
  voxterra mesh out --method tsdf --bound -1 -1 -1 1 1 1
  voxterra mesh out --out chair.ply
  voxterra mesh out --measured             (of a model that was trained with --stereo)
  voxterra mesh runs/site                  (the step of a run: clean, simplify, texture)
"""
_KINDS: dict[str, Any] = {
    "model_path": Path,
    "method": Literal["sdf", "tsdf"],
    "out": Path,
    "bound": Box,
    "measured": bool,
    "voxel_size": float,
    "device": Literal["auto", "cpu", "cuda"],
}
_HELPS = {
    "model_path": "The trained model; it may stand without the name.",
    "method": "sdf: from the voxels; tsdf: from the depths that the training views see.",
    "out": "The file: .ply or .glb. Without it, mesh.ply and mesh.glb in the model's folder, with "
    "tsdf mesh_tsdf.ply and mesh_tsdf.glb.",
    "measured": "Only what two depth maps of the training's stereo measured: without what was made "
    "up where there is nothing to see, as a table around an object.",
    "bound": "World box to clip to, instead of the main bound of the training.",
    "voxel_size": "Cells of tsdf, in world units; without it, from the size of a pixel.",
    "device": "Where tsdf renders.",
}
_OF_A_RUN = {"--surface.voxel-size-m": "--voxel_size", "--surface.bounds-m": "--bound"}
"""Options of a run's fusion, which its errors name, and what they are called here."""
_DEFAULTS = {"method": "sdf", "device": "auto"}


def run(args: list[str]) -> int:
    """Mesh a model, or do the step of a run; returns the exit code.

    Raises:
        UsageError: unknown options, or a folder that is neither.
        VoxterraError: the model holds no surface, or the run fails.
    """
    if not _is_for_a_model(args):
        from voxterra.cli import steps

        return steps.run(["mesh", *args])
    if wants_help(args):
        print(INTRO, *option_lines(_KINDS, _KINDS, _HELPS, _DEFAULTS), sep="\n")
        raise SystemExit(0)
    warn_on_stderr()
    given = {**_DEFAULTS, **read_words(args, _KINDS, verb="mesh", positional=("model_path",))}
    folder: Path = given["model_path"]
    _check_numbers(given)
    from voxterra.surface.voxels.model.folder import read_model

    targets = _targets(given.get("out"), folder, given["method"])
    frame = _frame_writer()
    model = read_model(folder)
    maps = _stereo_maps(folder) if given.get("measured") else None
    mesh = _extracted(model, folder, given)
    if maps is not None:
        mesh = _measured(mesh, maps)
    for target in targets:
        frame(mesh, target, model)
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


def _targets(out: Path | None, folder: Path, method: str) -> list[Path]:
    """Files to write; without `out` no method writes over the mesh of the other."""
    from voxterra.surface.voxels.model.folder import MESH_KINDS, MESHES

    if out is None:
        return [folder / f"{MESHES[method]}{kind}" for kind in MESH_KINDS]
    if out.suffix.lower() not in MESH_KINDS:
        raise UsageError(
            f"A mesh cannot be written as '{out.suffix or out.name}'.",
            where="--out",
            next_step="Give a file that ends in .ply or .glb.",
        )
    return [out]


def _check_numbers(given: dict[str, Any]) -> None:
    """Refuse numbers that no surface can be made with.

    Raises:
        UsageError: a bound that is no box, or cells without a size.
    """
    bounds, size = given.get("bound"), given.get("voxel_size")
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
    if size is not None and given["method"] != "tsdf":
        raise UsageError(
            "Only the mesh of --method tsdf has cells of a size.",
            where="--voxel_size",
            next_step="Add --method tsdf, or leave --voxel_size out.",
        )


def _extracted(model: VoxelModel, folder: Path, given: dict[str, Any]) -> TriMesh:
    bounds = given.get("bound")
    if given["method"] == "sdf":
        from voxterra.surface.voxels.mesh.extract import extract_mesh

        return extract_mesh(model, bounds=bounds, progress=told_progress("mesh"))
    require_torch()
    from voxterra.io.depth_store import DepthStore
    from voxterra.surface.fusion.config import FusionConfig
    from voxterra.surface.voxels.config import VoxelConfig
    from voxterra.surface.voxels.device import choose_device
    from voxterra.surface.voxels.mesh.clip import clip_to_box
    from voxterra.surface.voxels.mesh.extract import extract_tsdf
    from voxterra.surface.voxels.model.depth_maps import depth_maps_of
    from voxterra.surface.voxels.model.render import to_device

    views = DepthStore(folder).views  # of the training; no photo is needed
    voxels = to_device(model, choose_device(VoxelConfig(device=given["device"])))
    size = given.get("voxel_size")
    config = FusionConfig(bounds_m=bounds or _main_bound(model), voxel_size_m=size)
    try:
        mesh = extract_tsdf(depth_maps_of(voxels, views), config, progress=told_progress("mesh"))
    except ReconstructionError as error:
        raise ReconstructionError(
            error.what, where=_named_here(error.where), next_step=_named_here(error.next_step)
        ) from error
    if bounds is None:
        return mesh
    # The fusion keeps whole blocks of cells.
    mesh = clip_to_box(mesh, np.array(bounds[:3]), np.array(bounds[3:]))
    if len(mesh.faces) == 0:
        raise ReconstructionError(
            "There is no surface in this box.",
            where="--bound",
            next_step="Give another box, in the world of the cameras, or none.",
        )
    return mesh


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
            next_step="Train with --stereo, or leave --measured away.",
        )
    stereo = DepthStore(maps)
    trained = np.array([view.cam_from_world for view in DepthStore(folder).views])
    # A training without --stereo leaves that of an earlier one alone, whatever its photos were.
    if not all(
        np.isclose(trained, view.cam_from_world, 1e-6, 1e-6).all((1, 2)).any()
        for view in stereo.views
    ):
        raise UsageError(
            "The depth maps beside this model are of other cameras than it was trained with.",
            where=str(maps),
            next_step="Train with --stereo, or leave --measured away.",
        )
    return stereo


def _measured(mesh: TriMesh, maps: DepthMaps) -> TriMesh:
    from voxterra.surface.voxels.mesh.unseen import only_measured

    kept = only_measured(mesh, (maps.load(i) for i in range(len(maps.views))))
    if len(kept.faces) == 0:
        raise ReconstructionError(
            "No two depth maps measured any of this surface.",
            where="--measured",
            next_step="Look at it without --measured; train longer if it is far off.",
        )
    return kept


def _main_bound(model: VoxelModel) -> Box:
    low, high = model.center - model.inside_edge / 2, model.center + model.inside_edge / 2
    return (*map(float, low), *map(float, high))  # type: ignore[return-value]


def _frame_writer() -> Any:
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
        told = model.metadata.get("frame")
        frame = GeoFrame.from_dict(told) if told else GeoFrame.local(scale_known=False)
        (write_glb if path.suffix.lower() == ".glb" else write_ply_mesh)(mesh, path, frame)

    return write
