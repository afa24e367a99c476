"""Read the scene to view from the folder of a run or of a trained model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.sites import FOLDER_OF_COMPONENTS
from voxterra.core.voxels import VoxelModel
from voxterra.errors import InputError
from voxterra.io.voxels import read_voxels

MAX_CLOUD_POINTS = 1_000_000  # what a browser on a laptop still turns smoothly


@dataclass(frozen=True)
class Scene:
    """Parts of a run to view, as far as they are finished.

    Attributes:
        title: for the browser's tab.
        glb: bytes of the mesh as GLB, or None.
        cloud: dense if there is one, else the sparse points; or None.
        components: cameras, in the world.
        frame: of the world; None when the run has no georeference yet.
        model: sparse voxels, or None.
        views: that a model without a run was trained on, in the world.
    """

    title: str
    glb: bytes | None
    cloud: PointCloud | None
    components: tuple[Reconstruction, ...]
    frame: GeoFrame | None
    model: VoxelModel | None = None
    views: tuple[PinholeView, ...] = ()


def load_scene(run: Path) -> Scene:
    """Read mesh, cloud, voxels and cameras of a run folder, or of the folder of a trained model.

    Raises:
        InputError: no run, or one without cameras yet; an unfinished training.
        FormatError: a file is damaged.
    """
    from voxterra.surface.voxels.model.folder import MODEL, is_model_folder

    if is_model_folder(run):
        return _trained(run)
    from voxterra.pipeline.recipe.stages import read_components, read_georeferenced

    stages, frame = run / "stages", None
    if (stages / "georef").is_dir():
        placed = read_georeferenced(stages / "georef")
        components, frame = placed.mappable_components, placed.frame  # others: in other frames
    elif (stages / "sfm").is_dir():
        components = read_components(stages / "sfm")
    else:
        raise InputError(
            "There is nothing to look at yet.",
            where=str(run),
            next_step="Give the folder of a run that got as far as its cameras (stage sfm).",
        )
    model = stages / "surface" / MODEL
    return Scene(
        _title(run.resolve()),
        _glb(run, frame),
        _cloud(run, components),
        components,
        frame,
        read_voxels(model) if model.is_file() else None,
    )


def _title(run: Path) -> str:
    if run.parent.name == FOLDER_OF_COMPONENTS:
        return f"{run.parent.parent.name}: component {run.name}"
    return run.name


def _trained(folder: Path) -> Scene:
    from voxterra.io.depth_store import DepthStore
    from voxterra.surface.voxels.model.folder import read_model

    views = DepthStore(folder).views if (folder / "views.json").is_file() else ()
    return Scene(folder.resolve().name, None, None, (), None, read_model(folder), views)


def _glb(run: Path, frame: GeoFrame | None) -> bytes | None:
    product = run / "products" / "scene.glb"
    if product.is_file():
        return product.read_bytes()
    mesh_file = run / "stages" / "mesh" / "mesh.npz"
    if not mesh_file.is_file():
        return None
    from voxterra.io.arrays import read_mesh
    from voxterra.io.gltf import write_glb

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.glb"
        write_glb(read_mesh(mesh_file), path, frame or GeoFrame.local())
        return path.read_bytes()


def _cloud(run: Path, components: tuple[Reconstruction, ...]) -> PointCloud | None:
    dense = run / "stages" / "surface" / "cloud.npz"
    if dense.is_file():
        from voxterra.io.arrays import read_cloud

        cloud = read_cloud(dense)
    elif components:
        cloud = PointCloud(
            np.vstack([c.points.positions_in_world for c in components]),
            np.vstack([c.points.colors for c in components]),
        )
    else:
        return None
    if not len(cloud):
        return None
    step = -(-len(cloud) // MAX_CLOUD_POINTS)
    return PointCloud(cloud.positions_in_world[::step], cloud.colors[::step])
