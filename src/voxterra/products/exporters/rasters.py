"""Rasters on the map: surface model and orthophoto."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.progress import Progress, part
from voxterra.products.exporter import ExportInputs, Product
from voxterra.products.heights import HEIGHT_NEEDS, HEIGHT_SETTINGS


class Dsm:
    """`dsm.tif`: heights of the surface, and which were measured."""

    name, group, license, version = "dsm", "raster", "Apache-2.0", 1
    needs, settings, options = HEIGHT_NEEDS, HEIGHT_SETTINGS, None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.geotiff import write_dsm
        from voxterra.products.heights import cells, height_facts, surface

        progress(0.0, "surface model")
        raster, path = surface(inputs), out_dir / "dsm.tif"
        progress(0.6, "surface model")
        write_dsm(raster, path, inputs.frame, accuracy=inputs.accuracy)
        text = f"Surface model, {cells(inputs, raster.grid)}"
        return (Product(path.name, path, "raster", text, height_facts(inputs)),)


class Ortho:
    """`ortho.tif`: the surface from straight above, in the colours of the photos."""

    name, group, license, version = "ortho", "raster", "Apache-2.0", 2
    needs, options = HEIGHT_NEEDS, None
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
        from voxterra.products.heights import cells, grids, height_facts, surface, vertices_on_map
        from voxterra.products.ortho import orthophoto

        progress(0.0, "surface model")
        mesh, config, (_, grid) = inputs.mesh, inputs.config, grids(inputs)
        heights = height_raster(vertices_on_map(inputs), mesh.faces, grid)
        coarse = resample_heights(surface(inputs), config.dsm_gsd_factor)
        np.copyto(heights, coarse, where=np.isnan(heights))
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
