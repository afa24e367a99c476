"""Voxterra: photographs in, georeferenced 3D out.

`import voxterra as vt` costs next to nothing: each name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from voxterra.core.version import VERSION

__version__ = VERSION

# Public name -> where it lives. The one import path of a symbol is this package.
_PUBLIC = {
    "run": "voxterra.pipeline.run",
    "RunConfig": "voxterra.pipeline.recipe.config",
    "preset": "voxterra.pipeline.recipe.presets",
    "events": "voxterra.pipeline",
    "errors": "voxterra",
    "plugins": "voxterra",
    # the stages, one function and one config each
    "ingest_photos": "voxterra.ingest.ingest",
    "IngestConfig": "voxterra.ingest.config",
    "reconstruct": "voxterra.sfm.reconstruct",
    "SfmConfig": "voxterra.sfm.config",
    "georeference": "voxterra.georef.georeference",
    "GeorefConfig": "voxterra.georef.config",
    "estimate_depth": "voxterra.depth.estimate",
    "DepthConfig": "voxterra.depth.config",
    "fuse": "voxterra.surface.fusion.fuse",
    "fuse_cloud": "voxterra.surface.fusion.cloud",
    "FusionConfig": "voxterra.surface.fusion.config",
    "clean_mesh": "voxterra.mesh.clean",
    "CleanConfig": "voxterra.mesh.config",
    "texture_mesh": "voxterra.mesh.texture.texture",
    "TextureConfig": "voxterra.mesh.texture.config",
    "make_products": "voxterra.products.make",
    "ProductsConfig": "voxterra.products.config",
    "write_report": "voxterra.report.write",
    "ReportConfig": "voxterra.report.config",
    # what passes between them
    "Camera": "voxterra.core.camera",
    "PinholeView": "voxterra.core.camera",
    "Photo": "voxterra.core.photos",
    "PhotoSet": "voxterra.core.photos",
    "Image": "voxterra.core.reconstruction",
    "Reconstruction": "voxterra.core.reconstruction",
    "SparsePoints": "voxterra.core.reconstruction",
    "Registration": "voxterra.core.registration",
    "UnregisteredPhoto": "voxterra.core.registration",
    "Similarity": "voxterra.core.transforms",
    "GeoFrame": "voxterra.core.geo",
    "Georeference": "voxterra.core.georeference",
    "DepthMap": "voxterra.core.depth",
    "DepthMaps": "voxterra.core.depth",
    "TriMesh": "voxterra.core.mesh",
    "Texture": "voxterra.core.mesh",
    "PointCloud": "voxterra.core.mesh",
    # files
    "read_colmap": "voxterra.io.colmap.model",
    "write_colmap": "voxterra.io.colmap.model",
    "read_transforms": "voxterra.io.nerf",
    "write_transforms": "voxterra.io.nerf",
    "DepthStore": "voxterra.io.depth_store",
}

if TYPE_CHECKING:
    from voxterra import errors as errors
    from voxterra import plugins as plugins
    from voxterra.pipeline import events as events
    from voxterra.pipeline.recipe.config import RunConfig as RunConfig
    from voxterra.pipeline.recipe.presets import preset as preset
    from voxterra.pipeline.run import run as run


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'voxterra' has no attribute '{name}'")
    home = _PUBLIC[name]
    if name in ("events", "errors", "plugins"):  # modules, not names in one
        return importlib.import_module(f"{home}.{name}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
