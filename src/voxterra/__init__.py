"""Voxterra: photographs in, georeferenced 3D out.

`import voxterra as vt` costs next to nothing: each name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from voxterra.core.version import VERSION

__version__ = VERSION

# Public name -> where it lives. The one import path of a symbol is this package. Editors and type
# checkers read the same names below.
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
    "MapConfig": "voxterra.core.map_config",
    # sparse voxels: photos with cameras to a model, and the model to a mesh
    "load_scene": "voxterra.surface.voxels.scene.load",
    "train": "voxterra.surface.voxels.train",
    "VoxelConfig": "voxterra.surface.voxels.config",
    "make_mesh": "voxterra.surface.voxels.mesh.make",
    "MeshOptions": "voxterra.surface.voxels.mesh.make",
    "score_views": "voxterra.surface.voxels.evaluate",
    # against truth: a run folder or a file, or what was read from one
    "evaluate_poses": "voxterra.evaluate.against_truth",
    "PoseScore": "voxterra.evaluate.poses",
    "evaluate_depth": "voxterra.evaluate.against_truth",
    "DepthScore": "voxterra.evaluate.depth",
    "evaluate_surface": "voxterra.evaluate.against_truth",
    "SurfaceScore": "voxterra.evaluate.surface",
    "evaluate_raster": "voxterra.evaluate.against_truth",
    "RasterScore": "voxterra.evaluate.raster",
    "read_geometry": "voxterra.evaluate.geometry",
    "Geometry": "voxterra.evaluate.geometry",
    "read_dtu_truth": "voxterra.io.truth.dtu",
    "score_dtu": "voxterra.evaluate.dtu",
    "DtuScore": "voxterra.evaluate.dtu",
    "read_tanks_truth": "voxterra.io.truth.tanks_and_temples",
    "score_tanks": "voxterra.evaluate.tanks_and_temples",
    "TanksScore": "voxterra.evaluate.tanks_and_temples",
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
    "Scene": "voxterra.surface.voxels.scene.scene",
    "VoxelModel": "voxterra.core.voxels",
    # files
    "read_colmap": "voxterra.io.colmap.model",
    "write_colmap": "voxterra.io.colmap.model",
    "read_transforms": "voxterra.io.nerf",
    "write_transforms": "voxterra.io.nerf",
    "DepthStore": "voxterra.io.depth_store",
    "read_voxels": "voxterra.io.voxels",
    "write_voxels": "voxterra.io.voxels",
}

if TYPE_CHECKING:
    from voxterra import errors as errors
    from voxterra import plugins as plugins
    from voxterra.core.camera import Camera as Camera
    from voxterra.core.camera import PinholeView as PinholeView
    from voxterra.core.depth import DepthMap as DepthMap
    from voxterra.core.depth import DepthMaps as DepthMaps
    from voxterra.core.geo import GeoFrame as GeoFrame
    from voxterra.core.georeference import Georeference as Georeference
    from voxterra.core.map_config import MapConfig as MapConfig
    from voxterra.core.mesh import PointCloud as PointCloud
    from voxterra.core.mesh import Texture as Texture
    from voxterra.core.mesh import TriMesh as TriMesh
    from voxterra.core.photos import Photo as Photo
    from voxterra.core.photos import PhotoSet as PhotoSet
    from voxterra.core.reconstruction import Image as Image
    from voxterra.core.reconstruction import Reconstruction as Reconstruction
    from voxterra.core.reconstruction import SparsePoints as SparsePoints
    from voxterra.core.registration import Registration as Registration
    from voxterra.core.registration import UnregisteredPhoto as UnregisteredPhoto
    from voxterra.core.transforms import Similarity as Similarity
    from voxterra.core.voxels import VoxelModel as VoxelModel
    from voxterra.depth.config import DepthConfig as DepthConfig
    from voxterra.depth.estimate import estimate_depth as estimate_depth
    from voxterra.evaluate.against_truth import evaluate_depth as evaluate_depth
    from voxterra.evaluate.against_truth import evaluate_poses as evaluate_poses
    from voxterra.evaluate.against_truth import evaluate_raster as evaluate_raster
    from voxterra.evaluate.against_truth import evaluate_surface as evaluate_surface
    from voxterra.evaluate.depth import DepthScore as DepthScore
    from voxterra.evaluate.dtu import DtuScore as DtuScore
    from voxterra.evaluate.dtu import score_dtu as score_dtu
    from voxterra.evaluate.geometry import Geometry as Geometry
    from voxterra.evaluate.geometry import read_geometry as read_geometry
    from voxterra.evaluate.poses import PoseScore as PoseScore
    from voxterra.evaluate.raster import RasterScore as RasterScore
    from voxterra.evaluate.surface import SurfaceScore as SurfaceScore
    from voxterra.evaluate.tanks_and_temples import TanksScore as TanksScore
    from voxterra.evaluate.tanks_and_temples import score_tanks as score_tanks
    from voxterra.georef.config import GeorefConfig as GeorefConfig
    from voxterra.georef.georeference import georeference as georeference
    from voxterra.ingest.config import IngestConfig as IngestConfig
    from voxterra.ingest.ingest import ingest_photos as ingest_photos
    from voxterra.io.colmap.model import read_colmap as read_colmap
    from voxterra.io.colmap.model import write_colmap as write_colmap
    from voxterra.io.depth_store import DepthStore as DepthStore
    from voxterra.io.nerf import read_transforms as read_transforms
    from voxterra.io.nerf import write_transforms as write_transforms
    from voxterra.io.truth.dtu import read_dtu_truth as read_dtu_truth
    from voxterra.io.truth.tanks_and_temples import read_tanks_truth as read_tanks_truth
    from voxterra.io.voxels import read_voxels as read_voxels
    from voxterra.io.voxels import write_voxels as write_voxels
    from voxterra.mesh.clean import clean_mesh as clean_mesh
    from voxterra.mesh.config import CleanConfig as CleanConfig
    from voxterra.mesh.texture.config import TextureConfig as TextureConfig
    from voxterra.mesh.texture.texture import texture_mesh as texture_mesh
    from voxterra.pipeline import events as events
    from voxterra.pipeline.recipe.config import RunConfig as RunConfig
    from voxterra.pipeline.recipe.presets import preset as preset
    from voxterra.pipeline.run import run as run
    from voxterra.products.config import ProductsConfig as ProductsConfig
    from voxterra.products.make import make_products as make_products
    from voxterra.report.config import ReportConfig as ReportConfig
    from voxterra.report.write import write_report as write_report
    from voxterra.sfm.config import SfmConfig as SfmConfig
    from voxterra.sfm.reconstruct import reconstruct as reconstruct
    from voxterra.surface.fusion.cloud import fuse_cloud as fuse_cloud
    from voxterra.surface.fusion.config import FusionConfig as FusionConfig
    from voxterra.surface.fusion.fuse import fuse as fuse
    from voxterra.surface.voxels.config import VoxelConfig as VoxelConfig
    from voxterra.surface.voxels.evaluate import score_views as score_views
    from voxterra.surface.voxels.mesh.make import MeshOptions as MeshOptions
    from voxterra.surface.voxels.mesh.make import make_mesh as make_mesh
    from voxterra.surface.voxels.scene.load import load_scene as load_scene
    from voxterra.surface.voxels.scene.scene import Scene as Scene
    from voxterra.surface.voxels.train import train as train
else:  # a checker that saw this function would take any name for public

    def __getattr__(name: str) -> object:
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
