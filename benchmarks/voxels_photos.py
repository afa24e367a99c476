"""Train the voxels on a run of photos with object masks, and score them beside start and `fusion`.

    voxterra run DATA/dtu_scan24/images --out RUN --preset preview --until depth
    python benchmarks/voxels_photos.py RUN DATA/dtu_scan24/masks OUT [--n_iter 240 ...]

Nothing is known but the photos: cameras and depth maps are the run's. The masks (sorted as the
photos) serve for scoring only: PSNR inside of them on held-out photos, and the intersection over
union of the mesh's silhouettes with them. Options on top of the preset `preview` of a CPU.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from mesh_scores import run_mesh, score_fused, score_mesh
from voxels_survey import Subset, compare
from voxterra.imaging.undistort import undistort
from voxterra.io.depth_store import DepthStore
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.evaluate import evaluate_views, means
from voxterra.surface.voxels.model.render import Voxels
from voxterra.surface.voxels.options import resolve
from voxterra.surface.voxels.run_presets import voxel_preset
from voxterra.surface.voxels.scene.load import load_scene
from voxterra.surface.voxels.scene.scene import Scene


def with_masks(scene: Scene, run: Path, folder: Path) -> Scene:
    """The scene with the masks of a folder, undistorted as its images are."""
    every = sorted(path.name for path in Path(_photos(run)).iterdir())
    masks = dict(zip(every, sorted(folder.iterdir()), strict=True))
    views = []
    for image in scene.views:
        with Image.open(masks[image.view.name]) as mask:
            pixels = np.where(np.asarray(mask.convert("L")) > 127, 255, 0).astype(np.uint8)
        views.append(replace(image, mask=undistort(pixels, image.view, is_mask=True)))
    return replace(scene, views=tuple(views))


def _photos(run: Path) -> str:
    """The folder of a run's photos."""
    source = json.loads((run / "voxterra.json").read_text())["source"]
    path = Path(source[0] if isinstance(source, list) else source)
    return str(path if path.is_absolute() else run / path)


def score_voxels(voxels: Voxels, scene: Scene, masked: Scene) -> dict[str, float | None]:
    """Held-out images, and silhouettes of the mesh as a run would cut it."""
    mesh = run_mesh(voxels, scene)
    images = means(evaluate_views(voxels, masked, held_out=True))
    return {**images, **score_mesh(mesh, masked)}


def score_fusion(run: Path, scene: Scene, masked: Scene) -> dict[str, float | None]:
    """The same of the fused mesh."""
    names = {image.view.name for image in scene.views if not image.held_out}
    return score_fused(Subset(DepthStore(run / "stages" / "depth"), names), masked)


def run(source: Path, masks: Path, out: Path, config: VoxelConfig) -> dict[str, object]:
    """Score the start, the end, and fusion."""
    scene = load_scene(source, config)
    masked = with_masks(scene, source, masks)
    return compare(
        scene,
        config,
        out,
        lambda voxels: score_voxels(voxels, scene, masked),
        lambda: score_fusion(source, scene, masked),
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source, masks, out, *options = sys.argv[1:]
    names = (o.lstrip("-").replace("-", "_") for o in options[::2])
    base = {k: v for k, v in asdict(voxel_preset("preview", "cpu")).items() if v is not None}
    values = {**base, "eval": True, **dict(zip(names, map(yaml.safe_load, options[1::2])))}
    config = resolve(values).config
    print(json.dumps(run(Path(source), Path(masks), Path(out), config), indent=1))


if __name__ == "__main__":
    main()
