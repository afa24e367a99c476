"""Train a scene with given poses, mesh it, and score images and surface (options: voxterra train).

    python benchmarks/voxels.py chair SCENE OUT [--n_iter 8000 ...]
    python benchmarks/voxels.py dtu SCENE OUT

SCENE is a folder of `voxel_sets.py`. Writes OUT/result.json, OUT/mesh.npz and pictures. "Seen
surface" keeps a sample of either mesh only where a training camera sees it (depth buffer).
"""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from mesh_scores import score_fused, score_mesh
from voxterra.core.mesh import TriMesh
from voxterra.evaluate.surface import sample_surface
from voxterra.io.arrays import write_mesh
from voxterra.io.depth_store import DepthStore
from voxterra.io.ply import read_ply
from voxterra.kernels.mesh.closest import build_triangle_tree, closest_on_mesh
from voxterra.kernels.raster.zbuffer import rasterize_depth
from voxterra.pipeline.recipe.posed_photos import needs_stereo, with_stereo
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import choose_device
from voxterra.surface.voxels.evaluate import evaluate_views, means
from voxterra.surface.voxels.mesh.extract import extract_mesh
from voxterra.surface.voxels.mesh.unseen import only_measured
from voxterra.surface.voxels.model.render import to_device
from voxterra.surface.voxels.options import resolve
from voxterra.surface.voxels.scene.load import load_scene
from voxterra.surface.voxels.scene.scene import Scene, SceneView
from voxterra.surface.voxels.train import train

SAMPLES = 200_000
SEEN_TOLERANCE = 0.004
"""A sample this far behind the depth buffer is hidden [world units]."""


def seen_samples(mesh: TriMesh, scene: Scene) -> np.ndarray:
    """Samples of the mesh that a training camera sees, of `SAMPLES` drawn."""
    points, _ = sample_surface(np.asarray(mesh.vertices, np.float64), mesh.faces, SAMPLES, 0)
    seen = np.zeros(len(points), bool)
    for image in scene.views:
        if image.held_out:
            continue
        view = image.view.resized(2 * image.view.width, 2 * image.view.height)
        rotation, translation = view.cam_from_world[:, :3], view.cam_from_world[:, 3]
        in_cam = mesh.vertices @ rotation.T + translation
        buffer, _ = rasterize_depth(in_cam, mesh.faces, view.K, view.width, view.height)
        xy, depth = view.project(points)
        column, row = np.floor(xy).astype(int).T
        inside = (depth > 0) & (column >= 0) & (column < view.width)
        inside &= (row >= 0) & (row < view.height)
        at = np.flatnonzero(inside & ~seen)
        nearest = buffer[row[at], column[at]]
        seen[at] = (nearest == 0) | (depth[at] < nearest + SEEN_TOLERANCE)
    return points[seen]


def surface_scores(mesh: TriMesh, truth: TriMesh, scene: Scene) -> dict[str, float]:
    """Chamfer distance and F-scores between the seen parts of the two surfaces."""
    ours, theirs = seen_samples(mesh, scene), seen_samples(truth, scene)
    to_truth = closest_on_mesh(build_triangle_tree(truth.vertices, truth.faces), ours)[0]
    to_ours = closest_on_mesh(build_triangle_tree(mesh.vertices, mesh.faces), theirs)[0]
    out = {"chamfer": float((to_truth.mean() + to_ours.mean()) / 2)}
    out["accuracy"], out["completeness"] = float(to_truth.mean()), float(to_ours.mean())
    for limit in (0.01, 0.02):
        p, r = float((to_truth < limit).mean()), float((to_ours < limit).mean())
        out[f"F@{limit}"] = 2 * p * r / max(p + r, 1e-9)
    return out


def surface_scores_true(mesh: TriMesh, run: Path, truth: Path) -> dict[str, float]:
    """F-scores of a run's mesh against the true surface of a synthetic set, laid over it."""
    from voxterra.evaluate.against_truth import _alignment
    from voxterra.evaluate.surface import score_surface
    from voxterra.io.truth.surface import read_truth_surface

    surface = read_truth_surface(truth, min_views=3)
    score = score_surface(mesh, surface, _alignment(run, truth, "cameras", None), align="cameras")
    figures = score.to_dict()
    out = {f"F@{t['distance']:g}": t["f_score"] for t in figures["thresholds"]}
    at = next(t for t in figures["thresholds"] if t["distance"] == 0.2)
    parts = {"precision@0.2": at["precision"], "recall@0.2": at["recall"]}
    return {**out, **parts, "chamfer": figures["chamfer"]}


def with_masks(scene: Scene, folder: Path) -> Scene:
    """The scene with the masks NAME.png of a folder, for scoring what was trained without."""

    def masked(image: SceneView) -> SceneView:
        with Image.open(folder / f"{Path(image.view.name).stem}.png") as mask:
            return replace(image, mask=np.asarray(mask.convert("L")))

    return replace(scene, views=tuple(map(masked, scene.views))) if folder.is_dir() else scene


def machine(device: str) -> dict[str, str]:
    """What it ran on."""
    out = {"python": platform.python_version(), "torch": torch.__version__}
    if device == "cuda":
        out["gpu"] = torch.cuda.get_device_name()
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        out["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return out


def run(kind: str, source: Path, out: Path, config: VoxelConfig) -> dict[str, object]:
    """Train, mesh and score one scene."""
    scene = load_scene(source, config)
    out.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    last = [begun]

    def tell(fraction: float, message: str = "") -> None:
        if time.perf_counter() - last[0] > 5:
            last[0] = time.perf_counter()
            print(f"{fraction:6.1%} {message}", flush=True)

    if needs_stereo(scene, config):
        scene = with_stereo(scene, config, out / "stereo", progress=tell)
    prepared = time.perf_counter()
    model = train(scene, config, out=out, progress=tell)
    trained = time.perf_counter()
    mesh = extract_mesh(model)
    meshed = time.perf_counter()
    write_mesh(mesh, out / "mesh.npz")
    result: dict[str, object] = {
        "set": kind,
        "stereo_s": prepared - begun,
        "train_s": trained - prepared,
        "mesh_s": meshed - trained,
        "voxels": model.n_voxels,
        "faces": len(mesh.faces),
        "iterations": config.n_iter,
    }
    if torch.cuda.is_available():
        result["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
    result["machine"] = machine("cuda" if torch.cuda.is_available() else "cpu")
    scene = with_masks(scene, source / "eval_masks")
    voxels = to_device(model, choose_device(config))
    for name, held_out in (("held_out", True), ("trained", False)):
        scores = evaluate_views(voxels, scene, ss=config.ss, held_out=held_out)
        result[name] = means(scores) if scores else None
    truth = source / "truth" / "gt_mesh.ply"
    if truth.exists():
        result["surface"] = surface_scores(mesh, read_ply(truth)[0], scene)
    result["mesh"] = score_mesh(mesh, scene)
    if (out / "stereo" / "depth").is_dir():
        known = (view.prior for view in scene.training if view.prior is not None)
        result["measured_mesh"] = score_mesh(only_measured(mesh, known), scene)
        result["fusion"] = score_fused(DepthStore(out / "stereo" / "depth"), scene)
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    kind, source, out, *options = sys.argv[1:]
    names = (o.lstrip("-").replace("-", "_") for o in options[::2])
    values = {"eval": True, **dict(zip(names, map(yaml.safe_load, options[1::2])))}
    config = resolve(values, preset=values.pop("preset", None)).config
    print(json.dumps(run(kind, Path(source), Path(out), config), indent=1))


if __name__ == "__main__":
    main()
