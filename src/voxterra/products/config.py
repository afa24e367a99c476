"""What products are made, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from tyro.conf import arg

from voxterra.errors import UsageError
from voxterra.io.geojson import read_polygons

Compression = Literal["deflate", "jpeg", "webp"]

# A raster of fewer cells is a mistake, not a map.
LEAST_RASTER_PX = 10_000


def _names_arg(what: str, default: str) -> Any:
    """How the command line shows an option that takes names of products, installed ones too."""
    from voxterra.products.selection import names_and_groups

    return arg(
        help=f"{what}: names or groups, separated by commas, of {names_and_groups()}.",
        help_behavior_hint=f"(default: {default})",
    )


@dataclass(frozen=True)
class ProductsConfig:
    """How products are written.

    Attributes:
        only: names or groups of the products to make; what these need is made too. Empty: all.
            `metadata.json` is always made.
        skip: names or groups of products that are not made.
    """

    REPLACED: ClassVar[Mapping[str, str]] = {"products": "products.only"}

    only: Annotated[tuple[str, ...], _names_arg("Make these products only", "all")] = ()
    skip: Annotated[tuple[str, ...], _names_arg("Do not make these products", "none")] = ()

    gsd_m: float | None = None
    """Cell size of the orthophoto [m, or model units]; None = a pixel, on the ground, of the
    undistorted photos that the preset keeps, rounded. A preset that shrinks photos has larger
    cells: smaller ones would show nothing more."""

    dsm_gsd_factor: int = 2
    """Cells of the orthophoto in one cell of the surface model, a whole number."""

    max_raster_px: int = 50_000_000
    """Most cells in the orthophoto; a larger area gets larger cells."""

    aoi: Path | None = None
    """Area of interest, GeoJSON polygons: mesh, cloud and rasters are cut to it."""

    fill_gap_cells: float = 60.0
    """Holes that the surface model encloses are filled from their rims, and marked so, up to this
    many of its cells wide; wider ones and the outside stay open. 0 fills none."""

    measured_only: bool = False
    """Surface model and orthophoto show only what photos measured: no hole is filled, and faces of
    the mesh that were invented are left out."""

    blend_spread: float = 0.08
    """Tangent of the angle from the vertical over which photos are about as good for the
    orthophoto; larger lets its seams run further from the middle between photos."""

    level_exposure: bool = True
    """Level brightness and colour between the photos of the orthophoto."""

    ortho_compression: Compression = "deflate"
    """"deflate" loses nothing; the others are several times smaller."""

    jpeg_quality: int = 90
    """Of textures, and of a lossy orthophoto, 1..100."""

    facades: int = 4
    """Most facades that are looked for where photos look across; each gets an orthophoto."""

    facade_line: tuple[float, float, float, float] | None = None
    """The foot of a facade on the map, x1 y1 x2 y2, its left end first as seen from the front:
    the orthophoto of this wall alone, from one end to the other [CRS units, or model units]."""

    license: str | None = None
    """Licence of the products, written into `metadata.json`, such as "CC-BY-4.0"."""


def check(config: ProductsConfig) -> None:
    """Find options that cannot work, before hours of work come to them.

    Raises:
        UsageError: one is out of its range, or names a product that does not exist.
        MissingPartError: an exporter that is asked for does not load.
        InputError, FormatError: the area of interest cannot be read.
    """
    from voxterra.products.selection import named_by

    if config.aoi is not None:
        read_polygons(config.aoi)
    if not named_by(config.only, config.skip):
        raise UsageError(
            "No product is left to make.",
            where="--products.only, --products.skip",
            next_step="Skip less: what --products.only names, --products.skip takes away again.",
        )
    line = config.facade_line
    rules = (
        (
            config.gsd_m is None or 0 < config.gsd_m < math.inf,
            "gsd_m",
            config.gsd_m,
            "Give a size above 0, such as 0.05, or leave it out.",
        ),
        (
            config.dsm_gsd_factor >= 1 and config.dsm_gsd_factor == int(config.dsm_gsd_factor),
            "dsm_gsd_factor",
            config.dsm_gsd_factor,
            "Give a whole number, 1 or more.",
        ),
        (
            config.max_raster_px >= LEAST_RASTER_PX,
            "max_raster_px",
            config.max_raster_px,
            f"Give {LEAST_RASTER_PX} or more; for larger cells use --products.gsd-m.",
        ),
        (
            0 <= config.fill_gap_cells < math.inf,
            "fill_gap_cells",
            config.fill_gap_cells,
            "Give 0 to fill none, or a width in cells.",
        ),
        (
            0 < config.blend_spread < math.inf,
            "blend_spread",
            config.blend_spread,
            "Give a tangent above 0, such as 0.08.",
        ),
        (
            config.facades >= 1,
            "facades",
            config.facades,
            "Give 1 or more; for none use --products.skip facade.",
        ),
        (
            line is None or (all(map(math.isfinite, line)) and line[:2] != line[2:]),
            "facade_line",
            line,
            "Give two different points: x1 y1 x2 y2.",
        ),
        (
            config.ortho_compression in get_args(Compression),
            "ortho_compression",
            config.ortho_compression,
            f"Choose one of: {', '.join(get_args(Compression))}.",
        ),
        (
            1 <= config.jpeg_quality <= 100,
            "jpeg_quality",
            config.jpeg_quality,
            "Give a number from 1 to 100.",
        ),
    )
    for fine, name, value, next_step in rules:
        if not fine:
            option = f"--products.{name.replace('_', '-')}"
            raise UsageError(f"{option} cannot be {value}.", where=option, next_step=next_step)
