"""True orthophoto: every cell of the surface coloured by the photos that see it from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMaps
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.raster import ColorRaster, Grid
from voxterra.kernels.raster.ortho import blend_view, sample_view
from voxterra.kernels.raster.zbuffer import rasterize_depth
from voxterra.products.exposure import exposure_gains
from voxterra.products.gaps import closing
from voxterra.products.layout import Lattice, lattice

# Cells blended at once: 20 bytes each.
STRIP_CELLS = 16_000_000
# The z-buffer may be smaller than the photo.
DEPTH_PIXELS = 3_000_000
# Z-buffers that levelling draws are kept for blending, up to this many bytes in all.
KEPT_BYTES = 256_000_000
# Radius of the specks that may be coloured from around: what roughness of the mesh hides.
SPECK_CELLS = 2.0
EXPOSURE_POINTS = 20_000
EXPOSURE_SHRINK = 4
EXPOSURE_DEPTH_PIXELS = 200_000


@dataclass(frozen=True)
class _Photo:
    """A photo ready for the kernels; fields as `kernels.ortho.sample_view` names them."""

    pose: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    image: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    nearest: NDArray[np.float32]
    near_edge: NDArray[np.float32]

    def arguments(self) -> Any:
        return (
            self.pose,
            self.intrinsics,
            self.image,
            self.usable,
            self.nearest,
            self.near_edge,
        )


def orthophoto(
    heights: NDArray[np.float32],
    grid: Grid,
    mesh: TriMesh,
    maps: DepthMaps,
    frame: GeoFrame,
    *,
    spread: float = 0.08,
    level_exposure: bool = True,
    progress: Progress = no_progress,
) -> ColorRaster:
    """Colours of a height raster.

    A photo colours a cell when nothing of the mesh lies between them. Of the photos that see a
    cell, those nearest to the vertical count most; across the lines where the best photo changes
    the weights change smoothly.

    Args:
        heights: (H, W) float32 map heights on `grid`, NaN = no cell.
        grid: of the heights and of the result.
        mesh: what hides cells from photos, in world.
        maps: photos, undistorted.
        frame: of the world.
        spread: tangent of the angle from the vertical over which photos blend.
        level_exposure: level the photos first.
        progress: called once a photo and strip.
    """
    rgba = np.zeros((grid.height, grid.width, 4), np.uint8)
    known = np.isfinite(heights)
    if not known.any() or not maps.views:
        return ColorRaster(grid, rgba)
    cells = lattice(grid, frame, float(np.median(heights[known])))
    gains = np.ones((len(maps.views), 3))
    kept: dict[int, NDArray[np.float32]] = {}
    share = 0.0
    if level_exposure and len(maps.views) > 1:
        share = 0.4
        points = _sample_points(heights, cells)
        gains = _level(points, mesh, maps, spread, kept, part(progress, 0, share))
    gsd = grid.cell_size * frame.map_unit_m()
    rows = max(1, STRIP_CELLS // grid.width)
    starts = range(0, grid.height, rows)
    for number, start in enumerate(starts):
        span = (1 - share) / len(starts)
        strip = slice(start, min(start + rows, grid.height))
        rgba[strip] = _blend_strip(
            heights[strip],
            start,
            cells,
            mesh,
            maps,
            gains,
            kept,
            (gsd, spread),
            part(progress, share + number * span, share + (number + 1) * span),
        )
    return ColorRaster(grid, rgba)


def _blend_strip(
    heights: NDArray[np.float32],
    first_row: int,
    cells: Lattice,
    mesh: TriMesh,
    maps: DepthMaps,
    gains: NDArray[np.float64],
    kept: dict[int, NDArray[np.float32]],
    gsd_and_spread: tuple[float, float],
    progress: Progress,
) -> NDArray[np.uint8]:
    gsd, spread = gsd_and_spread
    color = np.zeros((*heights.shape, 3), np.float32)
    total = np.zeros(heights.shape, np.float32)
    best = np.full(heights.shape, -np.inf, np.float32)
    outline = _outline(heights, first_row, cells)
    for index, view in enumerate(maps.views):
        progress(index / len(maps.views), f"orthophoto {index + 1}/{len(maps.views)} photos")
        if outline is None or not _may_see(view, outline):
            continue
        photo = _prepare(index, mesh, maps, gsd, kept)
        place = (heights, first_row, cells.base, cells.up, cells.step)
        arguments = (*place, *photo.arguments(), spread, gains[index], color, total, best)
        blend_view(*arguments)
    progress(1.0)
    return _finish(color, total, np.isfinite(heights))


def _finish(
    color: NDArray[np.float32], total: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(h, W, 4) RGBA of weighted colours; specks that no photo sees take their surroundings."""
    import cv2

    seen = total > 0
    color /= np.where(seen, total, 1.0)[..., None]
    specks = closing(seen, SPECK_CELLS) & known & ~seen
    if specks.any():
        size = (int(4 * SPECK_CELLS) + 1,) * 2
        around = cv2.blur(color, size, borderType=cv2.BORDER_CONSTANT)
        weight = cv2.blur(seen.astype(np.float32), size, borderType=cv2.BORDER_CONSTANT)
        color[specks] = around[specks] / weight[specks, None]
    out = np.zeros((*seen.shape, 4), np.uint8)
    shown = seen | specks
    out[shown, :3] = np.clip(color[shown] + 0.5, 0, 255)
    out[shown, 3] = 255
    return out


def _outline(
    heights: NDArray[np.float32], first_row: int, cells: Lattice
) -> NDArray[np.float64] | None:
    """Some hundred world points of a strip, to tell photos that cannot see it; None = empty."""
    rows, columns = np.nonzero(np.isfinite(heights))
    if not len(rows):
        return None
    pick = np.linspace(0, len(rows) - 1, 4000).astype(int)
    return cells.points(
        first_row + rows[pick] + 0.5, columns[pick] + 0.5, heights[rows[pick], columns[pick]]
    )


def _may_see(view: PinholeView, points: NDArray[np.float64]) -> bool:
    pixels, depth = view.project(points)
    margin = 0.1 * max(view.width, view.height)
    low, high = -margin, np.array([view.width, view.height]) + margin
    return bool(((depth > 0) & (pixels > low).all(1) & (pixels < high).all(1)).any())


def _nearest(
    index: int,
    mesh: TriMesh,
    view: PinholeView,
    kept: dict[int, NDArray[np.float32]],
    depth_pixels: int,
) -> NDArray[np.float32]:
    """(h, w) depth of the first surface, inf where there is none; drawn or found in `kept`.

    As long as there is room it is drawn at its full size, whatever `depth_pixels`, and kept.
    """
    if index in kept:
        return kept[index]
    full = min(DEPTH_PIXELS, view.width * view.height)
    room = sum(depth.nbytes for depth in kept.values()) + 4 * full <= KEPT_BYTES
    small = min(1.0, ((full if room else depth_pixels) / (view.width * view.height)) ** 0.5)
    size = max(1, round(view.width * small)), max(1, round(view.height * small))
    vertices = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
    depth, _ = rasterize_depth(vertices, mesh.faces, view.resized(*size).K, *size)
    nearest = np.where(depth > 0, depth, np.float32(np.inf))
    if room:
        kept[index] = nearest
    return nearest


def _prepare(
    index: int,
    mesh: TriMesh,
    maps: DepthMaps,
    gsd: float,
    kept: dict[int, NDArray[np.float32]],
    depth_pixels: int = DEPTH_PIXELS,
) -> _Photo:
    """The photo, shrunk when its pixels are much finer than the raster's, and its z-buffer."""
    import cv2

    view = maps.views[index]
    nearest = _nearest(index, mesh, view, kept, depth_pixels)
    near_edge = np.asarray(cv2.erode(nearest, np.ones((5, 5), np.uint8)), np.float32)
    image, mask = maps.load_color(index), maps.load_mask(index)
    seen = nearest[np.isfinite(nearest)]
    footprint = float(np.median(seen)) / view.K[0, 0] if seen.size else gsd
    if gsd > 1.5 * footprint:
        shrunk = tuple(max(16, round(n * footprint / gsd)) for n in (view.width, view.height))
        image = np.asarray(cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
        if mask is not None:
            mask = cv2.resize(mask.astype(np.uint8), shrunk, interpolation=cv2.INTER_AREA) > 0
        view = view.resized(*shrunk)
    K = view.K
    intrinsics = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], view.width, view.height], float)
    usable = np.zeros((0, 0), np.bool_) if mask is None else np.ascontiguousarray(mask)
    pose = np.ascontiguousarray(view.cam_from_world, np.float64)
    return _Photo(pose, intrinsics, np.ascontiguousarray(image), usable, nearest, near_edge)


def _sample_points(heights: NDArray[np.float32], cells: Lattice) -> NDArray[np.float64]:
    """(N, 3) world points of cells spread evenly over the raster."""
    stride = max(1, int((np.isfinite(heights).sum() / EXPOSURE_POINTS) ** 0.5))
    coarse = heights[stride // 2 :: stride, stride // 2 :: stride]
    rows, columns = np.nonzero(np.isfinite(coarse))
    return cells.points(
        rows * stride + stride // 2 + 0.5,
        columns * stride + stride // 2 + 0.5,
        coarse[rows, columns],
    )


def _level(
    points: NDArray[np.float64],
    mesh: TriMesh,
    maps: DepthMaps,
    spread: float,
    kept: dict[int, NDArray[np.float32]],
    progress: Progress,
) -> NDArray[np.float64]:
    """(V, 3) gains; photos are compared at a quarter of their size, which forgives small shifts."""
    samples = np.full((len(maps.views), len(points), 3), np.nan, np.float32)
    for index, view in enumerate(maps.views):
        progress(index / len(maps.views), f"exposure {index + 1}/{len(maps.views)} photos")
        pixel = float(np.linalg.norm(points - view.center_in_world, axis=1).min()) / view.K[0, 0]
        gsd = EXPOSURE_SHRINK * pixel
        photo = _prepare(index, mesh, maps, gsd, kept, EXPOSURE_DEPTH_PIXELS)
        arguments = (points, *photo.arguments(), spread)
        samples[index] = sample_view(*arguments)
    return exposure_gains(samples)
