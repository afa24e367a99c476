"""Train the voxels on a run's depth maps, and score them beside their start and `fusion`.

    python benchmarks/voxels_survey.py RUN TRUTH OUT [--n_iter 800 ...]

RUN has been worked on up to its depth stage (voxterra depth); TRUTH is a synthetic set's folder.
Options on top of the preset `preview` of a CPU. Every test_every-th photo is kept from training and
from `fusion` (stereo has had all of them).
Fusion's images are its mesh with vertex colours, drawn with the voxels' background.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import yaml

from mesh_scores import draw, run_mesh
from voxels import surface_scores_true
from voxterra.io.depth_store import DepthStore
from voxterra.surface.fusion.fuse import fuse
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.evaluate import evaluate_views, means, score_view
from voxterra.surface.voxels.mesh.extract import extract_mesh
from voxterra.surface.voxels.model.render import Voxels, to_device
from voxterra.surface.voxels.options import resolve
from voxterra.surface.voxels.run_presets import voxel_preset
from voxterra.surface.voxels.scene.load import load_scene
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.train import train


class Subset:
    """The depth maps of some views of a store."""

    def __init__(self, store: DepthStore, names: set[str]):
        self._store = store
        self._at = [i for i, view in enumerate(store.views) if view.name in names]

    @property
    def views(self):
        return tuple(self._store.views[i] for i in self._at)

    def load(self, index):
        return self._store.load(self._at[index])

    def load_color(self, index):
        return self._store.load_color(self._at[index])

    def load_mask(self, index):
        return self._store.load_mask(self._at[index])


def score_voxels(voxels: Voxels, scene: Scene, run: Path, truth: Path) -> dict[str, float]:
    """Held-out images and surface."""
    mesh = run_mesh(voxels, scene)
    images = means(evaluate_views(voxels, scene, held_out=True))
    return {**images, **surface_scores_true(mesh, run, truth), "faces": len(mesh.faces)}


def score_fusion(run: Path, scene: Scene, truth: Path) -> dict[str, float]:
    """The same of the fused mesh."""
    store = DepthStore(run / "stages" / "depth")
    names = {image.view.name for image in scene.views if not image.held_out}
    begun = time.perf_counter()
    mesh = fuse(Subset(store, names))
    seconds = time.perf_counter() - begun
    scores = tuple(score_view(v, draw(mesh, v)) for v in scene.views if v.held_out)
    surface = surface_scores_true(mesh, run, truth)
    return {**means(scores), **surface, "faces": len(mesh.faces), "seconds": seconds}


def compare(
    scene: Scene,
    config: VoxelConfig,
    out: Path,
    score: Callable[[Voxels], dict[str, float]],
    fused: Callable[[], dict[str, float]],
) -> dict[str, object]:
    """Train, and score the start, the end and fusion; times are those without scoring."""
    out.mkdir(parents=True, exist_ok=True)
    begun, scored, result = time.perf_counter(), 0.0, {}

    def at_start(voxels: Voxels) -> None:
        nonlocal scored
        result["start_seconds"] = time.perf_counter() - begun
        begun_scoring = time.perf_counter()
        result["start"] = score(voxels)
        scored += time.perf_counter() - begun_scoring
        print("start", json.dumps(result["start"]), flush=True)

    told = [time.perf_counter()]

    def tell(fraction: float, message: str = "") -> None:
        if time.perf_counter() - told[0] > 10:
            told[0] = time.perf_counter()
            print(f"{fraction:6.1%} {message}", flush=True)

    model = train(scene, config, out=out, progress=tell, started=at_start)
    extract_mesh(model)
    result["seconds"] = time.perf_counter() - begun - scored
    result["iterations"], result["voxels"] = config.n_iter, model.n_voxels
    result["end"] = score(to_device(model, "cpu"))
    result["fusion"] = fused()
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def run(source: Path, truth: Path, out: Path, config: VoxelConfig) -> dict[str, object]:
    """Score the start, the end, and fusion."""
    scene = load_scene(source, config)
    return compare(
        scene,
        config,
        out,
        lambda voxels: score_voxels(voxels, scene, source, truth),
        lambda: score_fusion(source, scene, truth),
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source, truth, out, *options = sys.argv[1:]
    names = (o.lstrip("-").replace("-", "_") for o in options[::2])
    base = {k: v for k, v in asdict(voxel_preset("preview", "cpu")).items() if v is not None}
    values = {**base, "eval": True, **dict(zip(names, map(yaml.safe_load, options[1::2])))}
    config = resolve(values).config
    print(json.dumps(run(Path(source), Path(truth), Path(out), config), indent=1))


if __name__ == "__main__":
    main()
