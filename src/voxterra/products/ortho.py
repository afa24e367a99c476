"""True orthophoto: every cell of the surface coloured by the photos that see it from above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMaps
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.raster import ColorRaster, Grid
from voxterra.imaging.exposure import levelled
from voxterra.kernels.raster.ortho import add_candidate, blend_view
from voxterra.kernels.raster.zbuffer import rasterize_depth
from voxterra.products.blocks import Blocks, Window, blocks_of
from voxterra.products.gaps import closing
from voxterra.products.layout import Lattice, lattice
from voxterra.products.seams import COARSE_CELLS, MARGIN, Candidates, choose_photos, share_of

# Edge of what is blended at once: 20 bytes a cell.
TILE_CELLS = 4096
# Cells around a tile that decide about specks in it.
MARGIN_CELLS = 16
# The z-buffer may be smaller than the photo.
DEPTH_PIXELS = 3_000_000
# Z-buffers are kept until the last tile that needs them, up to this many bytes in all.
KEPT_BYTES = 256_000_000
# Radius of the specks that may be coloured from around: what roughness of the mesh hides.
SPECK_CELLS = 2.0

_Arguments = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.uint8],
    NDArray[np.bool_],
    NDArray[np.float32],
    NDArray[np.float32],
]


@dataclass(frozen=True)
class _Photo:
    """A photo ready for the kernels; fields as `kernels.raster.ortho.add_candidate` names them."""

    pose: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    image: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    nearest: NDArray[np.float32]
    near_edge: NDArray[np.float32]

    def arguments(self) -> _Arguments:
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
    cell, one near the vertical that shows what most show colours it; seams between photos run where
    they look alike (`products.seams`). The raster is worked on in tiles, each by the photos that
    see it; what comes out does not depend on the tiles.

    Args:
        heights: (H, W) float32 map heights on `grid`, NaN = no cell.
        grid: of the heights and of the result.
        mesh: what hides cells from photos, in world.
        maps: photos, undistorted.
        frame: of the world.
        spread: tangent of the angle from the vertical over which photos are about as good.
        level_exposure: level the photos first (`imaging.exposure`).
        progress: called once a photo and tile.
    """
    rgba = np.zeros((grid.height, grid.width, 4), np.uint8)
    known = np.isfinite(heights)
    if not known.any() or not maps.views:
        return ColorRaster(grid, rgba)
    cells = lattice(grid, frame, float(np.median(heights[known])))
    work = _Work(
        heights,
        cells,
        blocks_of(heights, cells, maps.views),
        mesh,
        levelled(maps) if level_exposure and len(maps.views) > 1 else maps,
        grid.cell_size * frame.map_unit_m(),
        spread,
        {},
    )
    tiles = [(tile, _with_margin(tile, grid)) for tile in _tiles(grid)]
    photos = [work.photos_of(_on_raster(_coarse(around), grid)) for _, around in tiles]
    # A z-buffer is dropped after the last tile that needs it.
    last = {index: number for number, seeing in enumerate(photos) for index, _ in seeing}
    done, whole = 0, sum(len(seeing) for seeing in photos) or 1
    for number, ((tile, around), seeing) in enumerate(zip(tiles, photos, strict=True)):
        span = part(progress, done / whole, (done + len(seeing)) / whole)
        labels = _labels(work, around, seeing, part(span, 0.0, 0.4))
        color = _blend(work, around, labels, part(span, 0.4, 1.0))
        rows, columns = (slice(t.start - a.start, t.stop - a.start) for t, a in zip(tile, around))
        rgba[tile] = color[rows, columns]
        done += len(seeing)
        for index in [i for i in work.kept if last.get(i, -1) <= number]:
            del work.kept[index]
    progress(1.0)
    return ColorRaster(grid, rgba)


@dataclass(frozen=True)
class _Work:
    """What all tiles share.

    Attributes:
        heights, mesh, maps, spread: as in `orthophoto`.
        cells: of the raster in the world.
        blocks: which photos may see which part of the raster.
        gsd: edge of a cell [m, or model units].
        kept: z-buffers, by photo.
    """

    heights: NDArray[np.float32]
    cells: Lattice
    blocks: Blocks
    mesh: TriMesh
    maps: DepthMaps
    gsd: float
    spread: float
    kept: dict[int, NDArray[np.float32]]

    def photos_of(self, window: Window) -> list[tuple[int, Window]]:
        """The photos that may see a part of the raster, each with what it may see of it."""
        found = ((i, self.blocks.window(i, window)) for i in range(len(self.maps.views)))
        return [(index, seen) for index, seen in found if seen is not None]


def _tiles(grid: Grid) -> Iterator[Window]:
    for top in range(0, grid.height, TILE_CELLS):
        for left in range(0, grid.width, TILE_CELLS):
            yield (
                slice(top, min(top + TILE_CELLS, grid.height)),
                slice(left, min(left + TILE_CELLS, grid.width)),
            )


def _with_margin(tile: Window, grid: Grid) -> Window:
    rows, columns = (
        slice(max(0, cells.start - MARGIN_CELLS), min(size, cells.stop + MARGIN_CELLS))
        for cells, size in zip(tile, (grid.height, grid.width))
    )
    return rows, columns


def _coarse(window: Window) -> Window:
    """The coarse cells that decide about a part of the raster; some may lie beyond it."""
    rows, columns = (
        slice(
            max(0, cells.start // COARSE_CELLS - MARGIN),
            (cells.stop - 1) // COARSE_CELLS + 1 + MARGIN,
        )
        for cells in window
    )
    return rows, columns


def _on_raster(coarse: Window, grid: Grid) -> Window:
    """The cells of the raster in a window of coarse cells."""
    rows, columns = (
        slice(cells.start * COARSE_CELLS, min(cells.stop * COARSE_CELLS, size))
        for cells, size in zip(coarse, (grid.height, grid.width))
    )
    return rows, columns


def _labels(
    work: _Work, tile: Window, photos: list[tuple[int, Window]], progress: Progress
) -> NDArray[np.int32]:
    """The photo of each coarse cell of `_coarse(tile)`, -1 where none sees it."""
    rows, columns = (
        slice(cells.start, min(cells.stop, -(-size // COARSE_CELLS)))
        for cells, size in zip(_coarse(tile), work.heights.shape)
    )
    found = Candidates.none(rows.stop - rows.start, columns.stop - columns.start)
    cells, origin = work.cells, (rows.start, columns.start)
    for done, (index, seen) in enumerate(photos):
        progress(done / len(photos), f"seams {done + 1}/{len(photos)} photos")
        photo = _prepare(index, work, COARSE_CELLS * work.gsd)
        window = (
            max(seen[0].start // COARSE_CELLS, rows.start),
            min(-(-seen[0].stop // COARSE_CELLS), rows.stop),
            max(seen[1].start // COARSE_CELLS, columns.start),
            min(-(-seen[1].stop // COARSE_CELLS), columns.stop),
        )
        place = (work.heights, window, origin, COARSE_CELLS, cells.base, cells.up, cells.step)
        candidates = (index, found.photo, found.weight, found.color)
        add_candidate(*place, *photo.arguments(), work.spread, *candidates)
    return choose_photos(found)


def _blend(
    work: _Work, tile: Window, labels: NDArray[np.int32], progress: Progress
) -> NDArray[np.uint8]:
    """(h, w, 4) RGBA of a part of the raster, from the photos of its coarse cells."""
    rows, columns = tile
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    color = np.zeros((*shape, 3), np.float32)
    total = np.zeros(shape, np.float32)
    best = np.full(shape, -np.inf, np.float32)
    cells, origin = work.cells, (rows.start, columns.start)
    corner = tuple(cells.start for cells in _coarse(tile))
    photos = work.photos_of(tile)
    for done, (index, seen) in enumerate(photos):
        progress(done / len(photos), f"orthophoto {done + 1}/{len(photos)} photos")
        photo = _prepare(index, work, work.gsd)
        window = (seen[0].start, seen[0].stop, seen[1].start, seen[1].stop)
        place = (work.heights, window, origin, cells.base, cells.up, cells.step)
        seam = (share_of(labels, index), corner, COARSE_CELLS)
        blend_view(*place, *photo.arguments(), work.spread, *seam, color, total, best)
    progress(1.0)
    return _finish(color, total, np.isfinite(work.heights[tile]))


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


def _nearest(index: int, work: _Work) -> NDArray[np.float32]:
    """(h, w) depth of the first surface, inf where there is none; drawn, or kept from before."""
    view, mesh, kept = work.maps.views[index], work.mesh, work.kept
    if index in kept:
        return kept[index]
    small = min(1.0, (DEPTH_PIXELS / (view.width * view.height)) ** 0.5)
    size = max(1, round(view.width * small)), max(1, round(view.height * small))
    vertices = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
    depth, _ = rasterize_depth(vertices, mesh.faces, view.resized(*size).K, *size)
    nearest = np.where(depth > 0, depth, np.float32(np.inf))
    if sum(other.nbytes for other in kept.values()) + nearest.nbytes <= KEPT_BYTES:
        kept[index] = nearest
    return nearest


def _prepare(index: int, work: _Work, gsd: float) -> _Photo:
    """The photo, shrunk when its pixels are much finer than the raster's, and its z-buffer."""
    import cv2

    maps, view = work.maps, work.maps.views[index]
    nearest = _nearest(index, work)
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
