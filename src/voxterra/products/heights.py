"""Heights of the surface over the map: computed once a run, for all exporters that need them.

Exporters import this module early, so that it keeps to light ones.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.raster import Grid, SurfaceRaster
from voxterra.core.surface_source import SurfaceSource
from voxterra.io.metadata import map_unit
from voxterra.products.exporter import ExportInputs
from voxterra.products.layout import choose_grids, look_across, nice, photo_gsd
from voxterra.products.metadata import coverage_of

log = logging.getLogger(__name__)

HEIGHT_NEEDS = ("mesh", "photos")
"""What an exporter that reads heights declares in `needs`, and in `settings`:"""
HEIGHT_SETTINGS = (
    "gsd_m",
    "dsm_gsd_factor",
    "max_raster_px",
    "fill_gap_cells",
    "measured_only",
)

# As `dsm.LEVEL_M`, where nobody knows how long a metre is.
_LEVEL_CELLS = 4.0

_LOOK_ACROSS = (
    "most photos look across, not down: surface model and orthophoto hold only what can be seen "
    "from above, and little of it"
)


def vertices_on_map(inputs: ExportInputs) -> NDArray[np.float64]:
    """(V, 3) easting, northing [CRS units] and height [m] of the mesh's vertices."""
    return inputs.shared(
        "vertices on the map", lambda: inputs.frame.to_map(inputs.mesh.vertices.astype(np.float64))
    )


def grids(inputs: ExportInputs) -> tuple[Grid, Grid]:
    """Grids of the surface model and of the orthophoto; warns where cells are larger than asked."""
    wanted, dsm, ortho = inputs.shared("grids", lambda: _grids(inputs))
    if ortho.cell_size != wanted:
        log.warning(
            "cells of %g instead of %g: the area is large for --products.max-raster-px",
            ortho.cell_size,
            wanted,
        )
    return dsm, ortho


def _grids(inputs: ExportInputs) -> tuple[float, Grid, Grid]:
    mesh, frame, config = inputs.mesh, inputs.frame, inputs.config
    used = vertices_on_map(inputs)[np.unique(mesh.faces)][:, :2]
    gsd = config.gsd_m if config.gsd_m is not None else photo_gsd(mesh, inputs.maps.views)
    if not gsd > 0:  # no photo sees the surface: a thousand cells across
        gsd = max(float(np.ptp(used, axis=0).max()) * frame.map_unit_m() / 1000, 1e-6)
    cell = gsd / frame.map_unit_m()
    cell = cell if config.gsd_m is not None else nice(cell)
    return cell, *choose_grids(used, cell, config.dsm_gsd_factor, config.max_raster_px)


def shown_faces(inputs: ExportInputs) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
    """(F, 3) faces of the mesh that rasters show, and (F,) their sources, None: all measured."""
    faces, source = inputs.mesh.faces, inputs.mesh.face_source
    if source is None or not inputs.config.measured_only:
        return faces, source
    kept = source != SurfaceSource.FILLED
    return faces[kept], source[kept]


def surface(inputs: ExportInputs) -> SurfaceRaster:
    """The surface model, with gaps filled and every cell's source."""
    from voxterra.products.dsm import LEVEL_M, surface_raster

    def make() -> SurfaceRaster:
        faces, source = shown_faces(inputs)
        config, grid, frame = inputs.config, grids(inputs)[0], inputs.frame
        return surface_raster(
            vertices_on_map(inputs),
            faces,
            grid,
            0.0 if config.measured_only else config.fill_gap_cells,
            face_source=source,
            map_unit_m=frame.map_unit_m(),
            level=LEVEL_M if frame.scale_known else _LEVEL_CELLS * grid.cell_size,
        )

    return inputs.shared("surface model", make)


def height_facts(inputs: ExportInputs) -> dict[str, Any]:
    """What `metadata.json` says of the surface model; warns where photos see little of it."""
    facts = coverage_of(surface(inputs), inputs.frame)
    if look_across(inputs.maps.views):
        log.warning("%s", _LOOK_ACROSS)
        facts["note"] = _LOOK_ACROSS
    return facts


def cells(inputs: ExportInputs, grid: Grid) -> str:
    """Such as "cells of 0.05 m, EPSG:32632 ..."."""
    return f"cells of {grid.cell_size:g} {map_unit(inputs.frame)}, {inputs.frame.describe()}"
