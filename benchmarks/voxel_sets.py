"""Scenes with given poses for the voxel engine, written as folders that `voxterra train` reads.

    python benchmarks/voxel_sets.py object_chair_synthetic DATA/object_chair_synthetic OUT
    python benchmarks/voxel_sets.py dtu_scan24 DATA/dtu_scan24 OUT --width 800 [--no-masks]

Without masks they lie in `eval_masks/`, where only the scores look. DTU's scene is written in its
normalised frame (the object inside of the unit sphere).
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def chair(source: Path, out: Path, width: int, masks: str) -> None:
    """The NeRF chair as it is: RGBA images and transforms_train/_test.json."""
    for name in ("train", "test"):
        shutil.copytree(source / name, out / name, dirs_exist_ok=True)
        for extra in (*(out / name).glob("*_depth_*"), *(out / name).glob("*_normal_*")):
            extra.unlink()
        shutil.copy2(source / f"transforms_{name}.json", out / f"transforms_{name}.json")
    truth = source / "gt_mesh" / "gt_mesh.ply"
    (out / "truth").mkdir(exist_ok=True)
    shutil.copy2(truth, out / "truth" / truth.name)


def dtu(source: Path, out: Path, width: int, masks: str) -> None:
    """Images scaled to `width`, their masks, and a transforms.json of the robot's cameras."""
    cameras = np.load(source / "cameras_sphere.npz")
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / masks).mkdir(exist_ok=True)
    frames = []
    for path in sorted((source / "images").glob("*.jpg")):
        i = int(path.stem)
        image = Image.open(path).convert("RGB")
        height = round(image.height * width / image.width)
        scale = np.diag([width / image.width, height / image.height, 1.0])
        world = cameras[f"world_mat_{i}"] @ cameras[f"scale_mat_{i}"]
        K, rotation, center, *_ = cv2.decomposeProjectionMatrix(world[:3].astype(np.float64))
        K = scale @ (K / K[2, 2])
        world_from_cam = np.eye(4)
        world_from_cam[:3, :3] = rotation.T
        world_from_cam[:3, 3] = (center[:3] / center[3])[:, 0]
        image.resize((width, height), Image.Resampling.BOX).save(
            out / "images" / path.name, quality=96, subsampling=0
        )
        mask = next((source / "masks").glob(f"*{path.stem[-3:]}.*"))
        Image.open(mask).convert("L").resize((width, height), Image.Resampling.BOX).save(
            out / masks / f"{path.stem}.png"
        )
        frames.append(
            {
                "file_path": f"images/{path.name}",
                "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2],
                "w": width, "h": height,
                "transform_matrix": (world_from_cam @ np.diag([1, -1, -1, 1])).tolist(),
            }
        )  # fmt: skip
    (out / "transforms.json").write_text(json.dumps({"frames": frames}, indent=1))


SETS = {"object_chair_synthetic": chair, "dtu_scan24": dtu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=800)
    parser.add_argument("--no-masks", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    SETS[args.set](args.source, args.out, args.width, "eval_masks" if args.no_masks else "masks")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
