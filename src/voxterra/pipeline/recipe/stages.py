"""THE table: the stages of a run, their inputs, and how they store core types in their folders.

Reads like a recipe: photos -> ingest -> sfm -> georef -> depth -> surface -> mesh -> products
-> report.
A stage function knows nothing of run folders; the functions here are the only glue.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxterra.core.depth import DepthMaps
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import part
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import Registration
from voxterra.pipeline.engine.collected_warnings import collecting_warnings
from voxterra.pipeline.engine.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.folder.fingerprint import canonical
from voxterra.pipeline.folder.record import read_record
from voxterra.pipeline.recipe import surface_files
from voxterra.pipeline.recipe.listing import hashes_of
from voxterra.pipeline.recipe.plugins import backend_of, options_of
from voxterra.pipeline.recipe.sites import find_sites, site_facts
from voxterra.pipeline.recipe.summaries import (
    about_gaps,
    about_single_files,
    about_unregistered,
    describe_area,
    describe_depth,
    describe_georeference,
    describe_mesh,
    describe_photos,
    describe_reconstruction,
    left_out,
    run_info,
    stage_facts,
)
from voxterra.surface.backend import Box

if TYPE_CHECKING:
    from voxterra.products.parts import PartCache

# The heavy imports are inside the functions, so that a second run, which does nothing, is quick.


def _ingest(ctx: StageContext) -> StageOutput:
    from voxterra.ingest.ingest import ingest_photos
    from voxterra.pipeline.folder.photo_table import write_photos

    source = ctx.source[0] if len(ctx.source) == 1 else ctx.source
    photos = ingest_photos(
        source,
        ctx.config.ingest,
        work_dir=ctx.out,
        sha256=hashes_of(ctx.workspace).known(ctx.source),
        progress=ctx.progress,
    )
    write_photos(photos, ctx.out, ctx.source, ctx.config.ingest.masks)
    return StageOutput(describe_photos(photos), (*photos.warnings, *about_single_files(photos)))


def _sfm(ctx: StageContext) -> StageOutput:
    from voxterra.ingest.ingest import require_enough
    from voxterra.io.colmap.model import write_colmap
    from voxterra.io.registration import write_registration
    from voxterra.sfm.reconstruct import reconstruct

    photos = read_photos_of(ctx)
    require_enough(photos)
    for earlier in ctx.out.glob("component_*"):  # of a run that was stopped; may have been more
        shutil.rmtree(earlier)
    found = reconstruct(photos, ctx.config.sfm, work_dir=ctx.work, progress=ctx.progress)
    for index, component in enumerate(found.components):
        write_colmap(component, ctx.out / f"component_{index}")
    write_registration(found, ctx.out / "registration.json")
    ctx.drop_work()
    return StageOutput(
        describe_reconstruction(found.components, photos),
        (*found.warnings, *about_unregistered(found.unregistered, len(photos))),
    )


def _georef(ctx: StageContext) -> StageOutput:
    from voxterra.georef.georeference import georeference
    from voxterra.io.colmap.model import write_colmap
    from voxterra.io.georeference import write_georeference

    photos, found = read_photos_of(ctx), read_registration_of(ctx)
    numbers = ctx.site.numbers if ctx.site else ()
    placed = georeference(
        found.components, photos, ctx.config.georef, numbers=numbers, progress=ctx.progress
    )
    placed = replace(placed, unregistered=found.unregistered)
    for index, component in enumerate(placed.components):
        write_colmap(component, ctx.out / f"component_{index}")
    write_georeference(placed, ctx.out / "georeference.json")
    placed.on_map(ctx.config.map)  # only so that a CRS that cannot be there fails before hours
    warnings = (*placed.all_warnings, *about_gaps(placed))
    return StageOutput(describe_georeference(placed), warnings)


def _depth(ctx: StageContext) -> StageOutput:
    from voxterra.depth.area import seeing_area
    from voxterra.depth.estimate import estimate_depth
    from voxterra.imaging.exposure import find_exposure
    from voxterra.io.exposure import write_exposure
    from voxterra.io.geojson import read_polygons

    photos, placed = read_photos_of(ctx), read_georeferenced(ctx.input("georef"))
    components, seen = placed.mappable_components, ""
    if ctx.config.depth.aoi is not None and not placed.frame.is_local:
        components = seeing_area(components, placed.frame, read_polygons(ctx.config.depth.aoi))
        seen = describe_area(components, placed)
    maps = estimate_depth(
        components,
        photos,
        ctx.config.depth,
        plugins=_source_options(ctx.config),
        metric=placed.frame.scale_known,
        out_dir=ctx.out,
        progress=part(ctx.progress, 0.0, 0.97),
    )
    # Cloud, texture and orthophoto are levelled alike.
    write_exposure(find_exposure(maps, part(ctx.progress, 0.97, 1.0)), ctx.out)
    return StageOutput(describe_depth(maps) + seen, left_out(placed))


def _source_options(config: Any) -> Mapping[str, Any]:
    """Options of the depth sources that a run names."""
    depth = config.depth
    named = [name for name in (depth.source, depth.start, depth.fill) if name is not None]
    return {name: options_of(config, name) for name in named}


def _require_depth(config: Any) -> None:
    from voxterra.depth.choice import chosen_sources

    chosen_sources(config.depth, _source_options(config)).require()


def _depth_options(config: Any) -> Mapping[str, Any]:
    """Options the depth maps depend on; as in version 0.1 if stereo alone makes them."""
    from voxterra.depth.choice import chosen_sources
    from voxterra.depth.config import counting_options

    others = chosen_sources(config.depth, _source_options(config)).counting()
    options = {"depth": counting_options(config.depth)}
    return {**options, "depth_sources": others} if others else options


def _surface(ctx: StageContext) -> StageOutput:
    from voxterra.imaging.exposure import levelled
    from voxterra.io.arrays import write_cloud, write_mesh
    from voxterra.surface.backend import SurfaceInputs, checked
    from voxterra.surface.fusion.cloud import fuse_cloud

    name, backend, config = ctx.config.backend, backend_of(ctx.config), ctx.config.surface
    maps, bounds = read_depth(ctx.input("depth")), _surface_bounds(ctx)
    inputs = SurfaceInputs(
        maps,
        lambda: _each_component(ctx.input("georef")),
        bounds,
        config.min_views,
        ctx.work,
        ctx.out,
        source=str(ctx.input("depth")),
    )
    options = options_of(ctx.config, name)
    result = checked(name, backend.run(inputs, options, part(ctx.progress, 0.0, 0.85)))
    cloud = result.cloud
    if cloud is None:
        of_cloud = replace(config, bounds_m=bounds)
        cloud = fuse_cloud(levelled(maps), of_cloud, progress=part(ctx.progress, 0.85, 1.0))
    if result.mesh is not None:
        write_mesh(result.mesh, ctx.out / surface_files.MESH_FILE)
    write_cloud(cloud, ctx.out / surface_files.CLOUD_FILE)
    surface_files.write_facts(name, result, ctx.out)
    ctx.drop_work()
    made = "no mesh" if result.mesh is None else describe_mesh(result.mesh)
    by = result.made_by or f"backend {name}"
    return StageOutput(f"{by}; {made}, cloud of {len(cloud):,} points", result.warnings)


def _surface_bounds(ctx: StageContext) -> Box | None:
    """The box to reconstruct: the requested one, else that around the area of interest."""
    config = ctx.config
    bounds: Box | None = config.surface.bounds_m
    if config.depth.aoi is None or bounds is not None:
        return bounds
    from voxterra.depth.area import box_of_area
    from voxterra.io.geojson import read_polygons

    placed = read_georeferenced(ctx.input("georef"))
    if placed.frame.is_local:
        return None
    return box_of_area(placed.mappable_components, placed.frame, read_polygons(config.depth.aoi))


def _surface_options(config: Any) -> dict[str, Any]:
    """Options of a run that the surface depends on, by section, for its fingerprint.

    A backend does not depend on the options of another; all depend on those of the cloud.
    """
    from voxterra.surface.fusion.config import CLOUD_OPTIONS

    backend = backend_of(config)
    return {
        "backend": config.backend,
        "version": backend.version,
        "options": options_of(config, config.backend),
        "cloud": {name: getattr(config.surface, name) for name in CLOUD_OPTIONS},
    }


def _require_backend(config: Any) -> None:
    backend_of(config).requires(options_of(config, config.backend))


def _mesh(ctx: StageContext) -> StageOutput:
    from voxterra.io.arrays import write_mesh
    from voxterra.mesh.clean import clean_mesh
    from voxterra.mesh.texture.texture import texture_mesh

    raw = surface_files.read_surface_mesh(ctx.input("surface"))
    if raw is None:
        return StageOutput(f"no mesh: the backend {ctx.config.backend} makes none")
    clean = clean_mesh(raw, ctx.config.mesh, progress=part(ctx.progress, 0.0, 0.3))
    maps = read_depth(ctx.input("depth"))
    mesh = texture_mesh(clean, maps, ctx.config.texture, progress=part(ctx.progress, 0.3, 1.0))
    write_mesh(mesh, ctx.out / "mesh.npz")
    return StageOutput(describe_mesh(mesh))


def _products(ctx: StageContext) -> StageOutput:
    from voxterra.io.arrays import read_cloud
    from voxterra.products.make import make_products
    from voxterra.products.selection import select

    config, folder = ctx.config, ctx.out / "products"
    before = read_georeferenced(ctx.input("georef"))
    placed = before.on_map(config.map)
    exporters = select(config.products.only, config.products.skip, {}).exporters
    products = make_products(
        _read_mesh_of(ctx),
        read_cloud(ctx.input("surface") / surface_files.CLOUD_FILE),
        read_depth(ctx.input("depth")),
        placed,
        read_photos_of(ctx),
        config.products,
        out_dir=folder,
        run_info=run_info(config, ctx.workspace, _before("report")),
        artifacts=surface_files.read_artifacts(ctx.input("surface")),
        plugin_options={name: options_of(config, name) for name in exporters},
        made_by=config.backend,
        cache=_part_cache(ctx),
        progress=ctx.progress,
    )
    listed = tuple(
        (f"products/{p.path.relative_to(folder).as_posix()}", p.description) for p in products
    )
    frame = placed.frame
    summary = f"{len(products)} products" + ("" if frame.is_local else f", {frame.describe()}")
    return StageOutput(summary, placed.warnings[len(before.warnings) :], products=listed)


def _part_cache(ctx: StageContext) -> PartCache:
    """Products of this run's exporters, as a stopped run and the run before left them."""
    from voxterra.products.parts import RECORD_FILE, PartCache

    def result(*stages: str) -> str:
        records = [read_record(ctx.input(stage)) for stage in stages]
        names = [record.result for record in records if record is not None]
        return " ".join([*names, *map(str, ctx.site.numbers if ctx.site else ())])

    return PartCache(
        record=ctx.out / RECORD_FILE,
        earlier=(ctx.workspace.stage_dir(ctx.stage) / RECORD_FILE, ctx.workspace.products_dir),
        inputs={
            "frame": f"{result('georef')} {canonical(ctx.config.map)}",
            "mesh": result("mesh"),
            "cloud": result("surface"),
            "photos": result("depth"),
            "depth": result("depth"),
            "cameras": result("ingest", "georef"),
            "artifacts": result("surface"),
        },
        plain=partial(canonical, of_path=hashes_of(ctx.workspace).of_option),
        collecting=partial(collecting_warnings, "products"),
    )


def _products_options(config: Any) -> dict[str, Any]:
    """Options of a run that the products depend on, by section, for their fingerprint.

    Which exporters work counts, not how they were named; and of each its version and options.
    """
    from voxterra.products.selection import select

    exporters = select(config.products.only, config.products.skip, {}).exporters
    return {
        "map": config.map,
        "products": replace(config.products, only=(), skip=()),
        "exporters": {
            name: {"version": exporter.version, "options": options_of(config, name)}
            for name, exporter in exporters.items()
        },
    }


def _require_exporters(config: Any) -> None:
    from voxterra.products.selection import select

    for name, exporter in select(config.products.only, config.products.skip, {}).exporters.items():
        exporter.requires(options_of(config, name))


def _read_mesh_of(ctx: StageContext) -> TriMesh | None:
    """Result of the mesh stage; None where the surface has no mesh."""
    from voxterra.io.arrays import read_mesh

    path = ctx.input("mesh") / "mesh.npz"
    return read_mesh(path) if path.is_file() else None


def _report(ctx: StageContext) -> StageOutput:
    from voxterra.io.metadata import read_metadata
    from voxterra.report.facts import RunFacts
    from voxterra.report.write import write_report

    photos = read_photos_of(ctx)
    placed = read_georeferenced(ctx.input("georef")).on_map(ctx.config.map)
    made = ctx.workspace.products_dir
    facts = RunFacts(
        read_metadata(made / "metadata.json"),
        stage_facts(ctx.workspace, _before("report")),
        made,
        () if ctx.site else site_facts(ctx.workspace, ctx.config),
    )
    path = ctx.out / "products" / "report.html"
    write_report(
        _read_mesh_of(ctx),
        read_depth(ctx.input("depth")),
        placed,
        photos,
        facts,
        ctx.config.report,
        path=path,
        progress=ctx.progress,
    )
    text = "Report: maps, residuals, statistics, pictures"
    size = path.stat().st_size / 1e6
    return StageOutput(f"one file of {size:.1f} MB", products=(("products/report.html", text),))


STAGES: tuple[Stage, ...] = (
    #      name        reads                                    options                run
    Stage("ingest", ("source",), ("ingest",), _ingest, code_version=3),
    Stage("sfm", ("ingest",), ("sfm",), _sfm, code_version=7, resumable=True),
    Stage(
        "georef",
        ("ingest", "sfm"),
        ("georef",),
        _georef,
        code_version=5,
        reports_accuracy=True,
        splits=find_sites,
    ),
    Stage(
        "depth",
        ("ingest", "georef"),
        ("depth",),
        _depth,
        code_version=2,
        resumable=True,
        counting=_depth_options,
        requires=_require_depth,
    ),
    Stage(
        "surface",
        ("georef", "depth"),
        ("backend", "surface", "voxels", "plugins"),
        _surface,  # results of each backend have a version of their own: SurfaceBackend.version
        resumable=True,
        counting=_surface_options,
        requires=_require_backend,
    ),
    Stage("mesh", ("surface", "depth"), ("mesh", "texture"), _mesh, code_version=3),
    Stage(
        "products",
        ("ingest", "georef", "depth", "surface", "mesh"),
        ("map", "products", "plugins"),
        _products,  # what each exporter writes has a version of its own: Exporter.version
        code_version=4,
        reports_accuracy=True,
        resumable=True,
        counting=_products_options,
        requires=_require_exporters,
    ),
    Stage(
        "report",
        ("ingest", "georef", "depth", "surface", "mesh", "products"),
        ("map", "report"),
        _report,
        gathers=True,
    ),
)

STAGE_NAMES = tuple(stage.name for stage in STAGES)


def _before(name: str) -> tuple[str, ...]:
    return STAGE_NAMES[: STAGE_NAMES.index(name)]


def read_photos_of(ctx: StageContext) -> PhotoSet:
    """Photos of the ingest stage, at their current paths; for a site, only its own."""
    from voxterra.pipeline.folder.photo_table import read_photos

    photos = read_photos(ctx.input("ingest"), ctx.source, ctx.config.ingest.masks)
    if ctx.site is None:
        return photos
    if "georef" in ctx.inputs:
        components = read_components(ctx.input("georef"))
    else:
        components = read_components(ctx.input("sfm"), ctx.site.components)
    theirs = {image.name for component in components for image in component.images}
    return PhotoSet(photos.root, tuple(p for p in photos.photos if p.id in theirs))


def _each_component(folder: Path) -> Iterator[Reconstruction]:
    """Components of the georef stage, one in memory at a time."""
    from voxterra.io.colmap.model import read_colmap

    for path in sorted(folder.glob("component_*")):
        yield read_colmap(path)


def read_components(
    folder: Path, indices: Sequence[int] | None = None
) -> tuple[Reconstruction, ...]:
    """Components of the sfm or georef stage, largest first; all, or those of `indices`."""
    from voxterra.io.colmap.model import read_colmap

    if indices is not None:
        return tuple(read_colmap(folder / f"component_{index}") for index in indices)
    found = sorted(folder.glob("component_*"), key=lambda p: int(p.name.split("_")[1]))
    return tuple(read_colmap(path) for path in found)


def read_registration_of(ctx: StageContext) -> Registration:
    """Result of the sfm stage; of components apart, only these."""
    from voxterra.io.registration import read_registration

    folder = ctx.input("sfm")
    if ctx.site is not None:
        return Registration(read_components(folder, ctx.site.components))
    return read_registration(folder / "registration.json", read_components(folder))


def read_georeferenced(folder: Path) -> Georeference:
    """Result of the georef stage."""
    from voxterra.io.georeference import read_georeference

    return read_georeference(folder / "georeference.json", read_components(folder))


def read_depth(folder: Path) -> DepthMaps:
    """Result of the depth stage."""
    from voxterra.io.depth_store import DepthStore

    return DepthStore(folder)
