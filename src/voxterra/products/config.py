"""What products are made, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProductName = Literal["glb", "obj", "mesh_ply", "laz", "cloud_ply", "dsm", "ortho", "cameras"]
ALL_PRODUCTS: tuple[ProductName, ...] = (
    "glb",
    "obj",
    "mesh_ply",
    "laz",
    "cloud_ply",
    "dsm",
    "ortho",
    "cameras",
)


@dataclass(frozen=True)
class ProductsConfig:
    """How products are written."""

    products: tuple[ProductName, ...] = ALL_PRODUCTS
    """Which products to make; `metadata.json` is always made."""

    gsd_m: float | None = None
    """Cell size of the orthophoto [m, or model units]; None = the photos' own, rounded."""

    dsm_gsd_factor: int = 2
    """Cells of the orthophoto in one cell of the surface model, a whole number."""

    max_raster_px: int = 50_000_000
    """Most cells in the orthophoto; a larger area gets larger cells."""

    fill_gap_cells: float = 60.0
    """Gaps in the surface model up to this many of its cells wide are filled, and marked so."""

    blend_spread: float = 0.08
    """Tangent of the angle from the vertical over which the orthophoto blends photos."""

    level_exposure: bool = True
    """Level brightness and colour between the photos of the orthophoto."""

    ortho_compression: Literal["deflate", "jpeg", "webp"] = "deflate"
    """"deflate" loses nothing; the others are several times smaller."""

    jpeg_quality: int = 90
    """Of textures, and of a lossy orthophoto, 1..100."""

    license: str | None = None
    """Licence of the products, written into `metadata.json`, such as "CC-BY-4.0"."""
