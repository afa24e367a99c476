"""Façades: orthophotos of walls, for captures that look across."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxterra.core.progress import Progress, part
from voxterra.products.exporter import ACROSS, ExportInputs, NothingToMake, Product

if TYPE_CHECKING:
    from voxterra.products.facade_planes import Facade

log = logging.getLogger(__name__)


class FacadeOrtho:
    """`facade_1.tif` and so on: walls straight from the front, in the colours of the photos."""

    name, group, license, version = "facade", "raster", "Apache-2.0", 1
    needs, options = ("mesh", "photos"), None
    for_photos = ACROSS
    settings = (
        "facades",
        "facade_line",
        "gsd_m",
        "dsm_gsd_factor",
        "max_raster_px",
        "fill_gap_cells",
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
        progress(0.0, "facades")
        facades = _facades(inputs)
        listed: list[dict[str, Any]] = []
        products: list[Product] = []
        for number, facade in enumerate(facades, 1):
            span = part(progress, (number - 1) / len(facades), number / len(facades))
            made = _write(f"facade_{number}", facade, inputs, out_dir, span)
            products += made[0]
            listed.append(made[1])
        return (replace(products[0], facts={"facades": listed}), *products[1:])


def _facades(inputs: ExportInputs) -> tuple[Facade, ...]:
    """What to show, with y counted as heights on the map."""
    from voxterra.products.facade_planes import at_height, find_facades

    mesh, frame, config = inputs.mesh, inputs.frame, inputs.config
    if config.facade_line is not None:
        found: tuple[Facade, ...] = (_given(inputs, config.facade_line),)
    else:
        found = find_facades(mesh, inputs.maps.views, config.facades)
    if not found:
        raise NothingToMake(
            "no facade found: no vertical plane fills enough of the photos; give the line of one "
            "with --products.facade-line"
        )
    if frame.is_local:
        return found
    import numpy as np

    origins = np.array([facade.plane.origin_in_world for facade in found])
    heights = frame.to_map(origins)[:, 2]
    return tuple(at_height(f, float(h)) for f, h in zip(found, heights, strict=True))


def _given(inputs: ExportInputs, line: tuple[float, float, float, float]) -> Facade:
    """The façade over a line on the map."""
    import numpy as np

    from voxterra.products.facade_planes import given_facade

    mesh, views, frame = inputs.mesh, inputs.maps.views, inputs.frame
    middle = np.median(mesh.vertices, axis=0)[None].astype(np.float64)
    height = float(frame.to_map(middle)[0, 2])
    left, right = frame.from_map(np.array([[*line[:2], height], [*line[2:], height]]))
    found = given_facade(mesh, views, left, right)
    if found is None:
        found = given_facade(mesh, views, right, left)
        if found is not None:
            log.warning(
                "--products.facade-line: seen from the front, its first point is the right end; "
                "the ends are swapped"
            )
    if found is None:
        raise NothingToMake(
            "no wall along --products.facade-line: check that both points lie on the map of the "
            "products, at the foot of a wall that the photos show"
        )
    return found


def _write(
    name: str, facade: Facade, inputs: ExportInputs, out_dir: Path, progress: Progress
) -> tuple[list[Product], dict[str, Any]]:
    """The files of one façade, and what `metadata.json` says of it."""
    from voxterra.io.geotiff import write_dsm, write_ortho
    from voxterra.io.world_file import write_png
    from voxterra.products.facade import facade_rasters

    config, frame, plane = inputs.config, inputs.frame, facade.plane
    image, relief = facade_rasters(
        facade,
        inputs.mesh,
        inputs.maps,
        config,
        scale_known=frame.scale_known,
        progress=part(progress, 0.0, 0.95),
    )
    paths = [out_dir / f"{name}{end}" for end in (".tif", "_relief.tif", ".png", ".pgw")]
    write_ortho(
        image,
        paths[0],
        frame,
        compression=config.ortho_compression,
        quality=config.jpeg_quality,
        accuracy=inputs.accuracy,
        plane=plane,
    )
    write_dsm(relief, paths[1], frame, accuracy=inputs.accuracy, plane=plane)
    write_png(image, paths[2])
    size = f"{facade.width:.4g} x {facade.high - facade.low:.4g} {frame.unit}"
    cells = f"cells of {image.grid.cell_size:g} {frame.unit}"
    texts = (
        f"Facade orthophoto, {size}, {cells}",
        f"Distance of the facade's surface before its plane, cells of {relief.grid.cell_size:g} "
        f"{frame.unit}",
        "The facade orthophoto as a picture",
        f"World file of {name}.png: where its pixels lie on the plane",
    )
    products = [
        Product(path.name, path, "raster", text) for path, text in zip(paths, texts, strict=True)
    ]
    return products, _described(name, facade, inputs, image.grid.cell_size)


def _described(name: str, facade: Facade, inputs: ExportInputs, cell: float) -> dict[str, Any]:
    """A façade for `metadata.json`."""
    import numpy as np

    from voxterra.io.metadata import vertical_datum

    plane, frame = facade.plane, inputs.frame
    foot = np.array([[0.0, facade.low, 0.0], [facade.width, facade.low, 0.0]])
    left, right = frame.to_map(plane.to_world(foot))
    return {
        "name": f"{name}.tif",
        "plane": plane.to_dict(),
        "foot_on_map": np.round(np.stack([left, right]), 4).tolist(),
        # As --products.facade-line takes it.
        "line_on_map": [round(float(v), 4) for v in (*left[:2], *right[:2])],
        "y": vertical_datum(frame),
        "width": round(facade.width, 4),
        "bottom": round(facade.low, 4),
        "top": round(facade.high, 4),
        "reach": round(facade.reach, 4),
        "cell_size": cell,
        "unit": frame.unit,
        "given": inputs.config.facade_line is not None,
    }
