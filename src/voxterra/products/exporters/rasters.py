"""Rasters on the map: surface model and orthophoto."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.progress import Progress, part
from voxterra.products.exporter import FROM_ABOVE, ExportInputs, Product
from voxterra.products.heights import HEIGHT_NEEDS, HEIGHT_SETTINGS


class Dsm:
    """`dsm.tif`: heights of the surface; `dsm_source.tif`: what each of them rests on."""

    name, group, license, version = "dsm", "raster", "Apache-2.0", 2
    needs, settings, options = HEIGHT_NEEDS, HEIGHT_SETTINGS, None
    for_photos = FROM_ABOVE

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.geotiff import write_dsm, write_dsm_source
        from voxterra.products.heights import cells, height_facts, surface

        progress(0.0, "surface model")
        raster, path = surface(inputs), out_dir / "dsm.tif"
        progress(0.6, "surface model")
        write_dsm(raster, path, inputs.frame, accuracy=inputs.accuracy)
        classes = out_dir / "dsm_source.tif"
        names = write_dsm_source(raster, classes, inputs.frame, accuracy=inputs.accuracy)
        text = f"Surface model, {cells(inputs, raster.grid)}"
        of_classes = "What each cell of the surface model rests on: measured, weak, coarse, filled"
        return (
            Product(path.name, path, "raster", text, height_facts(inputs)),
            Product(classes.name, classes, "raster", of_classes),
            Product(names.name, names, "list", "Names of these classes, read by GIS programs"),
        )


class Ortho:
    """`ortho.tif`: the surface from straight above, in the colours of the photos."""

    name, group, license, version = "ortho", "raster", "Apache-2.0", 2
    needs, options = HEIGHT_NEEDS, None
    for_photos = FROM_ABOVE
    settings = (
        *HEIGHT_SETTINGS,
        "blend_spread",
        "level_exposure",
        "ortho_compression",
        "jpeg_quality",
    )

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        import numpy as np

        from voxterra.io.geotiff import write_ortho
        from voxterra.products.dsm import height_raster, resample_heights
        from voxterra.products.heights import (
            cells,
            grids,
            height_facts,
            shown_faces,
            surface,
            vertices_on_map,
        )
        from voxterra.products.ortho import orthophoto

        progress(0.0, "surface model")
        mesh, config, (_, grid) = inputs.mesh, inputs.config, grids(inputs)
        heights = height_raster(vertices_on_map(inputs), shown_faces(inputs)[0], grid)
        coarse = resample_heights(surface(inputs), config.dsm_gsd_factor)
        # What the surface model shows, no less and no more.
        np.copyto(heights, coarse, where=np.isnan(heights) | np.isnan(coarse))
        image = orthophoto(
            heights,
            grid,
            mesh,
            inputs.maps,
            inputs.frame,
            spread=config.blend_spread,
            level_exposure=config.level_exposure,
            progress=part(progress, 0.05, 0.95),
        )
        path = out_dir / "ortho.tif"
        write_ortho(
            image,
            path,
            inputs.frame,
            compression=config.ortho_compression,
            quality=config.jpeg_quality,
            accuracy=inputs.accuracy,
        )
        text = f"True orthophoto, {cells(inputs, grid)}"
        return (Product(path.name, path, "raster", text, height_facts(inputs)),)
