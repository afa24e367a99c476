"""Panoramas of a synthetic scene for `voxterra train`, and the trained mesh against that scene.

    python benchmarks/panoramas.py draw DATA/synthetic_street/truth OUT [--width 1600] [--colmap]
    voxterra train --source_path OUT --model_path MODEL --eval --preset outdoor [--stereo]
    voxterra mesh MODEL
    python benchmarks/panoramas.py score DATA/synthetic_street/truth MODEL/mesh.ply

A level panorama is drawn at the place of every photo, by casting rays at the exact mesh, whose
surfaces get patterns of noise. The cameras in OUT are exact, or with `--colmap` what COLMAP finds
in the panoramas (in a frame of its own: nothing to score).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import trimesh
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy.ndimage import map_coordinates

from voxterra.core.camera import PANORAMA, Camera
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.io.colmap.model import write_colmap
from voxterra.io.ply import read_ply
from voxterra.kernels.mesh.closest import build_triangle_tree, closest_on_mesh

Float = NDArray[np.float64]

NEAR_M = 25.0
"""Only vertices this near to the cameras' centroid, horizontally, are scored."""
_LATTICE = np.random.default_rng(0).random((64, 64, 64))
_GRAINS = ((0.8, 0.3), (0.3, 0.3), (0.12, 0.25), (0.05, 0.15))
"""Size [m] and weight of the patterns."""


def scene_mesh(truth: Path) -> trimesh.Trimesh:
    """All that the photos of a synthetic set show."""
    files = (truth / "mesh.ply", truth / "mesh_context.ply")
    return trimesh.util.concatenate([trimesh.load(file, process=False) for file in files])


def camera_centers(truth: Path) -> Float:
    """(N, 3) in the world of the truth [m]."""
    images = json.loads((truth / "cameras.json").read_text())["images"]
    return np.array([image["centre_enu"] for image in images])


def draw(truth: Path, out: Path, width: int, *, colmap: bool) -> None:
    from trimesh.ray.ray_pyembree import RayMeshIntersector  # scoring does without embree

    mesh = scene_mesh(truth)
    rays = RayMeshIntersector(mesh)
    (out / "images").mkdir(parents=True, exist_ok=True)
    images = []
    for index, center in enumerate(camera_centers(truth)):
        yaw = 0.3 * index
        forward, down = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0])
        axes = np.stack([np.cross(down, forward), down, forward])
        name = f"pano_{index:02d}.jpg"
        color = np.mean(
            [_shot(mesh, rays, center, axes, width, at) for at in np.ndindex(2, 2)], axis=0
        )
        pixels = np.rint(255 * color ** (1 / 1.6)).astype(np.uint8)
        PillowImage.fromarray(pixels).save(out / "images" / name, quality=93)
        images.append(Image(name, 1, np.column_stack([axes, -axes @ center])))
        print(name, flush=True)
    model = out / "sparse" / "0"
    if colmap:
        _find_cameras(out, model)
        return
    camera = Camera(PANORAMA, width, width // 2, (float(width), float(width // 2)))
    none = SparsePoints(
        np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), np.zeros(1, np.int64),
        np.empty(0, np.int32), np.empty((0, 2)),
    )  # fmt: skip
    write_colmap(Reconstruction({1: camera}, tuple(images), none), model)


def _shot(
    mesh: trimesh.Trimesh,
    rays: Any,
    center: Float,
    axes: Float,
    width: int,
    at: tuple[int, ...],
) -> Float:
    """(width / 2, width, 3) colours through one of four points of each pixel."""
    u, v = (np.arange(n) + 0.25 + 0.5 * k for n, k in zip((width, width // 2), at))
    lon, lat = np.meshgrid(2 * np.pi * (u / width - 0.5), np.pi * (v / (width // 2) - 0.5))
    local = np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], -1)
    direction = local.reshape(-1, 3) @ axes
    up = direction[:, 2:]
    color = np.hstack([0.75 - 0.2 * up, 0.8 - 0.1 * up, np.full_like(up, 0.9)])  # the sky
    face = rays.intersects_first(np.broadcast_to(center, direction.shape), direction)
    hit = face >= 0
    normal = mesh.face_normals[face[hit]]
    offset = ((mesh.triangles[face[hit], 0] - center) * normal).sum(axis=1)
    reach = offset / (direction[hit] * normal).sum(axis=1)
    color[hit] = _surface_color(center + reach[:, None] * direction[hit], normal)
    return color.reshape(width // 2, width, 3)


def _surface_color(points: Float, normals: Float) -> Float:
    hue = np.stack([_noise(points + shift, 3.0) for shift in (0, 50, 90)], axis=1)
    fine = sum(weight * _noise(points + 7 * k, size) for k, (size, weight) in enumerate(_GRAINS))
    rows, bricks = np.floor(points[:, 2] / 0.35), np.floor(points[:, :2].sum(axis=1) / 0.6)
    color = 0.15 + 0.5 * hue + 0.6 * (fine - 0.4)[:, None] + 0.12 * ((rows + bricks) % 2)[:, None]
    light = 0.55 + 0.45 * np.abs(normals @ [0.4, 0.3, 0.85]).clip(0, 1)
    return (color * light[:, None]).clip(0.02, 1)


def _noise(points: Float, size: float) -> Float:
    out: Float = map_coordinates(_LATTICE, (points / size).T, order=1, mode="grid-wrap")
    return out


def _find_cameras(out: Path, model: Path) -> None:
    """Structure from motion by COLMAP as it comes, on the panoramas themselves."""
    database, photos = out / "database.db", out / "images"
    database.unlink(missing_ok=True)
    options = pycolmap.ImageReaderOptions()
    options.camera_model = PANORAMA
    pycolmap.extract_features(
        database, photos, camera_mode=pycolmap.CameraMode.SINGLE, reader_options=options
    )
    pycolmap.match_exhaustive(database)
    found = pycolmap.incremental_mapping(database, photos, out / "sparse")
    print({number: part.num_reg_images() for number, part in found.items()}, "panoramas placed")
    assert model.is_dir()


def score(truth: Path, mesh_file: Path) -> None:
    mesh = scene_mesh(truth)
    tree = build_triangle_tree(mesh.vertices, mesh.faces.astype(np.int32))
    vertices = np.asarray(read_ply(mesh_file)[0].vertices, np.float64)
    middle = camera_centers(truth).mean(axis=0)
    near = np.linalg.norm((vertices - middle)[:, :2], axis=1) < NEAR_M
    off = closest_on_mesh(tree, vertices[near])[0]
    print(
        f"{near.sum()} vertices: median {np.median(off):.4f} m, "
        f"{(off < 0.05).mean():.1%} within 0.05 m, {(off < 0.15).mean():.1%} within 0.15 m"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    drawing = verbs.add_parser("draw")
    drawing.add_argument("truth", type=Path)
    drawing.add_argument("out", type=Path)
    drawing.add_argument("--width", type=int, default=1600)
    drawing.add_argument("--colmap", action="store_true")
    scoring = verbs.add_parser("score")
    scoring.add_argument("truth", type=Path)
    scoring.add_argument("mesh", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "draw":
        draw(arguments.truth, arguments.out, arguments.width, colmap=arguments.colmap)
    else:
        score(arguments.truth, arguments.mesh)


if __name__ == "__main__":
    main()
