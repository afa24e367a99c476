"""Helpers for tests: photos of exactly known scenes, and checks for authors of plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxterra.core.bands import Bands, bands_of_color
from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.machine import Machine
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress, no_progress
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.transforms import Similarity
from voxterra.depth.choice import Chosen, Hook
from voxterra.depth.source import DepthInputs, DepthSource, DepthTask
from voxterra.depth.sparse import SparseDepth
from voxterra.errors import Cancelled, ReconstructionError
from voxterra.io.files.json_file import read_json
from voxterra.kernels.raster.zbuffer import rasterize_depth
from voxterra.pipeline.engine.conformance import check_engine
from voxterra.products.config import ProductsConfig
from voxterra.products.exporter import (
    ACROSS,
    EXPORTERS,
    INPUTS,
    Exporter,
    Product,
    for_photos,
)
from voxterra.products.make import make_products
from voxterra.report.render import render_textured, sample_texture
from voxterra.surface.backend import (
    SurfaceBackend,
    SurfaceInputs,
    SurfaceResult,
    SurfaceWork,
    checked,
)

__all__ = [
    "Color",
    "MemoryDepthMaps",
    "assert_grad_close",
    "check_backend",
    "check_depth_source",
    "check_engine",
    "check_exporter",
    "checker",
    "depth_normals",
    "look_at",
    "photograph",
    "plane_mesh",
    "render_textured",
    "sample_texture",
    "textured_plane_scene",
]

Color = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class MemoryDepthMaps:
    """The `DepthMaps` protocol over arrays.

    Attributes:
        views: pinhole views.
        depths: (H, W) depth of each view, 0 = unknown; a size other than the view's is allowed.
        colors: (H, W, 3) uint8 RGB of each view.
        masks: (H, W) bool of each view, True = use; None = all usable.
    """

    views: tuple[PinholeView, ...]
    depths: Sequence[NDArray[np.float32]]
    colors: Sequence[NDArray[np.uint8]]
    masks: Sequence[NDArray[np.bool_] | None] | None = None

    @property
    def source_names(self) -> tuple[str, ...]:
        return ("truth",)

    def load(self, index: int) -> DepthMap:
        depth = np.asarray(self.depths[index], np.float32)
        view = self.views[index].resized(depth.shape[1], depth.shape[0])
        return DepthMap(view, depth, depth_normals(view, depth), (depth > 0).astype(np.float32))

    def load_color(self, index: int) -> NDArray[np.uint8]:
        return self.colors[index]

    def load_bands(self, index: int) -> Bands:
        return bands_of_color(self.colors[index])

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        return None if self.masks is None else self.masks[index]


def assert_grad_close(
    actual: ArrayLike,
    expected: ArrayLike,
    *,
    relative: float = 1e-4,
    name: str = "gradient",
) -> None:
    """Fail unless a gradient agrees with its specification, in its values and in its pattern.

    Norms alone pass a gradient whose small entries were left out, and a comparison entry by entry
    with a tolerance passes one that is zero throughout. So three things are asked:
    the norm of the difference is within `relative` of the norm; so is every entry, of the largest
    entry; and entries are 0 where, and only where, the expected ones are. (An expected entry under
    `relative` squared of the largest may be 0; where 0 is expected, float32's rounding of the
    weight of a corner may leave `relative` / 100 of the largest.)

    Args:
        actual: gradient to check; anything `numpy.asarray` takes.
        expected: what it should be, of the same shape.
        relative: tolerance.
        name: what it is called in the message.

    Raises:
        AssertionError: it does not agree.
    """
    a, b = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert a.shape == b.shape, f"{name}: shape {a.shape}, not {b.shape}"
    assert np.isfinite(a).all(), (
        f"{name}: not finite at {np.argwhere(~np.isfinite(a))[:5].tolist()}"
    )
    largest = np.abs(b).max(initial=0.0)
    if largest == 0:
        assert not a.any(), f"{name}: not 0 at {np.argwhere(a)[:5].tolist()}"
        return
    missing = (a == 0) & (np.abs(b) > relative**2 * largest)
    assert not missing.any(), f"{name}: 0 at {int(missing.sum())} entries that have a gradient"
    extra = (b == 0) & (np.abs(a) > relative / 100 * largest)
    assert not extra.any(), f"{name}: not 0 at {int(extra.sum())} entries that have no gradient"
    off = np.linalg.norm(a - b) / np.linalg.norm(b)
    assert off <= relative, f"{name}: off by {off:.2e} of its norm"
    worst = np.abs(a - b).max() / largest
    assert worst <= relative, f"{name}: an entry is off by {worst:.2e} of the largest"


def depth_normals(view: PinholeView, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) unit normals in the camera frame from central differences; 0 where unknown."""
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    K = view.K
    points = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)
    points *= depth[..., None]
    normal = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    length = np.linalg.norm(normal, axis=-1)
    known = (depth > 0) & (length > 0)
    for axis in (0, 1):
        for step in (-1, 1):
            known &= np.roll(depth, step, axis) > 0
    out = np.zeros((*depth.shape, 3), np.float32)
    out[known] = normal[known] / length[known][:, None]
    return out


def look_at(
    name: str,
    center: Sequence[float],
    target: Sequence[float],
    *,
    width: int = 320,
    height: int = 240,
    focal_px: float = 300.0,
    up: Sequence[float] = (0.0, 0.0, 1.0),
) -> PinholeView:
    """A pinhole view at `center` that looks at `target`, with `up` upwards in the image."""
    forward = np.subtract(target, center).astype(np.float64)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    translation = -rotation @ np.asarray(center, np.float64)
    K = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])
    camera = Camera("PINHOLE", width, height, (focal_px, focal_px, width / 2, height / 2))
    pose = np.column_stack([rotation, translation])
    return PinholeView(name, K, pose, width, height, camera)


def checker(points_in_world: NDArray[np.float64], period: float = 1.0) -> NDArray[np.float64]:
    """(N, 3) RGB in [0, 1]: a smooth, non-repeating pattern; `period` is its finest wave."""
    x, y, z = np.asarray(points_in_world, np.float64).T * (2 * np.pi / period)
    red = 0.5 + 0.2 * np.sin(0.9 * x + 0.3 * z) * np.sin(y) + 0.1 * np.sin(0.11 * x + 0.07 * y)
    green = 0.5 + 0.2 * np.sin(0.7 * y - 0.5 * x + z) + 0.1 * np.sin(0.13 * y + 0.3 * z)
    blue = 0.5 + 0.2 * np.cos(0.5 * x + 0.8 * y - 0.6 * z) + 0.1 * np.cos(0.09 * x - 0.12 * z)
    return np.stack([red, green, blue], axis=1)


def photograph(
    mesh: TriMesh, views: Sequence[PinholeView], color: Color, exposures: Sequence[float] = ()
) -> MemoryDepthMaps:
    """Photos of `mesh` whose points have `color(points (N, 3)) -> (N, 3)` in [0, 1].

    Args:
        mesh: in world.
        views: where from.
        color: of points of the surface.
        exposures: factor of each photo; none = all 1. Pixels beside the mesh are black.
    """
    depths, colors = [], []
    for index, view in enumerate(views):
        in_cam = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
        depth, face = rasterize_depth(in_cam, mesh.faces, view.K, view.width, view.height)
        rows, columns = np.nonzero(face >= 0)
        pixels = np.column_stack([columns, rows]).astype(np.float64) + 0.5
        photo = np.zeros((view.height, view.width, 3))
        photo[rows, columns] = color(view.unproject(pixels, depth[rows, columns].astype(float)))
        photo *= exposures[index] if len(exposures) else 1.0
        depths.append(depth)
        colors.append(np.clip(np.rint(255 * photo), 0, 255).astype(np.uint8))
    return MemoryDepthMaps(tuple(views), depths, colors)


def plane_mesh(size: float = 8.0, cells: int = 40) -> TriMesh:
    """A square of side `size` in the plane z = 0, facing up, `cells` x `cells` quads."""
    step = np.linspace(-0.5, 0.5, cells + 1) * size
    x, y = np.meshgrid(step, step)
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    i = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    faces = np.concatenate(
        [
            np.stack([i, i + 1, i + cells + 2], axis=1),
            np.stack([i, i + cells + 2, i + cells + 1], axis=1),
        ]
    )
    return TriMesh(vertices, faces.astype(np.int32))


def textured_plane_scene(
    exposures: Sequence[float] = (1.0, 0.8, 1.2, 0.9),
) -> tuple[TriMesh, MemoryDepthMaps, Color]:
    """A patterned plane, one photo of each part of it for each exposure, and its true colours."""
    mesh = plane_mesh()
    angle = 2 * np.pi * np.arange(len(exposures)) / len(exposures)
    views = [
        look_at(f"{i}.png", (3 * np.cos(a), 3 * np.sin(a), 6.0), (np.cos(a), np.sin(a), 0.0))
        for i, a in enumerate(angle)
    ]
    return mesh, photograph(mesh, views, checker, exposures), checker


def check_backend(backend: SurfaceBackend, work_dir: Path) -> SurfaceResult:
    """Try a surface backend on a small scene; for the tests of its authors.

    Args:
        backend: an instance.
        work_dir: an empty folder to work in.

    Returns:
        what it made of four photos of a patterned plane.

    Raises:
        AssertionError: it breaks the contract of `SurfaceBackend`, in a way that is named.
        VoxterraError: what it raises itself.
    """
    assert backend.name and backend.license, "name and license are texts"
    assert backend.version >= 1, "version counts from 1"
    options = backend.options()
    assert is_dataclass(options), "options is a dataclass"
    for preset in ("preview", "standard", "high"):
        for machine in get_args(Machine):
            made = backend.preset(preset, machine)
            assert isinstance(made, backend.options), "preset gives an instance of options"
            backend.check(made)
    backend.requires(options)
    cost = backend.estimate(SurfaceWork(20, 1.0, 2.0, 1.0), options)
    assert cost.seconds >= 0 and cost.memory_bytes >= 0, "an estimate is not negative"
    mesh, maps, _ = textured_plane_scene()
    points = np.asarray(mesh.vertices[::7], np.float64)
    sparse = _seen_by_all(points, maps.views)
    folders = [work_dir / name for name in ("work", "out")]
    for folder in folders:
        folder.mkdir(parents=True)
    inputs = SurfaceInputs(maps, lambda: iter([sparse]), None, 2, work=folders[0], out=folders[1])
    _check_stops(lambda progress: backend.run(inputs, options, progress))
    shares: list[float] = []

    def note(fraction: float, message: str = "") -> None:
        shares.append(fraction)

    result = backend.run(inputs, options, note)
    assert shares, "progress is called"
    assert all(0 <= share <= 1 for share in shares), "progress lies in [0, 1]"
    return checked(backend.name, result)


def check_depth_source(source: DepthSource) -> dict[str, list[DepthMap]]:
    """Try a depth source on a small scene; for the tests of its authors.

    Args:
        source: an instance.

    Returns:
        maps of four photos of a patterned plane, by hook.

    Raises:
        AssertionError: it breaks the contract of `DepthSource`, in a way that is named.
        VoxterraError: what it raises itself.
    """
    assert source.name and source.license, "name and license are texts"
    assert source.version >= 1, "version counts from 1"
    options = None if source.options is None else source.options()
    source.requires(options)
    mesh, photos, _ = textured_plane_scene()
    maps = MemoryDepthMaps(photos.views, [d[::2, ::2].copy() for d in photos.depths], photos.colors)
    for depth in maps.depths:
        depth[20:40, 30:60] = 0.0  # to be filled
    tasks = _depth_tasks(np.asarray(mesh.vertices[::7], np.float64), maps.views)
    found: dict[str, list[DepthMap]] = {}
    for hook in get_args(Hook):
        if getattr(source, hook) is None:
            continue
        chosen = Chosen(source.name, source, hook, options)
        given = (maps,) if hook == "fill" else ()

        def tried(
            progress: Progress, chosen: Chosen = chosen, given: Any = given
        ) -> list[DepthMap]:
            with TemporaryDirectory() as folder:
                inputs = DepthInputs(tasks, maps, tuple(range(len(tasks))), Path(folder))
                try:
                    by_index = dict(chosen.maps(inputs, *given, progress))
                except ReconstructionError as error:
                    raise AssertionError(f"{chosen.hook}: {error}") from error
            assert len(by_index) == len(tasks), f"{chosen.hook}: a map of each photo is yielded"
            return [by_index[index] for index in range(len(tasks))]

        _check_stops(tried)
        found[hook] = tried(no_progress)
        for one, other in zip(found[hook], tried(no_progress)):
            assert np.array_equal(one.depth, other.depth), f"{hook}: the same call repeats"
        assert any(one.depth.any() for one in found[hook]), f"{hook}: it knows no depth at all"
    assert found, "one of estimate, start and fill is there"
    return found


def _depth_tasks(
    points: NDArray[np.float64], views: Sequence[PinholeView]
) -> tuple[DepthTask, ...]:
    """Views whose maps are half their size, and which all show the same points."""
    tasks = []
    for index, view in enumerate(views):
        pixels, depths = view.project(points)
        seen = (pixels >= 0).all(1) & (pixels < [view.width, view.height]).all(1)
        sparse = SparseDepth(pixels[seen], depths[seen], (0.4 / depths.max(), 2.0 / depths.min()))
        others = tuple(j for j in range(len(views)) if j != index)
        tasks.append(DepthTask(view, (view.width // 2, view.height // 2), others, sparse))
    return tuple(tasks)


def check_exporter(exporter: Exporter, work_dir: Path) -> dict[str, tuple[Product, ...]]:
    """Try an exporter on a small scene, on the map and in a local frame; for its authors' tests.

    Args:
        exporter: an instance.
        work_dir: an empty folder to work in.

    Returns:
        its products and those of the exporters that it needs, by "map" and "local".

    Raises:
        AssertionError: it breaks the contract of `Exporter`, or fails; the reason is named.
    """
    assert exporter.name and exporter.license and exporter.group, "name, license, group are texts"
    assert exporter.version >= 1, "version counts from 1"
    assert exporter.options is None or is_dataclass(exporter.options()), "options is a dataclass"
    exporter.requires(None if exporter.options is None else exporter.options())
    others = [need for need in exporter.needs if need not in INPUTS]
    unknown = [need for need in others if need not in EXPORTERS.names()]
    assert not unknown, f"needs names {unknown}, which is neither an input nor an exporter"
    registered = exporter.name not in EXPORTERS.names()
    if registered:
        EXPORTERS.register(exporter.name, exporter)
    try:
        frames = {"map": GeoFrame("geo", 9.9, 51.5, 200.0, "EPSG:32632"), "local": GeoFrame.local()}
        return {
            where: _exported(exporter, work_dir / where, frame) for where, frame in frames.items()
        }
    finally:
        if registered:
            EXPORTERS.unregister(exporter.name)


def _exported(exporter: Exporter, out_dir: Path, frame: GeoFrame) -> tuple[Product, ...]:
    name = exporter.name
    mesh, maps, _ = textured_plane_scene()
    if for_photos(exporter) == ACROSS:
        mesh, maps = _upright(mesh, maps)
    points = np.asarray(mesh.vertices[::7], np.float64)
    placement = Placement(Similarity.identity(), not frame.is_local, "none")
    photos = tuple(Photo(v.name, Path(v.name), v.width, v.height, "0" * 64) for v in maps.views)
    products = make_products(
        mesh,
        PointCloud(points, np.full((len(points), 3), 128, np.uint8)),
        maps,
        Georeference(frame, (_seen_by_all(points, maps.views),), (placement,)),
        PhotoSet(out_dir, photos),
        ProductsConfig(only=(name,)),
        out_dir=out_dir,
        run_info={},
    )
    metadata = read_json(out_dir / "metadata.json")
    assert isinstance(metadata, dict)
    assert not metadata["skipped"], f"{name}: {metadata['skipped'].get(name)}"
    for product in products:
        assert product.path.is_file(), f"there is no file {product.name}"
    return products


def _upright(mesh: TriMesh, maps: MemoryDepthMaps) -> tuple[TriMesh, MemoryDepthMaps]:
    """A scene whose ground stands up as a wall that looks south."""
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    back = np.eye(4)
    back[:3, :3] = turn.T
    views = tuple(replace(v, cam_from_world=v.cam_from_world @ back) for v in maps.views)
    vertices = (mesh.vertices @ turn.T).astype(np.float32)
    return replace(mesh, vertices=vertices), replace(maps, views=views)


def _seen_by_all(points: NDArray[np.float64], views: Sequence[PinholeView]) -> Reconstruction:
    """Cameras of views, and points that all of them see."""
    cameras = {i: view.camera for i, view in enumerate(views)}
    images = tuple(Image(view.name, i, view.cam_from_world) for i, view in enumerate(views))
    count = len(views)
    sparse = SparsePoints(
        points,
        np.full((len(points), 3), 128, np.uint8),
        np.full(len(points), 0.5),
        np.arange(0, count * len(points) + 1, count, dtype=np.int64),
        np.tile(np.arange(count, dtype=np.int32), len(points)),
        np.stack([view.project(points)[0] for view in views], axis=1).reshape(-1, 2),
    )
    return Reconstruction(cameras, images, sparse)


def _check_stops(run: Callable[[Progress], object]) -> None:
    """`Cancelled` out of progress must come through."""

    def stop(fraction: float, message: str = "") -> None:
        raise Cancelled("stopped")

    try:
        run(stop)
    except Cancelled:
        return
    raise AssertionError("Cancelled, which progress raises, must come out of run")
