"""Façade orthophoto: the orthophoto of a wall, seen straight from the front.

The scene is turned so that the wall lies flat and its front looks up. Surface model and orthophoto
are then those of the map, in a local frame whose x and y are those of the wall.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.bands import Bands
from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap, DepthMaps
from voxterra.core.exposure import Exposure
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.core.progress import Progress, no_progress
from voxterra.core.raster import ColorRaster, Grid, SurfaceRaster
from voxterra.core.vertical_plane import VerticalPlane
from voxterra.products.config import ProductsConfig
from voxterra.products.dsm import height_raster, resample_heights, surface_raster
from voxterra.products.facade_planes import Facade
from voxterra.products.layout import choose_grids, nice
from voxterra.products.ortho import orthophoto

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TurnedPhotos:
    """The photos and depth maps of a scene, in the frame of a plane.

    Attributes:
        maps: in world.
        plane: whose frame the views are in.
        views: the same photos with poses in that frame.
    """

    maps: DepthMaps
    plane: VerticalPlane
    views: tuple[PinholeView, ...]

    @property
    def source_names(self) -> tuple[str, ...]:
        return self.maps.source_names

    @property
    def exposure(self) -> Exposure | None:
        """How the photos are levelled, where that is known: it does not depend on the frame."""
        return getattr(self.maps, "exposure", None)

    def load(self, index: int) -> DepthMap:
        found = self.maps.load(index)
        return replace(found, view=_turned(found.view, self.plane))

    def load_color(self, index: int) -> NDArray[np.uint8]:
        return self.maps.load_color(index)

    def load_bands(self, index: int) -> Bands:
        return self.maps.load_bands(index)

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        return self.maps.load_mask(index)


def turned_photos(maps: DepthMaps, plane: VerticalPlane) -> TurnedPhotos:
    """`maps` in the frame of a plane."""
    return TurnedPhotos(maps, plane, tuple(_turned(view, plane) for view in maps.views))


def turned_mesh(mesh: TriMesh, plane: VerticalPlane) -> TriMesh:
    """A mesh in the frame of a plane."""
    vertices = plane.from_world(mesh.vertices.astype(np.float64))
    return replace(mesh, vertices=vertices.astype(np.float32))


def facade_rasters(
    facade: Facade,
    mesh: TriMesh,
    maps: DepthMaps,
    config: ProductsConfig,
    *,
    scale_known: bool,
    progress: Progress = no_progress,
) -> tuple[ColorRaster, SurfaceRaster]:
    """Orthophoto and relief of a façade, both in the frame of its plane.

    The relief has the distance in front of the plane as its heights. Cells are those of
    `config.gsd_m`, or a pixel of the photos on the wall.

    Args:
        facade: what to show.
        mesh: in world; all of it can hide the wall from a photo, what is within the façade's
            reach is shown.
        maps: photos, in world.
        config: options of products.
        scale_known: whether a unit of the world is a metre.
        progress: of the orthophoto.
    """
    turned, photos = turned_mesh(mesh, facade.plane), turned_photos(maps, facade.plane)
    shown = turned.faces[_within(facade, turned)]
    relief_grid, grid = _grids(facade, config)
    vertices = turned.vertices.astype(np.float64)
    relief = surface_raster(vertices, shown, relief_grid, config.fill_gap_cells)
    depth = height_raster(vertices, shown, grid)
    coarse = resample_heights(relief, config.dsm_gsd_factor)
    np.copyto(depth, coarse, where=np.isnan(depth))
    image = orthophoto(
        depth,
        grid,
        turned,
        photos,
        GeoFrame.local(scale_known=scale_known),
        spread=config.blend_spread,
        level_exposure=config.level_exposure,
        progress=progress,
    )
    return image, relief


def _turned(view: PinholeView, plane: VerticalPlane) -> PinholeView:
    return replace(view, cam_from_world=plane.camera_from_plane(view.cam_from_world))


def _within(facade: Facade, turned: TriMesh) -> NDArray[np.bool_]:
    """(F,) the faces that a façade's picture shows."""
    x, y, z = turned.vertices[turned.faces].mean(axis=1).T
    inside = (np.abs(z) <= facade.reach) & (x >= 0) & (x <= facade.width)
    return np.asarray(inside & (y >= facade.low) & (y <= facade.high))


def _grids(facade: Facade, config: ProductsConfig) -> tuple[Grid, Grid]:
    """Grids of the relief and of the orthophoto; warns where cells are larger than asked."""
    size = nice(facade.pixel) if config.gsd_m is None else config.gsd_m
    corners = np.array([[0.0, facade.low], [facade.width, facade.high]])
    coarse, fine = choose_grids(corners, size, config.dsm_gsd_factor, config.max_raster_px)
    if fine.cell_size != size:
        log.warning(
            "façade: cells of %g instead of %g: it is large for --products.max-raster-px",
            fine.cell_size,
            size,
        )
    return coarse, fine
