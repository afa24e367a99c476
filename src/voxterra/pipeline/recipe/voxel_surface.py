"""The surface stage with the backend `voxels`: train, extract; stopped, it goes on.

The stage's folder is that of a trained model too (`voxterra eval views`, `voxterra view` and
`voxterra mesh --method tsdf` take it): `config.yaml`, `model.npz`, `training.json`, `views.json`,
`test_stat/`.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, part
from voxterra.core.voxels import VoxelModel
from voxterra.errors import ReconstructionError
from voxterra.pipeline.engine.stage import StageContext
from voxterra.pipeline.recipe.backends import MODEL_FILE, require_voxels
from voxterra.surface.voxels.config import VoxelConfig

logger = logging.getLogger(__name__)

FACTS_FILE = "training.json"
STATISTICS = "test_stat"
_RECENT = 10  # readings that the PSNR of a training is the mean of


def voxel_surface(
    ctx: StageContext, maps: DepthMaps, progress: Progress
) -> tuple[TriMesh, str, tuple[str, ...]]:
    """Train on the photos of the depth maps, keep the model, extract its surface.

    The sparse points are read from the georef stage. It is no input of its own in the table: depth
    maps are made from it, so another georeference makes other depth maps and another surface.

    Checkpoints lie in the stage's working folder, from where a stopped training goes on.

    Returns:
        the mesh, a line about the training, and warnings.

    Raises:
        MissingPartError: torch is not installed.
        VoxterraError: photos or options that cannot be trained on.
    """
    require_voxels(ctx.config)
    from voxterra.io.files.json_file import write_json
    from voxterra.io.voxels import write_voxels
    from voxterra.surface.voxels.mesh.extract import extract_mesh
    from voxterra.surface.voxels.scene.photo_files import run_points
    from voxterra.surface.voxels.scene.scene import scene_from_depth_maps
    from voxterra.surface.voxels.train import train

    config = training_options(ctx.config)
    scene = scene_from_depth_maps(
        maps,
        config,
        points=run_points(ctx.input("georef"), maps),
        source=str(ctx.input("depth")),
        progress=part(progress, 0.0, 0.05),
    )
    views, warnings = tuple(view.view for view in scene.training), scene.warnings
    scenes = [scene]
    del scene  # so that the training can let go of the images that it has on a GPU
    model = train(
        scenes.pop(), config, out=ctx.work, resume=True, progress=part(progress, 0.05, 0.9)
    )
    facts = training_facts(model, ctx.work)
    model = replace(model, metadata=facts)  # and no path of this machine
    write_voxels(model, ctx.out / MODEL_FILE, quantized=config.save_quantized)
    write_json(facts, ctx.out / FACTS_FILE)
    _keep(ctx, config, views)
    mesh = extract_mesh(model, bounds=_box(ctx.config, model), progress=part(progress, 0.9, 0.95))
    mesh = _without_unseen(mesh, model, views, ctx.config, part(progress, 0.95, 0.98))
    mesh = _measured(mesh, maps, ctx.config)
    return mesh, describe_training(facts), warnings


def training_options(config: Any) -> VoxelConfig:
    """Options of the training in a run: a world box for the surface is its main bound as well."""
    voxels: VoxelConfig = config.voxels
    if voxels.bound is None and config.surface.bounds_m is not None:
        return replace(voxels, bound=config.surface.bounds_m)
    return voxels


def _box(config: Any, model: VoxelModel) -> Any:
    """What the mesh is cut to: a box that was asked for, or that of all voxels."""
    from voxterra.surface.voxels.mesh.extract import everywhere

    return config.surface.bounds_m or config.voxels.bound or everywhere(model)


def training_facts(model: VoxelModel, folder: Path) -> dict[str, Any]:
    """What a run tells of a training: backend, iterations, voxels, PSNR on what it trained on.

    Args:
        model: what `train` returned.
        folder: where it wrote its statistics.
    """
    facts: dict[str, Any] = {
        "backend": "voxels",
        "iterations": model.metadata.get("iterations"),
        "voxels": model.n_voxels,
    }
    try:
        curves = json.loads((folder / STATISTICS / "train.json").read_text(encoding="utf-8"))
        recent = [value for _, value in curves["PSNR [dB]"][-_RECENT:]]
    except (OSError, ValueError, KeyError, TypeError):
        recent = []
    if recent:
        facts["training_psnr_db"] = round(float(np.mean(recent)), 2)
    return facts


def describe_training(facts: dict[str, Any]) -> str:
    """Such as "voxels: 612,345 after 600 iterations, PSNR 25.3 dB"."""
    text = f"voxels: {facts['voxels']:,} after {facts['iterations']} iterations"
    if "training_psnr_db" in facts:
        text += f", PSNR {facts['training_psnr_db']:.1f} dB"
    return text


def surface_facts(folder: Path, backend: str) -> dict[str, Any]:
    """What `metadata.json` says of how the surface was made: `training_facts`, or the backend.

    Args:
        folder: of the surface stage's result.
        backend: of the run.
    """
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = {}
    return {"backend": backend, **(facts if backend == "voxels" else {})}


def _without_unseen(
    mesh: TriMesh,
    model: VoxelModel,
    views: tuple[PinholeView, ...],
    config: Any,
    progress: Progress,
) -> TriMesh:
    """The part of the surface that `--surface.min-views` photos show.

    Raises:
        ReconstructionError: they show none.
    """
    from voxterra.surface.voxels.device import choose_device
    from voxterra.surface.voxels.mesh.unseen import only_seen, seen_leaves
    from voxterra.surface.voxels.model.render import to_device

    voxels = to_device(model, choose_device(config.voxels))
    seen = seen_leaves(voxels, views, config.surface.min_views, progress=progress)
    kept = only_seen(mesh, voxels.octree, seen)
    logger.info("%d of %d faces are seen", len(kept.faces), len(mesh.faces))
    if len(kept.faces) == 0:
        raise ReconstructionError(
            "No two photos show the surface that was trained.",
            where="stage surface",
            next_step="Train longer (--voxels.n-iter), or use --backend fusion.",
        )
    return kept


def _measured(mesh: TriMesh, maps: DepthMaps, config: Any) -> TriMesh:
    """The part of the surface that depth maps measured, as many as fusion asks for.

    Raises:
        ReconstructionError: none did.
    """
    from voxterra.surface.voxels.mesh.unseen import only_measured

    loaded = (maps.load(i) for i in range(len(maps.views)))
    kept = only_measured(mesh, loaded, config.surface.min_views)
    logger.info("%d of %d faces are measured", len(kept.faces), len(mesh.faces))
    if len(kept.faces) == 0:
        raise ReconstructionError(
            "The surface that was trained is nowhere near the depth maps.",
            where="stage surface",
            next_step="Train with smaller steps (--voxels.geo-lr), or use --backend fusion.",
        )
    return kept


def _keep(ctx: StageContext, config: VoxelConfig, views: Any) -> None:
    """What makes the stage's folder one of a trained model, and the curves of the training."""
    from voxterra.io.depth_store import write_views
    from voxterra.surface.voxels.model.folder import write_training
    from voxterra.surface.voxels.options import Training

    # The folder may move: whoever scores it says where the photos are.
    write_training(Training(None, "images", config), ctx.out)
    write_views(views, ctx.out)
    if (ctx.work / STATISTICS).is_dir():
        shutil.copytree(ctx.work / STATISTICS, ctx.out / STATISTICS, dirs_exist_ok=True)
