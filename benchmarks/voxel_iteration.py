"""Times of the parts of a training iteration on sparse voxels, on a synthetic scene.

    python benchmarks/voxel_iteration.py --level 8 --width 480 --height 360 --device cpu

A band of voxels around a bumpy sphere over uneven ground (level 8: 502,774) is trained on one
picture of itself with noise, depth and normals given. On a CPU the time is that of the processor
over all threads (set OMP_NUM_THREADS=1 and NUMBA_NUM_THREADS=1 to compare), on CUDA that between
two waits. The first iterations are left out.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import voxel_raster
from voxterra.core.camera import Camera, PinholeView
from voxterra.kernels.voxels import ops, ops_train
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.render import Voxels, kernel_view, rasterize
from voxterra.surface.voxels.model.sharpness import LEVELS, set_sharpness
from voxterra.surface.voxels.octree import Cube, make_octree
from voxterra.surface.voxels.training import step as stepping
from voxterra.surface.voxels.training.state import TrainState, fresh_moments
from voxterra.surface.voxels.training.targets import Prior, Target

PARTS = {
    ops: ("prepare", "bin_voxels", "rasterize_forward", "rasterize_backward", "prepare_backward"),
    ops_train: ("stencil_loss", "voxel_eikonal", "adam", "sh_adam"),
    stepping: ("image_loss", "step"),
}
WARM = 2


def make_voxels(level: int, degree: int, device: str, sharpness: float) -> Voxels:
    scene = voxel_raster.make_scene(level, degree).to(device)
    cells = ((scene.lo_size[:, :3].double() + 1) * 2**level / 2).round().long()
    path = torch.zeros(len(cells), dtype=torch.int64, device=device)
    for bit in range(level):
        one = cells >> bit & 1
        path |= (one[:, 0] * 4 + one[:, 1] * 2 + one[:, 2]) << (48 - 3 * level + 3 * bit)
    octree = make_octree(Cube((0.0, 0.0, 0.0), 2.0, 0), path, scene.level)
    octants = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners = torch.zeros(len(octree.corner_key), 3, dtype=torch.float64)
    low, size = octree.lo_size[:, :3].double().cpu(), 2.0 / 2**level
    for c in range(8):
        corners[octree.corner_index[:, c].cpu().long()] = low + torch.from_numpy(octants[c]) * size
    sdf = voxel_raster.distance(corners.numpy()).astype(np.float32)
    voxels = Voxels(
        octree, torch.from_numpy(sdf).to(device), scene.sh0, scene.shs,
        torch.ones(LEVELS, device=device), torch.zeros(3, device=device),
    )  # fmt: skip
    set_sharpness(voxels, sharpness)
    return voxels


def make_target(voxels: Voxels, width: int, height: int, config: VoxelConfig) -> Target:
    eye = np.array([1.9, 0.9, 0.8])
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = 0.5 * width / np.tan(np.radians(25))
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    pose = np.concatenate([rotation, -(rotation @ eye)[:, None]], 1)
    camera = Camera("PINHOLE", width, height, (focal, focal, width / 2, height / 2))
    view, device = PinholeView("", K, pose, width, height, camera), voxels.device
    cube = voxels.octree.cube
    own = kernel_view(view, cube, device)
    pixels = rasterize(voxels, own)[3].pixels
    noise = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0)).to(device)
    rgb = (255 * (0.9 * pixels[..., :3] + 0.1 * noise).clamp(0, 1)).byte()
    seen = pixels[..., 5] > 0
    turn = torch.from_numpy(rotation).float().to(device)
    normal = torch.nn.functional.normalize(pixels[..., 6:9] @ turn.T, dim=-1)
    prior = Prior(pixels[..., 5].contiguous(), normal, seen.float())
    return Target(
        index=0, order=0, view=view, kernel=kernel_view(view, cube, device, config.ss),
        camera=own.camera, rgb=rgb.contiguous(), mask=None, ignored=None, prior=prior,
        sparse_xy=torch.zeros(0, 2, device=device), sparse_depth=torch.zeros(0, device=device),
    )  # fmt: skip


def watch(spent: dict[str, float], cuda: bool) -> None:
    """Make every part add its time to `spent`."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if cuda:
                torch.cuda.synchronize()
            begun = time.perf_counter() if cuda else time.process_time()
            result = function(*args, **named)
            if cuda:
                torch.cuda.synchronize()
            spent[name] += (time.perf_counter() if cuda else time.process_time()) - begun
            return result

        return call

    for module, names in PARTS.items():
        for name in names:
            setattr(module, name, timed(name, getattr(module, name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", type=int, default=8)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--degree", type=int, default=3)
    parser.add_argument("--ss", type=float, default=VoxelConfig().ss)
    parser.add_argument("--at", type=int, default=4000, help="iteration of 8000")
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    config = VoxelConfig(sh_degree=options.degree, ss=options.ss, device=options.device)
    voxels = make_voxels(options.level, options.degree, options.device, config.sharpness)
    target = make_target(voxels, options.width, options.height, config)
    state = TrainState(
        voxels=voxels, moments=fresh_moments(voxels), iteration=options.at,
        priority=torch.zeros(len(voxels), device=voxels.device), order=[],
        generator=torch.Generator().manual_seed(0), start_level=options.level,
    )  # fmt: skip
    tables = stepping.make_tables(voxels)
    spent: dict[str, float] = defaultdict(float)
    watch(spent, options.device == "cuda")
    rows = []
    for _ in range(WARM + options.repeats):
        spent.clear()
        objective = stepping.step(state, target, tables, config, ())
        spent["rest"] = 2 * spent["step"] - sum(spent.values())
        rows.append(dict(spent))
    print(f"{options.device}: {len(voxels)} voxels, PSNR {float(objective.psnr):.4f} dB [ms]")
    for name in rows[-1]:
        column = np.array([1e3 * row.get(name, 0.0) for row in rows[WARM:]])
        print(f"{name:18}{np.median(column):9.2f} {column.min():9.2f}")


if __name__ == "__main__":
    main()
