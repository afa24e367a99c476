"""How true are the facade orthophotos of a run of `synthetic_street`?

    python benchmarks/facade.py RUN [FACADE]   # products/FACADE.tif of a run (facade_1)
    python benchmarks/facade.py --truth OUT    # of products made of the true mesh and cameras

Squares of wall at places known from the true mesh are cut out of the photos with the true cameras,
and found again in the orthophoto. The similarity between true and found places has the scale, which
must be right within 0.5 %, and what is left over says how straight lines are. One JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import trimesh
from numpy.typing import NDArray
from PIL import Image as PilImage
from scipy.spatial import cKDTree

from measure import DATA
from voxterra.core.camera import Camera, PinholeView
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.transforms import Similarity
from voxterra.core.vertical_plane import VerticalPlane
from voxterra.evaluate.against_truth import _true_cameras
from voxterra.evaluate.align import truth_from_world
from voxterra.evaluate.run_folder import read_run_cameras
from voxterra.products.config import ProductsConfig
from voxterra.products.make import make_products
from voxterra.testing import MemoryDepthMaps

Float = NDArray[np.float64]

SET = DATA / "synthetic_street"
SIDE_M, SEARCH_M, FLAT_M, LEAST_NCC = 0.6, 0.35, 0.02, 0.75
_SAMPLES, _SQUARES = 400_000, 1_500


def true_views() -> tuple[list[PinholeView], list[NDArray[np.uint8]]]:
    """The photos without distortion, with their true cameras."""
    truth = json.loads((SET / "truth/cameras.json").read_text())
    f, cx, cy, k1, k2 = truth["colmap_params"]
    width, height = truth["width"], truth["height"]
    K = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1.0]])
    in_opencv = K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    camera = Camera("PINHOLE", width, height, (f, f, cx, cy))
    views, colors = [], []
    for image in truth["images"]:
        photo = np.asarray(PilImage.open(SET / "images" / image["name"]))
        colors.append(cv2.undistort(photo, in_opencv, np.array([k1, k2, 0.0, 0.0])))
        pose = np.array(image["cam_from_world"])
        views.append(PinholeView(image["name"], K, pose, width, height, camera))
    return views, colors


def flat_places(plane: VerticalPlane, width: float, low: float, high: float) -> Float:
    """(N, 3) middles, in the plane's frame, of squares of wall that are flat and free."""
    mesh = trimesh.load(SET / "truth/mesh.ply", process=False)
    points, faces = trimesh.sample.sample_surface(mesh, _SAMPLES, seed=1)
    where = plane.from_world(np.asarray(points))
    near = (np.abs(where[:, 2]) < 1.5) & (where[:, 0] > 0) & (where[:, 0] < width)
    near &= (where[:, 1] > low) & (where[:, 1] < high)
    where, facing = where[near], mesh.face_normals[faces[near]] @ plane.normal_in_world > 0.99
    tree, rng = cKDTree(where[:, :2]), np.random.default_rng(1)
    found = []
    for index in rng.permutation(np.flatnonzero(facing))[: 4 * _SQUARES]:
        around = tree.query_ball_point(where[index, :2], 0.75 * SIDE_M)
        if np.ptp(where[around, 2]) < FLAT_M and facing[around].all() and len(around) > 30:
            found.append(where[index])
    return np.array(found[:_SQUARES])


def square_of(
    middle: Float, plane: VerticalPlane, views: list[PinholeView],
    colors: list[NDArray[np.uint8]], cell: float,
) -> NDArray[np.uint8] | None:  # fmt: skip
    """A square of wall as the most frontal photo that has all of it shows it."""
    count = round(SIDE_M / cell)
    step = (np.arange(count) + 0.5) * cell - count * cell / 2
    x, y = np.meshgrid(middle[0] + step, middle[1] - step)
    cells = plane.to_world(np.column_stack([x.ravel(), y.ravel(), np.full(x.size, middle[2])]))
    best, shown = 0.5, None
    for view, photo in zip(views, colors, strict=True):
        ray = view.center_in_world - plane.to_world(middle[None])[0]
        frontal = float(ray @ plane.normal_in_world / np.linalg.norm(ray))
        pixels, depth = view.project(cells)
        inside = (depth > 0).all() and (pixels > 1).all()
        if frontal <= best or not inside or not (pixels < [view.width - 1, view.height - 1]).all():
            continue
        grid = (pixels - 0.5).astype(np.float32).reshape(count, count, 2)
        best, shown = frontal, cv2.remap(photo, grid, None, cv2.INTER_AREA)
    return shown


def find(
    square: NDArray[np.uint8], image: NDArray[np.uint8], column: float, row: float, reach: int
) -> tuple[float, float] | None:
    """Column and row of the middle of a square in the orthophoto, near where it should be."""
    half = square.shape[0] / 2
    left, top = round(column - half) - reach, round(row - half) - reach
    size = square.shape[0] + 2 * reach
    if left < 0 or top < 0 or left + size > image.shape[1] or top + size > image.shape[0]:
        return None
    window = image[top : top + size, left : left + size]
    if (window[..., 3] == 0).any():
        return None
    score = cv2.matchTemplate(window[..., :3], square, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(score)
    if best < LEAST_NCC or not (0 < x < score.shape[1] - 1 and 0 < y < score.shape[0] - 1):
        return None

    def between(before: float, at: float, after: float) -> float:
        return 0.5 * (before - after) / (before - 2 * at + after)

    x_part = between(*(float(v) for v in score[y, x - 1 : x + 2]))
    y_part = between(*(float(v) for v in score[y - 1 : y + 2, x]))
    return left + x + x_part + half, top + y + y_part + half


def measure(folder: Path, name: str, truth_from_run: Similarity) -> dict[str, Any]:
    """Scale, turn and what is left over, of a facade."""
    listed = json.loads((folder / "metadata.json").read_text())["coverage"]["facades"]
    (facade,) = (f for f in listed if f["name"] == f"{name}.tif")
    record = facade["plane"]
    made = VerticalPlane(
        tuple(record["origin_in_world"]), record["azimuth_deg"], record["origin_height"]
    )
    with rasterio.open(folder / f"{name}.tif") as file:
        image, cell = np.moveaxis(file.read(), 0, 2), file.res[0]
        left, top = file.bounds.left, file.bounds.top
    ends = np.array([[0.0, facade["bottom"], 0.0], [facade["width"], facade["bottom"], 0.0]])
    start, end = truth_from_run.apply(made.to_world(ends))
    along = end - start
    azimuth = float(np.degrees(np.arctan2(along[1], -along[0])))
    plane = VerticalPlane((float(start[0]), float(start[1]), 0.0), azimuth)
    height = facade["top"] - facade["bottom"]
    scale = float(np.linalg.norm(along[:2])) / facade["width"]
    places = flat_places(plane, facade["width"] * scale, start[2], start[2] + height * scale)
    views, colors = true_views()
    image = np.ascontiguousarray(image)
    run_from_truth = truth_from_run.inverse()
    true, found = [], []
    for middle in places:
        square = square_of(middle, plane, views, colors, cell * scale)
        expected = made.from_world(run_from_truth.apply(plane.to_world(middle[None])))[0]
        at = None
        if square is not None:
            column, row = (expected[0] - left) / cell, (top - expected[1]) / cell
            at = find(square, image, column, row, round(SEARCH_M / cell))
        if at is not None:
            true.append(middle[:2])
            found.append((left + at[0] * cell, top - at[1] * cell))
    figures = similarity(np.array(true), np.array(found), cell)
    return {"facade": name, "cell": cell, "width": facade["width"], "squares": len(places),
            "found": len(true), "model_scale_error": 1 / scale - 1, **figures}  # fmt: skip


def similarity(true: Float, found: Float, cell: float) -> dict[str, float]:
    """Robust similarity from true to found places, and what it leaves over [cells]."""
    z, w = true @ [1, 1j], found @ [1, 1j]
    keep = np.ones(len(z), bool)
    for _ in range(10):
        factor, shift = np.polyfit(z[keep], w[keep], 1)
        off = np.abs(factor * z + shift - w) / cell
        keep = off < max(3 * float(np.median(off)), 1.0)
    rest = ((w - factor * z - shift) / factor)[keep]
    return {
        "scale_error": abs(factor) - 1,
        "turn_deg": float(np.degrees(np.angle(factor))),
        "scale_error_x": float(np.polyfit(z.real[keep], (w / factor).real[keep], 1)[0]) - 1,
        "scale_error_y": float(np.polyfit(z.imag[keep], (w / factor).imag[keep], 1)[0]) - 1,
        "outliers": float(1 - keep.mean()),
        "rms_cells": float(np.sqrt(np.mean(np.abs(rest) ** 2))) / cell,
        "p95_cells": float(np.quantile(np.abs(rest), 0.95)) / cell,
        # A line along the facade, or up it, as a parabola: how far its middle is off.
        "bow_cells": max(
            abs(float(np.polyfit(t[keep], r, 2)[0])) * float(np.ptp(t[keep])) ** 2 / 4 / cell
            for t, r in ((z.real, rest.imag), (z.imag, rest.real))
        ),
    }


def make_of_truth(out: Path) -> None:
    """Products of the true mesh and cameras."""
    mesh = trimesh.load(SET / "truth/mesh.ply", process=False)
    faces = TriMesh(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32))
    views, colors = true_views()
    maps = MemoryDepthMaps(tuple(views), [np.zeros((2, 2), np.float32)] * len(views), colors)
    georeference = Georeference(GeoFrame.local(scale_known=True), (), ())
    config = ProductsConfig(only=("facade",))
    make_products(
        faces, None, maps, georeference, PhotoSet(SET, ()), config, out_dir=out, run_info={}
    )


def main() -> None:
    if sys.argv[1] == "--truth":
        folder, name = Path(sys.argv[2]), "facade_1"
        if not (folder / "metadata.json").is_file():
            make_of_truth(folder)
        transform = Similarity.identity()
    else:
        run, name = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "facade_1"
        folder = run / "products"
        true = _true_cameras(SET / "truth", None)
        transform = truth_from_world(read_run_cameras(run), true, "cameras")
    print(json.dumps(measure(folder, name, transform), indent=1))


if __name__ == "__main__":
    main()
