"""The surface backend `voxels`: train, extract; a stopped training resumes.

The stage's folder is that of a trained model too (`voxterra eval views`, `voxterra view` and
`voxterra mesh --method tsdf` take it): `config.yaml`, `model.npz`, `views.json`, `test_stat/`.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.core.costs import Cost
from voxterra.core.machine import Machine, this_machine
from voxterra.core.progress import Progress, part
from voxterra.core.voxels import VoxelModel
from voxterra.errors import MissingPartError, ReconstructionError, UsageError
from voxterra.surface.backend import SurfaceInputs, SurfaceResult, SurfaceWork
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.run_presets import voxel_preset

logger = logging.getLogger(__name__)

STATISTICS = "test_stat"
_RECENT = 10  # readings that the PSNR of a training is the mean of

# As `pipeline.costs.rates`, of training with as many voxels as the presets have.
_S_PER_ITERATION = {"cpu": 0.9, "gpu": 0.012}
# For a voxel that is trained on a processor, and for each number of its colours: 1.2 GB in all for
# 0.49 million voxels of 12 such numbers.
_VOXEL_BYTES, _COLOR_BYTES = 1000.0, 16.0
_GPU_HOST_BYTES = 2e9


class VoxelBackend:
    """Sparse voxels with signed distances, trained until they look like the photos."""

    name = "voxels"
    license = "Apache-2.0"
    needs: tuple[str, ...] = ("torch",)
    version = 6
    options = VoxelConfig

    def preset(self, name: str, machine: Machine) -> VoxelConfig:
        return voxel_preset(name, machine)

    def check(self, options: VoxelConfig) -> None:
        from voxterra.surface.voxels.options import checked
        from voxterra.surface.voxels.scene.resize import training_size

        with _named_as_in_a_run():
            checked(options)
            training_size(1600, 1200, options)

    def requires(self, options: VoxelConfig) -> None:
        from voxterra.surface.voxels.device import require_devices, require_torch

        require_torch(where="--backend voxels", instead=", or give --backend fusion")
        if "cuda" in (options.device, options.data_device):
            with _named_as_in_a_run():
                require_devices(options)

    def estimate(self, work: SurfaceWork, options: VoxelConfig) -> Cost:
        gpu = options.device == "cuda" or (options.device == "auto" and this_machine() == "gpu")
        seconds = _S_PER_ITERATION["gpu" if gpu else "cpu"] * options.n_iter
        colors = 3 * (options.sh_degree + 1) ** 2
        trained = (_VOXEL_BYTES + _COLOR_BYTES * colors) * options.max_voxels
        return Cost(
            seconds * (1.0 if gpu else work.slower),
            _GPU_HOST_BYTES if gpu else trained,
            (colors + 10) * 4 * options.max_voxels,
        )

    def run(self, inputs: SurfaceInputs, options: VoxelConfig, progress: Progress) -> SurfaceResult:
        """Train on the photos of the depth maps, keep the model, extract its surface.

        Raises:
            MissingPartError: torch is not installed.
            VoxterraError: photos or options that cannot be trained on.
        """
        self.requires(options)
        from voxterra.io.voxels import write_voxels
        from voxterra.surface.voxels.mesh.extract import everywhere
        from voxterra.surface.voxels.mesh.make import MeshOptions, make_mesh
        from voxterra.surface.voxels.model.folder import MODEL
        from voxterra.surface.voxels.scene.photo_files import points_of
        from voxterra.surface.voxels.scene.scene import scene_from_depth_maps
        from voxterra.surface.voxels.train import train

        if options.bound is None and inputs.bounds_m is not None:
            options = replace(options, bound=inputs.bounds_m)
        scene = scene_from_depth_maps(
            inputs.maps,
            options,
            points=points_of(inputs.components(), inputs.maps),
            source=inputs.source,
            progress=part(progress, 0.0, 0.05),
        )
        views, warnings = tuple(view.view for view in scene.training), scene.warnings
        scenes = [scene]
        del scene  # so that the training can let go of the images that it has on a GPU
        model = train(
            scenes.pop(), options, out=inputs.work, resume=True, progress=part(progress, 0.05, 0.9)
        )
        facts = training_facts(model, inputs.work)
        model = replace(model, metadata=facts)  # and no path of this machine
        write_voxels(model, inputs.out / MODEL, quantized=options.save_quantized)
        _keep(inputs, options, views)
        wanted = MeshOptions(
            bounds=inputs.bounds_m or options.bound or everywhere(model),
            seen_in=inputs.min_views,
            measured_in=inputs.min_views,
            device=options.device,
        )
        with _named_as_in_a_run("use --backend fusion"):
            mesh = make_mesh(
                model, wanted, views=views, maps=inputs.maps, progress=part(progress, 0.9, 1.0)
            )
        return SurfaceResult(
            mesh, made_by=describe_training(facts), facts=facts, warnings=tuple(warnings)
        )


@contextmanager
def _named_as_in_a_run(instead: str = "") -> Iterator[None]:
    """Options of `voxterra train` in errors get the names that they have in a run.

    `instead` is what else can be done.
    """
    try:
        yield
    except (UsageError, MissingPartError, ReconstructionError) as error:
        where, step = (
            re.sub(r"--(\w+)", lambda m: f"--voxels.{m[1].replace('_', '-')}", text or "")
            for text in (error.where, error.next_step)
        )
        if instead:
            step = f"{step.rstrip('.')}, or {instead}."
        raise type(error)(error.what, where=where or None, next_step=step) from error


def training_facts(model: VoxelModel, folder: Path) -> dict[str, Any]:
    """What a run says of a training: iterations, voxels, PSNR on the photos trained on.

    Args:
        model: what `train` returned.
        folder: where it wrote its statistics.
    """
    facts: dict[str, Any] = {
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
    """Such as "612,345 voxels trained on the photos in 600 iterations, PSNR 25.3 dB"."""
    text = f"{facts['voxels']:,} voxels trained on the photos in {facts['iterations']} iterations"
    if "training_psnr_db" in facts:
        text += f", PSNR {facts['training_psnr_db']:.1f} dB"
    return text


def _keep(inputs: SurfaceInputs, options: VoxelConfig, views: Any) -> None:
    """What makes the stage's folder one of a trained model, and the curves of the training."""
    from voxterra.io.depth_store import write_views
    from voxterra.surface.voxels.model.folder import write_training
    from voxterra.surface.voxels.options import Training

    # The folder may move: whoever scores it says where the photos are.
    write_training(Training(None, "images", options), inputs.out)
    write_views(views, inputs.out)
    if (inputs.work / STATISTICS).is_dir():
        shutil.copytree(inputs.work / STATISTICS, inputs.out / STATISTICS, dirs_exist_ok=True)
