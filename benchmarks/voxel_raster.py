"""Times of the sparse-voxel rasterizer: a narrow band around a bumpy sphere over uneven ground.

    python benchmarks/voxel_raster.py --level 8 --width 800 --height 600 --device cpu

Level 8 has 502,774 voxels, level 9 2,002,280. Compilation is not counted: the first of all runs
is left out. `--check` renders on the CPU and on CUDA and compares images and gradients.
`--samples 3` and `--rise` time what `n_samp_per_vox` and `lambda_ascending` ask of the rasterizer.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from voxterra.kernels.voxels import math as layout
from voxterra.kernels.voxels import ops

STEPS = ("prepare", "bin", "forward", "backward", "prepare_backward")


@dataclass(frozen=True)
class Scene:
    """Voxels as `ops.prepare` takes them, all on one device."""

    lo_size: torch.Tensor
    level: torch.Tensor
    corner_index: torch.Tensor
    corner_start: torch.Tensor
    corner_slot: torch.Tensor
    rank_order: torch.Tensor
    sdf: torch.Tensor
    sh0: torch.Tensor
    shs: torch.Tensor
    sharpness: torch.Tensor

    def to(self, device: str) -> "Scene":
        return Scene(**{k: v.to(device) for k, v in vars(self).items()})


def distance(p: np.ndarray) -> np.ndarray:
    wave = np.sin(12 * p[..., 0]) * np.sin(12 * p[..., 1]) * np.sin(12 * p[..., 2])
    sphere = np.linalg.norm(p, axis=-1) - 0.6 - 0.03 * wave
    ground = p[..., 2] + 0.65 + 0.02 * np.sin(9 * p[..., 0]) * np.cos(7 * p[..., 1])
    return np.minimum(sphere, ground)


def band(level: int) -> np.ndarray:
    """[N, 3] coordinates of the voxels of a level near the surface, in the order of their paths."""
    octants = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.int64)
    cells = np.zeros((1, 3), np.int64)
    for at in range(1, level + 1):
        cells = (cells[:, None] * 2 + octants).reshape(-1, 3)
        size = 2.0 / 2**at
        near = size * (1.8 if at == level else 2.2)
        cells = cells[np.abs(distance((cells + 0.5) * size - 1)) < near]
    return cells


def make_scene(level: int, degree: int) -> Scene:
    cells = band(level)
    n, size = len(cells), 2.0 / 2**level
    path = np.zeros(n, np.int64)
    for bit in range(level):
        group = (
            (cells[:, 0] >> bit & 1) * 4 + (cells[:, 1] >> bit & 1) * 2 + (cells[:, 2] >> bit & 1)
        )
        path |= group << (48 - 3 * level + 3 * bit)
    repeated = sum(1 << 3 * k for k in range(16))
    rank = np.stack([np.argsort(path ^ (o * repeated)) for o in range(8)]).astype(np.int32)
    octants = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.int64)
    corner = cells[:, None] + octants
    key = (corner[..., 0] << 34) | (corner[..., 1] << 17) | corner[..., 2]
    unique, index = np.unique(key, return_inverse=True)
    index = index.reshape(-1)
    xyz = np.stack([unique >> 34, unique >> 17 & 0x1FFFF, unique & 0x1FFFF], 1)
    slot = np.argsort(index, kind="stable").astype(np.int32)
    start = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=len(unique)))])
    low = cells * size - 1
    colour = 0.5 + 0.5 * np.sin((low + size / 2) * 20)
    rng = np.random.default_rng(0)
    shs = 0.05 * rng.standard_normal((n, (degree + 1) ** 2 - 1, 3))
    arrays = (
        np.concatenate([low, np.full((n, 1), size)], 1).astype(np.float32),
        np.full(n, level, np.int8),
        index.reshape(n, 8).astype(np.int32),
        start.astype(np.int32),
        slot,
        rank,
        distance(xyz * size - 1).astype(np.float32),
        ((colour - 0.5) / 0.28209479177387814).astype(np.float32),
        shs.astype(np.float32),
        np.full(17, np.log(99) / (2 * size), np.float32),
    )
    return Scene(*(torch.from_numpy(a) for a in arrays))


def make_view(width: int, height: int, device: str) -> ops.View:
    eye = np.array([1.9, 0.9, 0.8])
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = 0.5 * width / np.tan(np.radians(25))
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    pose = np.concatenate([rotation, -(rotation @ eye)[:, None]], 1)
    return ops.make_view(K, pose, width, height, 0.02, device)


def gradient(width: int, height: int, device: str) -> torch.Tensor:
    """Random gradients of colour, transmittance, mean depth and normal."""
    out = torch.randn((height, width, 12), generator=torch.Generator().manual_seed(1))
    out[..., 5] = 0
    out[..., 9:] = 0
    return out.to(device)


def iteration(
    scene: Scene,
    view: ops.View,
    grad: torch.Tensor,
    degree: int,
    mark: Callable[[], Any],
    *,
    samples: int = 1,
    rise: bool = False,
) -> dict[str, torch.Tensor]:
    """One pass through all operations; calls `mark` between them."""
    features = layout.F_ALL | (layout.F_RISE if rise else 0)
    mark()
    record, rect = ops.prepare(
        scene.lo_size, scene.level, scene.corner_index, scene.sdf, scene.sh0, scene.shs,
        scene.sharpness, view, degree, cull=not rise,
    )  # fmt: skip
    mark()
    bins = ops.bin_voxels(rect, scene.rank_order, view)
    mark()
    image = ops.rasterize_forward(record, rect, bins, view, features=features, samples=samples)
    mark()
    grad_record = ops.rasterize_backward(record, rect, bins, view, image, grad)
    mark()
    grad_sdf, grad_rgb = ops.prepare_backward(
        grad_record, record, scene.lo_size, scene.corner_index, scene.corner_start,
        scene.corner_slot, scene.sdf,
    )  # fmt: skip
    mark()
    return {
        "pixels": image.pixels,
        "grad_record": grad_record,
        "grad_sdf": grad_sdf,
        "grad_rgb": grad_rgb,
        "entries": bins.bucket_start[-1:],
    }


def times(run: Callable[[Callable[[], Any]], Any], repeats: int, cuda: bool) -> np.ndarray:
    """[repeats, steps] in milliseconds."""
    rows = []
    for _ in range(repeats + 1):
        marks: list[Any] = []

        def mark(marks: list[Any] = marks) -> None:
            if cuda:
                event = torch.cuda.Event(enable_timing=True)
                event.record()
                marks.append(event)
            else:
                marks.append(time.perf_counter())

        run(mark)
        if cuda:
            torch.cuda.synchronize()
            rows.append([a.elapsed_time(b) for a, b in itertools.pairwise(marks)])
        else:
            rows.append([1e3 * (b - a) for a, b in itertools.pairwise(marks)])
    return np.array(rows[1:])


def compare(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    print(f"{'':14} {'largest':>10} {'difference':>11} {'99.9 %':>10}")
    for name in ("pixels", "grad_record", "grad_sdf", "grad_rgb"):
        x, y = a[name].cpu().double(), b[name].cpu().double()
        off = (x - y).abs().flatten().numpy()
        print(
            f"{name:14} {float(x.abs().max()):10.4g} {off.max():11.3g} "
            f"{np.quantile(off, 0.999):10.3g}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", type=int, default=8)
    parser.add_argument("--width", type=int, default=800)
    parser.add_argument("--height", type=int, default=600)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--degree", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--rise", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    host = make_scene(options.level, options.degree)
    results = {}
    for device in ("cpu", "cuda") if options.check else (options.device,):
        scene, view = host.to(device), make_view(options.width, options.height, device)
        grad = gradient(options.width, options.height, device)

        def run(mark: Callable[[], Any], s=scene, v=view, g=grad, d=device) -> None:  # type: ignore[no-untyped-def]
            more = {"samples": options.samples, "rise": options.rise}
            results[d] = iteration(s, v, g, options.degree, mark, **more)

        table = times(run, options.repeats, device == "cuda")
        entries = int(results[device]["entries"])
        print(f"{device}: {len(scene.lo_size)} voxels, {entries} entries [ms]")
        print(f"{'':18}{'median':>9} {'least':>9}")
        for name, column in [*zip(STEPS, table.T), ("total", table.sum(1))]:
            print(f"{name:18}{np.median(column):9.2f} {column.min():9.2f}")
    if options.check:
        compare(results["cpu"], results["cuda"])


if __name__ == "__main__":
    main()
