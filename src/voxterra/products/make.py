"""All products of a run: mesh, cloud, rasters, cameras, and the file that describes them."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.core.depth import DepthMaps
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.core.raster import Grid, SurfaceRaster
from voxterra.errors import ReconstructionError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.json_file import write_json
from voxterra.io.geojson import read_polygons, write_geojson
from voxterra.io.geotiff import write_dsm, write_ortho
from voxterra.io.gltf import write_glb
from voxterra.io.las import write_las
from voxterra.io.metadata import map_unit
from voxterra.io.obj import write_obj
from voxterra.io.ply import write_ply_cloud, write_ply_mesh
from voxterra.products.area import cut_to_area
from voxterra.products.camera_features import camera_features, footprint_features
from voxterra.products.config import ProductsConfig, check
from voxterra.products.dsm import height_raster, resample_heights, surface_raster
from voxterra.products.layout import choose_grids, look_across, nice, photo_gsd
from voxterra.products.metadata import accuracy_line, coverage_numbers, describe, sha256_of
from voxterra.products.ortho import orthophoto

log = logging.getLogger(__name__)

_LOOK_ACROSS = (
    "most photos look across, not down: surface model and orthophoto hold only what can be seen "
    "from above, and little of it"
)


@dataclass(frozen=True)
class Product:
    """A file made for the user.

    Attributes:
        name: of the file, such as "dsm.tif".
        path: of the file.
        kind: "mesh", "cloud", "raster", "vector", "list" or "metadata".
        description: one line for people.
    """

    name: str
    path: Path
    kind: str
    description: str


@dataclass(frozen=True)
class _Job:
    """What all writers of a run share; `accuracy` is the line that each product carries."""

    frame: GeoFrame
    config: ProductsConfig
    out_dir: Path
    accuracy: str


def make_products(
    mesh: TriMesh,
    cloud: PointCloud,
    maps: DepthMaps,
    georeference: Georeference,
    photos: PhotoSet,
    config: ProductsConfig,
    *,
    out_dir: Path,
    run_info: dict[str, Any],
    progress: Progress = no_progress,
) -> tuple[Product, ...]:
    """Write the products that `config` names into `out_dir`, `metadata.json` last.

    Files of an earlier run of the same names are replaced; each appears whole or not at all.

    Args:
        mesh: cleaned and textured, in world.
        cloud: in world; may be empty (then no cloud is written).
        maps: the undistorted photos, for the orthophoto.
        georeference: frame and cameras.
        photos: of the project.
        config: what to make.
        out_dir: folder, made when missing.
        run_info: "created" and "config", and what else `metadata.json` should record of the run.
        progress: of the whole.

    Raises:
        UsageError: an unknown product or an option out of its range.
        ReconstructionError: the mesh has no faces, or none in the area of interest.
        InputError, FormatError: the area of interest cannot be read.
        OutputError: a file cannot be written.
    """
    check(config)
    if not len(mesh.faces):
        raise ReconstructionError(
            "The surface is empty, so there is nothing to make products from.",
            next_step="Add photos that overlap by 60 % or more and show texture.",
        )
    frame = georeference.frame
    if config.aoi is not None:
        mesh, cloud = cut_to_area(mesh, cloud, frame, read_polygons(config.aoi))
    job = _Job(frame, config, Path(out_dir), accuracy_line(georeference))
    job.out_dir.mkdir(parents=True, exist_ok=True)
    products, surface = _rasters(mesh, maps, job, part(progress, 0, 0.7))
    products += _meshes(mesh, job, part(progress, 0.7, 0.85))
    products += _clouds(cloud, job, part(progress, 0.85, 0.97))
    products += _apart(georeference, job)
    if "cameras" in config.products:
        products.append(_cameras(mesh, maps, georeference, photos, job))
    progress(0.98, "metadata")
    coverage = coverage_numbers(mesh, cloud, surface, frame)
    if surface is not None and look_across(maps.views):
        log.warning("%s", _LOOK_ACROSS)
        coverage["note"] = _LOOK_ACROSS
    path = job.out_dir / "metadata.json"
    area = None if config.aoi is None else config.aoi.name  # paths of this machine are left out
    data = describe(
        georeference,
        photos,
        [_entry(product) for product in products],
        coverage,
        license=config.license,
        run_info={"config": {"products": asdict(config) | {"aoi": area}}} | run_info,
    )
    write_json(data, path)
    products.append(Product(path.name, path, "metadata", "What the products are and how good"))
    progress(1.0, "products written")
    return tuple(products)


def _rasters(
    mesh: TriMesh,
    maps: DepthMaps,
    job: _Job,
    progress: Progress,
) -> tuple[list[Product], SurfaceRaster | None]:
    frame, config, out_dir = job.frame, job.config, job.out_dir
    if not {"dsm", "ortho"} & set(config.products):
        return [], None
    progress(0.0, "surface model")
    on_map = frame.to_map(mesh.vertices.astype(np.float64))
    dsm_grid, ortho_grid = _grids(mesh, on_map, maps, frame, config)
    unit = frame.map_unit_m()
    surface = surface_raster(on_map, mesh.faces, dsm_grid, config.fill_gap_cells, map_unit_m=unit)
    products = []
    if "dsm" in config.products:
        path = out_dir / "dsm.tif"
        write_dsm(surface, path, frame, accuracy=job.accuracy)
        text = f"Surface model, {_cells(dsm_grid, frame)}"
        products.append(Product(path.name, path, "raster", text))
    if "ortho" in config.products:
        fine = height_raster(on_map, mesh.faces, ortho_grid)
        coarse = resample_heights(surface, config.dsm_gsd_factor)
        np.copyto(fine, coarse, where=np.isnan(fine))
        image = orthophoto(
            fine,
            ortho_grid,
            mesh,
            maps,
            frame,
            spread=config.blend_spread,
            level_exposure=config.level_exposure,
            progress=part(progress, 0.1, 0.95),
        )
        path = out_dir / "ortho.tif"
        compression, quality = config.ortho_compression, config.jpeg_quality
        write_ortho(
            image, path, frame, compression=compression, quality=quality, accuracy=job.accuracy
        )
        text = f"True orthophoto, {_cells(ortho_grid, frame)}"
        products.append(Product(path.name, path, "raster", text))
    return products, surface


def _cells(grid: Grid, frame: GeoFrame) -> str:
    return f"cells of {grid.cell_size:g} {map_unit(frame)}, {frame.describe()}"


def _grids(
    mesh: TriMesh,
    on_map: np.ndarray,
    maps: DepthMaps,
    frame: GeoFrame,
    config: ProductsConfig,
) -> tuple[Grid, Grid]:
    used = on_map[np.unique(mesh.faces)][:, :2]
    gsd = config.gsd_m if config.gsd_m is not None else photo_gsd(mesh, maps.views)
    if not gsd > 0:  # no photo sees the surface: a thousand cells across
        gsd = max(float(np.ptp(used, axis=0).max()) * frame.map_unit_m() / 1000, 1e-6)
    cell = gsd / frame.map_unit_m()
    cell = cell if config.gsd_m is not None else nice(cell)
    return choose_grids(used, cell, config.dsm_gsd_factor, config.max_raster_px)


def _meshes(mesh: TriMesh, job: _Job, progress: Progress) -> list[Product]:
    frame, config, out_dir, products = job.frame, job.config, job.out_dir, []
    quality, accuracy = config.jpeg_quality, job.accuracy
    axes = "x east, y north, z up" if not frame.is_local else "local axes"
    look = "textured" if mesh.texture is not None else "coloured"
    if "glb" in config.products:
        progress(0.0, "scene.glb")
        path = out_dir / "scene.glb"
        write_glb(mesh, path, frame, jpeg_quality=quality, accuracy=accuracy)
        text = f"Mesh, {look}, y up, {frame.unit}"
        products.append(Product(path.name, path, "mesh", text))
    if "obj" in config.products:
        progress(0.3, "scene.obj")
        files = write_obj(
            mesh, out_dir / "scene.obj", frame, jpeg_quality=quality, accuracy=accuracy
        )
        for path in files:
            what = "Mesh" if path.suffix == ".obj" else f"Belongs to scene.obj ({path.suffix})"
            products.append(Product(path.name, path, "mesh", f"{what}, {axes}, {frame.unit}"))
    if "mesh_ply" in config.products:
        progress(0.8, "scene.ply")
        path = out_dir / "scene.ply"
        write_ply_mesh(mesh, path, frame, accuracy=accuracy)
        text = f"Mesh, vertex colours, {axes}, {frame.unit}"
        products.append(Product(path.name, path, "mesh", text))
    return products


def _clouds(cloud: PointCloud, job: _Job, progress: Progress) -> list[Product]:
    frame, config, out_dir = job.frame, job.config, job.out_dir
    wanted = {"laz", "cloud_ply"} & set(config.products)
    if wanted and not len(cloud):
        log.warning("the point cloud is empty: none is written")
        return []
    products = []
    if "laz" in wanted:
        path = out_dir / "cloud.laz"
        write_las(cloud, path, frame, accuracy=job.accuracy, progress=part(progress, 0, 0.8))
        text = f"Point cloud, {frame.describe()}"
        products.append(Product(path.name, path, "cloud", text))
    if "cloud_ply" in wanted:
        progress(0.8, "cloud.ply")
        path = out_dir / "cloud.ply"
        write_ply_cloud(cloud, path, frame, accuracy=job.accuracy)
        text = f"Point cloud in world coordinates, {frame.unit}"
        products.append(Product(path.name, path, "cloud", text))
    return products


def _apart(georeference: Georeference, job: _Job) -> list[Product]:
    """Of each component that the other products cannot hold: its photos, and its sparse points."""
    products = []
    for index, component in enumerate(georeference.components):
        if index in georeference.mappable_indices():
            continue
        name, points = f"component_{index + 1}", component.points
        path = job.out_dir / f"{name}.txt"
        with atomic_path(path) as temporary:
            listed = "".join(f"{image.name}\n" for image in component.images)
            temporary.write_text(listed, encoding="utf-8")
        text = f"Photos of component {index + 1}, which lies apart: for --ingest.only"
        products.append(Product(path.name, path, "list", text))
        if {"laz", "cloud_ply"} & set(job.config.products) and len(points):
            path = job.out_dir / f"{name}.ply"
            cloud, frame = (
                PointCloud(points.positions_in_world, points.colors),
                georeference.frame_of(index),
            )
            write_ply_cloud(cloud, path, frame)
            text = f"Sparse points of component {index + 1}, which lies apart: {frame.describe()}"
            products.append(Product(path.name, path, "cloud", text))
    return products


def _cameras(
    mesh: TriMesh, maps: DepthMaps, georeference: Georeference, photos: PhotoSet, job: _Job
) -> Product:
    frame, out_dir = job.frame, job.out_dir
    features = camera_features(georeference, photos)
    if frame.is_local:
        path = out_dir / "cameras.json"
        cameras = [feature["properties"] for feature in features]
        head = {"frame": frame.to_dict(), "unit": frame.unit, "accuracy": job.accuracy}
        write_json(head | {"cameras": cameras}, path)
        return Product(path.name, path, "vector", f"Cameras, {frame.describe()}")
    path = out_dir / "cameras.geojson"
    used = np.unique(mesh.faces)
    points = mesh.vertices[used[:: max(1, len(used) // 5000)]].astype(np.float64)
    features += footprint_features(tuple(maps.views), points, georeference)
    write_geojson(features, path, frame, name="cameras", accuracy=job.accuracy)
    return Product(path.name, path, "vector", "Cameras and footprints, WGS 84 lon/lat")


def _entry(product: Product) -> dict[str, Any]:
    return {
        "name": product.name,
        "kind": product.kind,
        "description": product.description,
        "bytes": product.path.stat().st_size,
        "sha256": sha256_of(product.path),
    }
