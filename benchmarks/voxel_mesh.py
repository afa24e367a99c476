"""Time and peak memory of `voxterra mesh` on models of many voxels; writes voxels/mesh.json.

    python benchmarks/voxel_mesh.py OUT --millions 1 5

OUT gets a model for each: the bumpy sphere over uneven ground of `voxel_raster.py`, colours of
degree 3, voxels of three levels, so that leaves of different size meet. Memory is that of the
process, Python and the libraries included.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from measure import run_measured, setting, write_result
from voxel_raster import distance
from voxterra.core.voxels import VoxelModel
from voxterra.surface.voxels.model.folder import write_model, write_training
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.options import resolve
from voxterra.surface.voxels.start.allocate import allocate


def make_model(millions: float) -> VoxelModel:
    """Voxels around the surface, finer where x is larger."""

    def sdf_at(points: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(distance(points.double().numpy()).astype(np.float32))

    def footprint_at(points: torch.Tensor) -> torch.Tensor:
        return 2.0 ** (-9.0 - 2.0 * points[:, 0]) / np.sqrt(millions)

    octree, sdf = allocate(
        Cube((0.0, 0.0, 0.0), 2.0, 1), sdf_at, footprint_at,
        start_level=9, max_level=14, max_voxels=int(1e6 * millions), band=1.0,
    )  # fmt: skip
    place = octree.lo_size.numpy()
    rng = np.random.default_rng(0)
    return VoxelModel(
        np.zeros(3), 2.0, 1, octree.path.numpy(), octree.level.numpy(), sdf.numpy(),
        (np.sin(9 * place[:, :3]) / 2).astype(np.float32),
        0.05 * rng.standard_normal((octree.count, 15, 3), np.float32),
        np.full(17, 100.0, np.float32), np.zeros(3, np.float32),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--millions", type=float, nargs="+", default=[1.0, 5.0])
    arguments = parser.parse_args()
    sizes = " ".join(f"{millions:g}" for millions in arguments.millions)
    command = f"python benchmarks/voxel_mesh.py OUT --millions {sizes}"
    result = {**setting(), "command": command, "rows": []}
    for millions in arguments.millions:
        folder = arguments.out / f"{millions:g}M"
        folder.mkdir(parents=True, exist_ok=True)
        model = make_model(millions)
        write_training(resolve({}), folder)
        write_model(model, folder, quantized=False)
        levels, counts = np.unique(model.level, return_counts=True)
        row = {
            "voxels": model.n_voxels,
            "levels": dict(zip(levels.tolist(), counts.tolist())),
            "model_gb": round((folder / "model.npz").stat().st_size / 1e9, 3),
        }
        del model
        command = [sys.executable, "-m", "voxterra", "mesh", str(folder)]
        done = run_measured(command, folder / "mesh.log")
        if done.code:
            sys.exit((folder / "mesh.log").read_text())
        row |= {
            "mesh_mb": round((folder / "mesh.ply").stat().st_size / 1e6, 1),
            "wall_s": round(done.wall_s, 1),
            "peak_gb": round(done.peak_rss_bytes / 1e9, 2),
        }
        print(row, flush=True)
        result["rows"].append(row)
    print(write_result("voxels/mesh", result))


if __name__ == "__main__":
    main()
