"""Reports of the known scene: on the map, without GPS, in two components, with hostile names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from known_scene import AUSTRALIA, GEO, inputs, make

from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Lag, Placement
from voxterra.core.photos import PhotoSet, RejectedFile
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.sites import Site
from voxterra.core.transforms import Similarity
from voxterra.io.arrays import write_mesh
from voxterra.io.depth_store import write_views
from voxterra.products.config import Compression, ProductsConfig
from voxterra.report.config import ReportConfig
from voxterra.report.facts import RunFacts, SiteFacts, StageFacts
from voxterra.report.write import write_report
from voxterra.testing import look_at

HOSTILE = (
    '"><script>window.taken = 1</script>.jpg',
    "<img src=http://nowhere.example/x.png onerror='window.taken = 2'>.jpg",
    "</style></svg><b>bold & proud.jpg",
    "名前 'ü'.jpg",
    "not UTF-8 \udcff \x07.jpg",
)


def with_names(names: dict[str, str], georeference: Georeference, photos: PhotoSet) -> tuple:
    """The same, with some photos renamed."""

    def renamed(items, field):
        return tuple(
            replace(i, **{field: names.get(getattr(i, field), getattr(i, field))}) for i in items
        )

    components = tuple(
        replace(c, images=renamed(c.images, "name")) for c in georeference.components
    )
    placements = tuple(
        replace(p, residuals=renamed(p.residuals, "name")) for p in georeference.placements
    )
    return (
        replace(georeference, components=components, placements=placements),
        replace(photos, photos=renamed(photos.photos, "id")),
    )


def with_points(component: Reconstruction, error_px: float) -> Reconstruction:
    """Sparse points on the ground that every image sees, `error_px` beside where they are."""
    from voxterra.io.colmap.model import to_pycolmap_camera

    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(-5, 5, (40, 2)), np.zeros(40)])
    seen = []
    for image in component.images:
        in_cam = points @ image.cam_from_world[:, :3].T + image.cam_from_world[:, 3]
        camera = to_pycolmap_camera(component.camera_of(image))
        beside = np.array([0.6, 0.8]) * error_px
        seen.append(np.asarray(camera.img_from_cam(in_cam)) + beside)
    count = len(component.images)
    tracks = SparsePoints(
        points,
        np.zeros((40, 3), np.uint8),
        np.full(40, error_px),
        np.arange(41) * count,
        np.tile(np.arange(count, dtype=np.int32), 40),
        np.stack(seen, axis=1).reshape(-1, 2),
    )
    return replace(component, points=tracks)


def second_component(east: float) -> Reconstruction:
    """Two more photos, far to the east."""
    camera = Camera("SIMPLE_RADIAL", 320, 240, (280.0, 160.0, 120.0, 0.05))
    views = [look_at(f"far_{i}.jpg", (east, 5.0 * i, 40), (east, 5.0 * i, 0)) for i in (0, 1)]
    images = tuple(Image(v.name, 7, v.cam_from_world) for v in views)
    empty = np.zeros(0, np.int32)
    none = SparsePoints(
        np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), np.zeros(1, np.int64), empty,
        np.zeros((0, 2)),
    )  # fmt: skip
    return Reconstruction({7: camera}, images, none)


def _elsewhere(folder: Path) -> tuple[SiteFacts, ...]:
    """The scene once more, made in Australia as component 2; and nothing of component 3."""
    own, work = folder / "component_2", folder.with_name(f"{folder.name}_work")
    make(AUSTRALIA, own, ProductsConfig(only=("dsm", "ortho")))
    mesh, _, maps, _, _ = inputs(AUSTRALIA)
    (work / "depth").mkdir(parents=True)
    write_mesh(mesh, work / "mesh.npz")
    write_views(maps.views, work / "depth")
    return (
        SiteFacts(Site((1,)), own, work / "mesh.npz", work / "depth", None),
        SiteFacts(Site((2,)), folder / "component_3", work / "no", work / "no",
                   "No two photos agree."),
    )  # fmt: skip


def make_report(
    folder: Path,
    frame: GeoFrame = GEO,
    *,
    rasters: bool = True,
    names: tuple[str, ...] = (),
    far_m: float | None = None,
    placed: bool = True,
    apart: bool = False,
    lag: Lag | None = None,
    with_mesh: bool = True,
    compression: Compression = "deflate",
) -> Path:
    """Write products and `report.html` of the known scene into `folder`.

    `names` rename its photos, `far_m` adds a second component so far to the east, `apart` one in
    Australia, that has the products of the known scene, and one that nothing could be made of.
    `lag` is that of its recorded positions.
    `compression` is that of the orthophoto.
    Without a mesh, as of a backend that makes none, it has no pictures of one.
    """
    products = ("dsm", "ortho", "cameras") if rasters else ("cameras",)
    made = make(frame, folder, ProductsConfig(only=products, ortho_compression=compression))
    mesh, _, maps, georeference, photos = inputs(frame)
    components = (with_points(georeference.components[0], 0.5),)
    placements = (replace(georeference.placements[0], lag=lag),)
    if far_m is not None:
        components += (second_component(far_m),)
        more = [replace(photos.photos[0], id=i.name) for i in components[1].images]
        photos = replace(photos, photos=(*photos.photos, *more))
        placements += (replace(placements[0], placed=placed, residuals=()),)
    elsewhere: tuple[SiteFacts, ...] = ()
    if apart:
        components += (second_component(0.0), second_component(50.0))
        away, lost = (
            replace(placements[0], residuals=()),
            Placement(Similarity.identity(), False, "none"),
        )
        placements += (replace(away, apart=AUSTRALIA), lost)
        elsewhere = _elsewhere(folder)
    georeference = replace(georeference, components=components, placements=placements)
    renames = dict(zip([p.id for p in photos.photos], names))
    georeference, photos = with_names(renames, georeference, photos)
    maps = replace(
        maps, views=tuple(replace(v, name=renames.get(v.name, v.name)) for v in maps.views)
    )
    if names:
        photos = replace(photos, rejected=(RejectedFile(names[0], names[1]),))
    metadata = json.loads((made.folder / "metadata.json").read_text())
    (entry,) = (p for p in metadata["photos"] if p["id"] == "left_out.jpg")
    entry["unregistered"] = {"reason": "no texture on it", "advice": "Take it nearer."}
    facts = RunFacts(
        metadata,
        (StageFacts("sfm", 61.0, 10**9, "6 photos", (f"mind {(*names, 'this')[0]}",)),),
        made.folder,
        elsewhere,
    )
    path = folder / "report.html"
    mesh = mesh if with_mesh else None
    small = ReportConfig(picture_px=300)  # a tenth of the time
    write_report(mesh, maps, georeference, photos, facts, small, path=path)
    return path
