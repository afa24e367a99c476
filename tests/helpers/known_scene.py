"""A scene whose products are known: what is swapped, mirrored or turned shows at once.

Grey ground 40 m wide, a red box 3 m high 12 m to the north, a blue box 5 m high 12 m to the east.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trimesh
from pyproj import Transformer

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, PhotoResidual, Placement
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.photos import Gps, Photo, PhotoSet, RejectedFile
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.registration import UnregisteredPhoto
from voxterra.core.transforms import Similarity
from voxterra.products.config import ProductsConfig
from voxterra.products.make import Product, make_products
from voxterra.testing import MemoryDepthMaps, look_at, photograph

GEO = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832")
RED, BLUE, GREY = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8), (0.5, 0.5, 0.5)
RED_AT, BLUE_AT, SIDE = (0.0, 12.0), (12.0, 0.0), 4.0
RED_TOP, BLUE_TOP = 3.0, 5.0
STATED = (
    "estimated (1 sigma): position 1.2 m horizontal, 15 m vertical, tilt 0.25 deg, "
    "heading unknown, scale 1.2 %; GPS residuals 0.22 m horizontal, unknown vertical RMS; "
    "no check points used"
)
EXPOSURES = (1.0, 0.9, 1.1, 0.95, 1.05)


def box(at: tuple[float, float], top: float) -> trimesh.Trimesh:
    return trimesh.creation.box((SIDE, SIDE, top)).apply_translation((*at, top / 2))


def scene_mesh() -> TriMesh:
    ground = trimesh.creation.box((40, 40, 1)).apply_translation((0, 0, -0.5))
    mesh = trimesh.util.concatenate([ground, box(RED_AT, RED_TOP), box(BLUE_AT, BLUE_TOP)])
    for _ in range(3):
        mesh = mesh.subdivide()
    vertices = np.asarray(mesh.vertices, np.float32)
    colors = np.rint(255 * color(vertices)).astype(np.uint8)
    return TriMesh(vertices, np.asarray(mesh.faces, np.int32), colors)


def color(points: np.ndarray) -> np.ndarray:
    out = np.tile(GREY, (len(points), 1))
    for at, top, paint in ((RED_AT, RED_TOP, RED), (BLUE_AT, BLUE_TOP, BLUE)):
        inside = (np.abs(points[:, :2] - at) < SIDE / 2 + 0.01).all(1)
        out[inside & (points[:, 2] > 0.05) & (points[:, 2] < top + 0.01)] = paint
    return out


def views() -> list[PinholeView]:
    places = [(0, 0), (-8, -8), (9, -7), (8, 9), (-9, 8)]
    return [
        look_at(f"{i}.jpg", (x, y, 40), (x, y, 0), focal_px=280.0)
        for i, (x, y) in enumerate(places)
    ]


@dataclass
class Made:
    folder: Path
    products: tuple[Product, ...]
    frame: GeoFrame

    def path(self, name: str) -> Path:
        assert name in {p.name for p in self.products}
        return self.folder / name


def inputs(
    frame: GeoFrame,
) -> tuple[TriMesh, PointCloud, MemoryDepthMaps, Georeference, PhotoSet]:
    mesh, cameras = scene_mesh(), views()
    maps = photograph(mesh, cameras, color, EXPOSURES)
    points = trimesh.sample.sample_surface(
        trimesh.Trimesh(mesh.vertices, mesh.faces), 3000, seed=1
    )[0]
    cloud = PointCloud(points, np.rint(255 * color(points)).astype(np.uint8))
    sparse = SparsePoints(
        np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), np.zeros(1, np.int64),
        np.zeros(0, np.int32), np.zeros((0, 2)),
    )  # fmt: skip
    camera = Camera("PINHOLE", 320, 240, (280.0, 280.0, 160.0, 120.0))
    images = tuple(Image(v.name, 1, v.cam_from_world) for v in cameras)
    component = Reconstruction({1: camera}, images, sparse)
    residuals = tuple(
        PhotoResidual(v.name, 0.1, -0.2, 0.3, 1.0, 2.0, v.name == "3.jpg") for v in cameras
    )
    placed = not frame.is_local
    placement = Placement(
        Similarity.identity(), placed, "gps" if placed else "none", residuals if placed else (),
        0.22 if placed else None, None, 0.25, None, 0.0123, 1.23, 15.4, warnings=("a warning",),
    )  # fmt: skip
    photos = tuple(
        Photo(name, Path(name), 320, 240, f"sha-{name}", Gps(9.9158, 51.5413, 190.0))
        for name in [v.name for v in cameras] + ["left_out.jpg"]
    )
    photo_set = PhotoSet(Path("."), photos, (RejectedFile("bad.txt", "not a photo"),))
    return mesh, cloud, maps, Georeference(frame, (component,), (placement,)), photo_set


def make(frame: GeoFrame, folder: Path, config: ProductsConfig) -> Made:
    seen: list[float] = []
    products = make_products(
        *inputs(frame),
        config,
        out_dir=folder,
        run_info={"created": "2026-01-02T03:04:05Z", "config": {"x": 1}, "preset": "preview"},
        progress=lambda fraction, message="": seen.append(fraction),
    )
    assert seen == sorted(seen) and seen[-1] == 1.0
    return Made(folder, products, frame)


AUSTRALIA = GeoFrame("geo", 115.7439, -32.0569, 10.0, "EPSG:32750")


def make_apart(folder: Path) -> Made:
    """The scene with two more components: far away and thus apart, and placed nowhere."""
    mesh, cloud, maps, main, photos = inputs(GEO)
    points = SparsePoints(
        np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.full((2, 3), 90, np.uint8), np.ones(2),
        np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros((0, 2)),
    )  # fmt: skip
    (first,), (placement,) = main.components, main.placements
    far, lost = (
        replace(
            first, points=points, images=tuple(replace(i, name=p + i.name) for i in first.images)
        )
        for p in ("far/", "lost/")
    )
    unplaced = Placement(Similarity.identity(), False, "none", warnings=("lost",))
    why = UnregisteredPhoto("left_out.jpg", "no_matches", "it shows nothing", "Go back.")
    georeference = replace(
        main,
        components=(first, far, lost),
        placements=(placement, replace(placement, residuals=(), apart=AUSTRALIA), unplaced),
        unregistered=(why,),
    )
    config = ProductsConfig(only=("cloud_ply", "cameras", "sites"))
    products = make_products(
        mesh, cloud, maps, georeference, photos, config, out_dir=folder, run_info={}
    )
    return Made(folder, products, GEO)


def on_map(x: float, y: float, z: float) -> np.ndarray:
    """Easting, northing, EGM96 height by PROJ's topocentric conversion."""
    pipeline = Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 +lon_0=9.9158 +lat_0=51.5413 "
        "+h_0=198.46 +step +inv +proj=cart +ellps=WGS84 +step +proj=utm +zone=32 +ellps=GRS80"
    )
    east, north, height = pipeline.transform(x, y, z)
    return np.array([east, north, height - 45.964])
