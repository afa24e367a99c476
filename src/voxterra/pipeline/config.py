"""The options of a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field

from voxterra.core.geo import projected_crs
from voxterra.depth.config import DepthConfig
from voxterra.georef.config import GeorefConfig
from voxterra.ingest.config import IngestConfig
from voxterra.mesh.config import CleanConfig
from voxterra.mesh.texture_config import TextureConfig
from voxterra.products.config import ProductsConfig
from voxterra.sfm.config import SfmConfig
from voxterra.surface.fusion.config import FusionConfig


@dataclass(frozen=True)
class RunConfig:
    """Options of a run: those of its stages, a section each.

    Attributes:
        ingest: reading photos and their metadata.
        sfm: structure from motion.
        georef: placing the model on the map.
        depth: multi-view stereo.
        surface: fusing depth maps to a surface and a cloud.
        mesh: cleaning and simplifying the mesh.
        texture: baking photos onto the mesh.
        products: files for the map and for viewers.
    """

    ingest: IngestConfig = field(default_factory=IngestConfig)
    sfm: SfmConfig = field(default_factory=SfmConfig)
    georef: GeorefConfig = field(default_factory=GeorefConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    surface: FusionConfig = field(default_factory=FusionConfig)
    mesh: CleanConfig = field(default_factory=CleanConfig)
    texture: TextureConfig = field(default_factory=TextureConfig)
    products: ProductsConfig = field(default_factory=ProductsConfig)


def check_config(config: RunConfig) -> None:
    """Find at once what would else be found when the stage that needs it starts.

    Raises:
        GeoError: the CRS is unknown or not projected.
    """
    if config.georef.crs is not None:
        projected_crs(config.georef.crs)
