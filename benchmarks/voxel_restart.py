"""Kill trainings of sparse voxels at random moments, resume them, compare with unstopped ones.

    python benchmarks/voxel_restart.py SCENE OUT [--seeds 3] [--kills 2] [options of voxterra train]

For each seed `voxterra train` runs to its end, and again killed (SIGKILL) `--kills` times at random
moments after its first checkpoint, each time gone on with by `--resume`. Compared are the held-out
PSNR and whether all tensors of the last checkpoints are equal bit by bit (they should be on a CPU,
and on a GPU with `--deterministic true`). Writes OUT/result.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from voxels import machine
from voxterra.surface.voxels.evaluate import evaluate_views, means
from voxterra.surface.voxels.model.folder import read_model, read_training
from voxterra.surface.voxels.model.render import to_device
from voxterra.surface.voxels.scene.load import load_scene
from voxterra.surface.voxels.training.state import checkpoint_of

POLL_S = 0.02


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "voxterra", "train", *arguments]


def train(arguments: list[str], out: Path) -> None:
    with (out.parent / f"{out.name}.log").open("a") as log:
        subprocess.run(command(*arguments), check=True, stdout=log, stderr=subprocess.STDOUT)


def train_and_kill(arguments: list[str], out: Path, rng: random.Random) -> bool:
    """Start, wait for a new checkpoint and then some, kill; False: it had ended before."""
    checkpoint = checkpoint_of(out)
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    with (out.parent / f"{out.name}.log").open("a") as log:
        child = subprocess.Popen(
            command(*arguments), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        while child.poll() is None:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                break
            time.sleep(POLL_S)
        time.sleep(rng.uniform(0.0, 3.0))
        alive = child.poll() is None
        if alive:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return alive


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for key in sorted(value) for t in tensors(value[key])]
    if isinstance(value, list | tuple):
        return [t for item in value for t in tensors(item)]
    return []


def same(a: Path, b: Path) -> bool:
    """Whether all tensors of two checkpoints are equal bit by bit."""
    first, second = (
        tensors(torch.load(checkpoint_of(p), map_location="cpu", weights_only=True)) for p in (a, b)
    )
    return len(first) == len(second) and all(map(torch.equal, first, second))


def held_out(model: Path) -> float:
    config = read_training(model).config
    scene = load_scene(Path(read_training(model).source_path), config)
    device = "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu"
    scores = evaluate_views(
        to_device(read_model(model), torch.device(device)), scene, ss=config.ss, held_out=True
    )
    return float(means(scores)["psnr"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=2)
    given, more = parser.parse_known_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rng, rows = random.Random(0), []
    for seed in range(given.seeds):
        whole, killed = (given.out / f"{name}_{seed}" for name in ("whole", "killed"))
        for folder in (whole, killed):
            shutil.rmtree(folder, ignore_errors=True)
        options = ["--source_path", str(given.scene), "--eval", "--seed", str(seed)]
        options += more
        train([*options, "--model_path", str(whole)], whole)
        arguments, kills = [*options, "--model_path", str(killed)], 0
        while kills < given.kills and train_and_kill(arguments, killed, rng):
            kills += 1
            arguments = ["--model_path", str(killed), "--resume"]
        if kills:
            train(arguments, killed)
        rows.append(
            {
                "seed": seed, "kills": kills, "psnr_whole": held_out(whole),
                "psnr_killed": held_out(killed), "bit_identical": same(whole, killed),
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
        for folder in (whole, killed):
            shutil.rmtree(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    result = {"options": more, "runs": rows, "machine": machine(device)}
    (given.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
