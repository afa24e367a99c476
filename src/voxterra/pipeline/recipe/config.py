"""The options of a whole run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Fixed, Suppress

from voxterra.core.geo import projected_crs
from voxterra.core.machine import Machine, this_machine
from voxterra.core.map_config import MapConfig
from voxterra.core.options import with_values
from voxterra.core.wording import nearest
from voxterra.depth.config import DepthConfig
from voxterra.errors import UsageError
from voxterra.georef.config import GeorefConfig
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.config import check as check_ingest
from voxterra.io.colmap.model import read_cameras
from voxterra.io.geojson import read_polygons
from voxterra.io.scale_bars import read_scale_bars
from voxterra.mesh.config import CleanConfig
from voxterra.mesh.texture.config import TextureConfig
from voxterra.pipeline.recipe.plugins import options_of, plugin_options
from voxterra.products.config import ProductsConfig
from voxterra.products.config import check as check_products
from voxterra.report.config import ReportConfig
from voxterra.report.config import check as check_report
from voxterra.sfm.config import SfmConfig
from voxterra.surface.backend import BACKENDS
from voxterra.surface.fusion.config import FusionConfig
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.run_presets import voxel_preset

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    BackendName = str
else:  # so that command line, YAML and help know the installed ones
    BackendName = Literal[("auto", *BACKENDS.names())]
PresetName = Literal["preview", "standard", "high"]

_NO_FLAG = {"flag": False}


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
        map: CRS and vertical datum of the products.
        products: files for the map and for viewers.
        report: the HTML file about the run.
        backend: what makes the surface: "fusion" of depth maps, "voxels" trained on the photos,
            the name of a plugin, or "auto": that of the surface that is there, else fusion.
        voxels: training voxels, with that backend.
        plugins: options of installed plugins, a section each.
        preset: the preset that the other options started from.
        machine: the kind of machine whose column of the preset they started from.
    """

    ingest: IngestConfig = field(default_factory=IngestConfig)
    sfm: SfmConfig = field(default_factory=SfmConfig)
    georef: GeorefConfig = field(default_factory=GeorefConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    surface: FusionConfig = field(default_factory=FusionConfig)
    mesh: CleanConfig = field(default_factory=CleanConfig)
    texture: TextureConfig = field(default_factory=TextureConfig)
    map: MapConfig = field(default_factory=MapConfig)
    products: ProductsConfig = field(default_factory=ProductsConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    backend: BackendName = "auto"
    voxels: VoxelConfig = field(default_factory=lambda: voxel_preset("standard", this_machine()))
    plugins: Any = field(default_factory=plugin_options)
    # Recorded, not chosen by a flag of their own: `--preset` changes the other options too.
    preset: Suppress[Fixed[PresetName]] = field(default="standard", metadata=_NO_FLAG)
    machine: Suppress[Fixed[Machine]] = field(default_factory=this_machine, metadata=_NO_FLAG)


# The least that options of other stages can be; True: more than that.
_LEAST: dict[str, tuple[float, bool]] = {
    "sfm.max_image_size": (0, True),
    "sfm.max_features": (0, True),
    "sfm.max_exhaustive_photos": (0, False),
    "sfm.spatial_neighbours": (1, False),
    "sfm.sequential_overlap": (1, False),
    "sfm.max_prior_sigma_m": (0, False),
    "georef.gps_sigma_horizontal_m": (0, True),
    "georef.gps_sigma_vertical_m": (0, True),
    "georef.attitude_sigma_deg": (0, True),
    "georef.outlier_sigmas": (0, True),
    "depth.max_size": (0, False),
    "depth.color_max_size": (0, False),
    "depth.sources": (1, False),
    "depth.levels": (1, False),
    "depth.coarse_iterations": (0, False),
    "depth.refine_iterations": (0, False),
    "depth.min_agreeing": (0, False),
    "depth.max_reprojection_px": (0, True),
    "depth.max_depth_error": (0, True),
    "surface.voxel_size_m": (0, True),
    "surface.voxel_factor": (0, True),
    "surface.truncation_voxels": (0, True),
    "surface.min_views": (1, False),
    "surface.max_voxels": (0, True),
    "surface.max_points": (0, True),
    "surface.view_cache_mb": (0, False),
    "surface.cloud_voxel_size_m": (0, True),
    "mesh.min_component_faces": (0, False),
    "mesh.min_component_m2": (0, False),
    "mesh.max_island_m2": (0, False),
    "mesh.max_hole_edges": (0, False),
    "mesh.smoothing_iterations": (0, False),
    "mesh.max_faces": (0, True),
    "texture.max_atlas_px": (0, True),
    "texture.gutter_px": (0, False),
    "texture.max_face_px": (0, False),
    "texture.candidates": (1, False),
    "texture.visibility_px": (0, True),
}


def check_config(config: RunConfig) -> None:
    """Check options at the start that would otherwise fail when their stage starts.

    Raises:
        GeoError: the CRS is unknown or not projected.
        UsageError: an option has a value that cannot work.
        InputError, FormatError: a file among the options is missing or not of its format.
    """
    check_ingest(config.ingest)
    for option, (least, more) in _LEAST.items():
        section, name = option.split(".")
        value = getattr(getattr(config, section), name)
        fine = value is None or (least < value if more else least <= value)
        if not fine or (value is not None and not math.isfinite(value)):
            flag = f"--{section}.{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} cannot be {value}.",
                where=flag,
                next_step=f"Give a number {f'above {least}' if more else f'of {least} or more'}, "
                "or leave the option out.",
            )
    check_products(config.products)
    check_report(config.report)
    if config.depth.aoi is not None:
        read_polygons(config.depth.aoi)
    _check_backends(config)
    if config.sfm.cameras is not None:
        read_cameras(config.sfm.cameras)
    if config.georef.scale_bar is not None:
        read_scale_bars(config.georef.scale_bar)
    if config.map.crs is not None:
        projected_crs(config.map.crs)


def _check_backends(config: RunConfig) -> None:
    """Check the backend's name, and the options of all backends."""
    names = ("auto", *BACKENDS.names())
    if config.backend not in names:
        raise UsageError(
            f"There is no surface backend '{config.backend}'{nearest(config.backend, names)}",
            where="--backend",
            next_step=f"Choose one of: {', '.join(names)}.",
        )
    if config.backend != "auto":
        BACKENDS.get(config.backend)
    for name, backend in BACKENDS.available().items():
        backend.check(options_of(config, name))


def recorded_config(values: Mapping[str, Any], *, where: str) -> RunConfig:
    """Options that a run folder recorded; those of missing plugins are skipped.

    Raises:
        UsageError: it has options that this version does not know.
    """
    base, plugins = RunConfig(), dict(values.get("plugins") or {})
    gone = [name for name in plugins if not hasattr(base.plugins, name)]
    if gone:
        log.warning("options of plugins that are not installed are skipped: %s", ", ".join(gone))
    kept = {name: options for name, options in plugins.items() if name not in gone}
    return with_values(base, {**values, "plugins": kept}, where=where)
