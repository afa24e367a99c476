"""Are the colours of a run those of its photos?  python benchmarks/colours.py RUN [RUN ...]

Prints, for the orthophoto and the texture of a run:

- glaring: share of pixels with a channel of 250 or more, beside that of the photos as they are;
- places: 200 places against the median of the photos that show them: bias and median absolute
  difference of the grey value [of 255], each the mean of nine points,
  beside it that of the most central photo alone, as it is and as levelled;
- seam: median grey difference of the two most central photos, where they are equally central; of
  the photos as they are and as levelled (by the gains that the run kept).

What a photo shows is asked of its own depth map.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from scipy.spatial import cKDTree

from voxterra.core.map_config import MapConfig
from voxterra.io.arrays import read_mesh
from voxterra.io.depth_store import DepthStore
from voxterra.io.georeference import read_georeference
from voxterra.pipeline.recipe.config_file import read_values
from voxterra.pipeline.recipe.stages import read_components

GLARING = 250
PLACES = 200
NEIGHBOURS = 9
CELLS = 40_000
SHRINK = 4
GREY = np.array([0.299, 0.587, 0.114])
# Photos are equally central where their distances from the middle, of the half diagonal, differ by
# less.
EQUALLY = 0.05


@dataclass(frozen=True)
class Looks:
    """What photos show of points.

    Attributes:
        point, photo: (N,) which point, which photo.
        color, levelled: (N, 3) in the photo as it is, and as levelled.
        off_centre: (N,) distance from the middle of the photo, of its half diagonal.
    """

    point: np.ndarray
    photo: np.ndarray
    color: np.ndarray
    levelled: np.ndarray
    off_centre: np.ndarray


def look(store: DepthStore, gains: np.ndarray, points: np.ndarray) -> Looks:
    """Every photo at all (N, 3) points that its depth map has, too."""
    parts: list[tuple[np.ndarray, ...]] = []
    for index in range(len(store.views)):
        known = store.load(index)
        height, width = known.depth.shape
        pixel, depth = known.view.project(points)
        near = (depth > 0) & (pixel >= 2).all(1) & (pixel < [width - 2, height - 2]).all(1)
        number = np.flatnonzero(near)
        column, row = pixel[number].astype(int).T
        number = number[np.abs(known.depth[row, column] / depth[number] - 1) < 0.01]
        color = store.load_color(index)
        small = cv2.resize(color, None, fx=1 / SHRINK, fy=1 / SHRINK, interpolation=cv2.INTER_AREA)
        part = pixel[number] / [width, height]
        column, row = np.minimum(
            (part * small.shape[1::-1]).astype(int).T, [[small.shape[1] - 1], [small.shape[0] - 1]]
        )
        shown = small[row, column].astype(float)
        place = 2 * part - 1
        factor = np.exp(gains[index, :, 0] + place @ gains[index, :, 1:].T)
        away = np.hypot(*(place * [width, height]).T) / np.hypot(width, height)
        parts.append((number, np.full(len(number), index), shown, shown * factor, away))
    return Looks(*(np.concatenate(p) for p in zip(*parts)))


def medians(looks: Looks, count: int) -> np.ndarray:
    """(count, 3) median of the photos as they are; NaN where fewer than two show the point."""
    out = np.full((count, 3), np.nan)
    order = np.argsort(looks.point, kind="stable")
    first = np.flatnonzero(np.diff(looks.point[order], prepend=-1))
    for rows in np.split(order, first[1:]):
        if len(rows) >= 2:
            out[looks.point[rows[0]]] = np.median(looks.color[rows], axis=0)
    return out


def seams(looks: Looks) -> dict[str, Any]:
    """Differences of the two most central photos, where they are equally central."""
    order = np.lexsort((looks.off_centre, looks.point))
    point = looks.point[order]
    first = np.flatnonzero(np.diff(point, prepend=-1))
    first = first[np.append(point, -1)[first + 1] == point[first]]
    one, two = order[first], order[first + 1]
    equal = looks.off_centre[two] - looks.off_centre[one] < EQUALLY
    one, two = one[equal], two[equal]
    as_is, as_levelled = (
        float(np.median(np.abs((c[one] - c[two]) @ GREY))) for c in (looks.color, looks.levelled)
    )
    return {"seam_photos": as_is, "seam_levelled": as_levelled, "seam_points": len(one)}


def most_central(looks: Looks, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 3) colours in the photo that shows a point most centrally: as it is, and levelled."""
    order = np.lexsort((-looks.off_centre, looks.point))
    out = np.full((2, count, 3), np.nan)
    out[0][looks.point[order]] = looks.color[order]  # the last one stays
    out[1][looks.point[order]] = looks.levelled[order]
    return out[0], out[1]


def against(points: np.ndarray, color: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Bias and median absolute difference of grey at 200 places, and what colour is cast there.

    A place is a point and its nearest neighbours: single points differ by leaves and grains that
    are not shown at quite the same pixel.
    """
    both = np.isfinite(truth).all(1) & np.isfinite(color).all(1)
    off = (color - truth)[both]
    chosen = np.random.default_rng(1).permutation(len(off))[:PLACES]
    near = cKDTree(points[both]).query(points[both][chosen], NEIGHBOURS)[1]
    off = off[near].mean(axis=1)
    grey = off @ GREY
    cast = np.median(off - grey[:, None], axis=0)
    return {
        "places": len(chosen),
        "bias": float(np.median(grey)),
        "median_abs": float(np.median(np.abs(grey))),
        "cast": dict(zip("rgb", cast.tolist())),
    }


def ortho_points(run: Path, frame: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Share of glaring cells; (N, 3) world points of random cells, and their colours."""
    with rasterio.open(run / "products/dsm.tif") as file:
        heights = file.read(1, masked=True).filled(np.nan)
    with rasterio.open(run / "products/ortho.tif") as file:
        rgba, transform = file.read().transpose(1, 2, 0), file.transform
    shown = rgba[..., 3] > 0
    glaring = float((rgba[shown][:, :3] >= GLARING).any(1).mean())
    factor = round(rgba.shape[0] / heights.shape[0])
    rows, columns = np.nonzero(shown)
    some = np.random.default_rng(0).permutation(len(rows))[:CELLS]
    rows, columns = rows[some], columns[some]
    height = heights[rows // factor, columns // factor]
    known = np.isfinite(height)
    rows, columns, height = rows[known], columns[known], height[known]
    x = transform.c + transform.a * (columns + 0.5)
    y = transform.f + transform.e * (rows + 0.5)
    points = frame.from_map(np.column_stack([x, y, height]))
    weight = shown.astype(np.float32)
    mean = cv2.blur(rgba[..., :3].astype(np.float32) * weight[..., None], (SHRINK, SHRINK))
    mean /= np.maximum(cv2.blur(weight, (SHRINK, SHRINK)), 1e-6)[..., None]
    return {"glaring": glaring}, points, mean[rows, columns].astype(float)


def texture_points(run: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray] | None:
    """The same of the texture, at random points of its faces by area."""
    path = run / "stages/mesh/mesh.npz"
    mesh = read_mesh(path) if path.exists() else None
    if mesh is None or mesh.texture is None:
        return None
    corners = mesh.vertices[mesh.faces].astype(float)
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    rng = np.random.default_rng(0)
    face = rng.choice(len(area), CELLS, p=area / area.sum())
    weight = rng.dirichlet(np.ones(3), CELLS)
    points = (weight[..., None] * corners[face]).sum(1)
    uv = (weight[..., None] * mesh.texture.uv[face]).sum(1)
    image = mesh.texture.image
    size = np.array([image.shape[1], image.shape[0]])
    column, row = np.clip((uv * [1, -1] + [0, 1]) * size, 0, size - 1).astype(int).T
    glaring = float((image[row, column] >= GLARING).any(1).mean())
    return {"glaring": glaring}, points, cv2.blur(image, (3, 3))[row, column].astype(float)


def measure(run: Path) -> dict[str, Any]:
    """All figures of a run."""
    store = DepthStore(run / "stages/depth")
    gains = np.zeros((len(store.views), 3, 3))
    kept = run / "stages/depth/exposure.json"
    if kept.exists():
        gains = np.array(json.loads(kept.read_text())["log_gain"])
    glaring = [(store.load_color(i) >= GLARING).any(2).mean() for i in range(len(store.views))]
    out: dict[str, Any] = {"photos": {"glaring": float(np.mean(glaring))}}
    folder = run / "stages/georef"
    placed = read_georeference(folder / "georeference.json", read_components(folder))
    frame = placed.on_map(MapConfig(**read_values(run / "config.yaml").get("map", {}))).frame
    for name, made in (("ortho", ortho_points(run, frame)), ("texture", texture_points(run))):
        if made is not None:
            figures, points, color = made
            looks = look(store, gains, points)
            truth = medians(looks, len(points))
            single = [against(points, c, truth) for c in most_central(looks, len(points))]
            out[name] = figures | against(points, color, truth) | seams(looks)
            out[name]["median_abs_of_one_photo"] = [each["median_abs"] for each in single]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="+", type=Path)
    for run in parser.parse_args().run:
        print(run.name, json.dumps(measure(run), indent=1))


if __name__ == "__main__":
    main()
