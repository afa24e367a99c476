"""The steps that `growth.py` measures: what each prepares, and what of it is timed."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import voxterra as vt
from growth_survey import FOCAL, Survey

MESH_M = 3.0  # 60 faces a photo
LOCAL = vt.GeoFrame.local(scale_known=True)

# Module of version 0.1 -> of later ones. What is in neither is "not there".
MOVED = {
    "depth.mvs": "depth.estimate",
    "depth.sources": "depth.stereo.neighbours",
    "io.colmap": "io.colmap.model",
    "mesh.texture_views": "mesh.texture.views",
    "pipeline.fingerprint": "pipeline.folder.fingerprint",
    "sfm.database": "sfm.features.database",
    "sfm.refine": "adjust.lenses",
    "sfm.shape": "sfm.mapping.plausibility",
    "sfm.sharing": "sfm.ambiguity.shared_points",
}

Call = Callable[[], Any]
STEPS: dict[str, Callable[[Survey], Call]] = {}


def take(module: str, name: str) -> Any:
    """Something of Voxterra, wherever the version at hand has it."""
    for place in (module, MOVED.get(module, module)):
        try:
            return getattr(importlib.import_module(f"voxterra.{place}"), name)
        except (ImportError, AttributeError):
            continue
    raise LookupError(f"not there: {name}")


def step(prepare: Callable[[Survey], Call]) -> Callable[[Survey], Call]:
    """A step: prepares, and returns what is timed; that may return a figure of what came out."""
    STEPS[prepare.__name__] = prepare
    return prepare


def quiet(*_: Any) -> None:
    """Progress that nobody sees."""


def model_of(s: Survey) -> Any:
    """The survey's reconstruction as pycolmap's."""
    import pycolmap

    if not (s.folder / "model").is_dir():
        take("io.colmap", "write_colmap")(s.component, s.folder / "model")
    return pycolmap.Reconstruction(s.folder / "model")


def fresh_component(s: Survey) -> Any:
    """That no earlier call has left an index in."""
    return replace(s.component, points=replace(s.component.points))


@step
def hashing(s: Survey) -> Call:
    """Every file of the source, read once."""
    hashes_of = take("pipeline.recipe.listing", "hashes_of")
    workspace, source = take("pipeline.folder.workspace", "Workspace"), [s.files]
    new = workspace(Path(tempfile.mkdtemp(dir=s.folder)))

    def call() -> None:
        for _ in hashes_of(new).read(source, ()):
            pass

    return call


@step
def before_first_stage(s: Survey) -> Call:
    """`run` until its first stage starts: hashing, the estimate."""
    config, source, out = vt.preset("preview"), s.files, tempfile.mkdtemp(dir=s.folder)

    def call() -> str:
        with closing(vt.run(source, out, config)) as events:
            for count, event in enumerate(events, 1):
                if type(event).__name__ == "StageStarted":
                    return f"{count} events"
        return "no stage"

    return call


@step
def ingest(s: Survey) -> Call:
    source, work = s.files, Path(tempfile.mkdtemp(dir=s.folder))
    return lambda: f"{len(vt.ingest_photos(source, work_dir=work).photos)} photos"


@step
def count_photos_with_features(s: Survey) -> Call:
    """One look; while features are found, five a second are taken."""
    import pycolmap

    count = take("sfm.features.database", "FeatureCount")
    opened = pycolmap.Database.open(s.database(s.folder / "made.db"))
    return lambda: f"{count(opened, s.n).now()} photos"


@step
def judge(s: Survey) -> Call:
    """sfm/shape.py: do matches, lens and GPS speak for a model?"""
    function, models = take("sfm.shape", "judge"), [model_of(s)]
    told = {"known_focal_px": {1: FOCAL}, "positions_m": s.gps, "gps_sigma_m": 1.0}
    database = s.database(s.folder / "made.db")
    return lambda: f"{len(function(models, database, **told).doubts)} doubts"


@step
def look_alikes(s: Survey) -> Call:
    """sfm/sharing.py: who sees what, and which photos look alike."""
    sharing, alike = take("sfm.sharing", "sharing_of"), take("sfm.sharing", "alike_views")
    model = model_of(s)
    return lambda: f"{len(alike(sharing(model, 1)).pairs) / s.n:.2f} pairs a photo"


@step
def weak_focal_length(s: Survey) -> Call:
    """sfm/refine.py: three steps of an adjustment, and its covariance."""
    function, model = take("sfm.refine", "has_weak_focal_length"), model_of(s)
    config = getattr(vt.SfmConfig(), "adjust", vt.SfmConfig())  # later versions have a part for it
    return lambda: f"weak: {function(model, config() if callable(config) else config)}"


@step
def georef(s: Survey) -> Call:
    parts, photos = [s.component], s.photos
    return lambda: f"placed: {vt.georeference(parts, photos).placements[0].placed}"


@step
def observed_by(s: Survey) -> Call:
    """core/reconstruction.py: the points of each photo, one photo after the other."""
    points = fresh_component(s).points
    return lambda: f"{sum(len(points.observed_by(i)) for i in range(s.n)) / s.n:.0f} a photo"


@step
def shared_points(s: Survey) -> Call:
    """depth/sources.py: points that each two photos share."""
    function, component = take("depth.sources", "_shared_points"), fresh_component(s)
    return lambda: quiet(function(component))


@step
def plan_depth(s: Survey) -> Call:
    """depth/tasks.py: neighbours and sparse depths; the two above are part of it."""
    function, component = take("depth.tasks", "plan"), fresh_component(s)
    config = vt.DepthConfig()

    def call() -> str:
        counts = [len(task.neighbours) for task in function((component,), config)]
        return f"{np.mean(counts):.1f} neighbours"

    return call


@step
def fusion(s: Survey) -> Call:
    maps, config = s.maps, vt.FusionConfig(voxel_factor=2.0)
    return lambda: f"{len(vt.fuse(maps, config).faces) / s.n:.0f} faces a photo"


@step
def cloud(s: Survey) -> Call:
    maps, config = s.maps, vt.FusionConfig(voxel_factor=2.0)
    return lambda: f"{len(vt.fuse_cloud(maps, config)) / s.n:.0f} points a photo"


@step
def texture_views(s: Survey) -> Call:
    """mesh/texture_views.py: what each photo sees of each face."""
    function, mesh, maps = take("mesh.texture_views", "find_candidates"), s.mesh(MESH_M), s.maps

    def call() -> str:
        found = function(mesh, maps, vt.TextureConfig(), quiet).view
        return f"{(found >= 0).sum(1).mean():.1f} views a face"

    return call


@step
def exposure(s: Survey) -> Call:
    """imaging/exposure.py: gains; and how many photos come to within 3 % of their own."""
    function, maps = take("imaging.exposure", "find_exposure"), s.maps

    def call() -> str:
        found = function(maps, quiet).log_gain[..., 0].mean(1)
        off = found + np.log(s.brightness)
        return f"{(np.abs(off - np.median(off)) < 0.03).mean():.1%} levelled"

    return call


@step
def orthophoto(s: Survey) -> Call:
    """The whole, levelling too."""
    function, mesh, maps = take("products.ortho", "orthophoto"), s.mesh(MESH_M), s.maps
    grid, heights = s.raster()

    def call() -> str:
        rgba = function(heights, grid, mesh, maps, LOCAL).rgba
        return f"{(rgba[..., 3] > 0).mean():.1%} coloured"

    return call
