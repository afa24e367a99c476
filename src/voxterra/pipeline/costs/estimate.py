"""Estimate time, memory and disk of a run from the number and size of its photos."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from voxterra.core.costs import Cost
from voxterra.pipeline.costs import rates
from voxterra.pipeline.recipe.plugins import backend_of, options_of
from voxterra.surface.backend import SurfaceWork

BASIS = (
    "judged by runs of 3 to 40 photos on 2 cores: half or twice as much is possible; the first run "
    "ever compiles for half a minute more"
)
_SAMPLE = 40  # photos whose size is looked at


@dataclass(frozen=True)
class PhotoSizes:
    """Number and size of photos.

    Attributes:
        count: number of photos.
        width, height: median of a sample [px].
    """

    count: int
    width: int
    height: int

    def megapixels(self, max_side: int = 0) -> float:
        """Of one photo, shrunk to `max_side` where that is smaller; 0 = not shrunk."""
        scale = min(1.0, max_side / max(self.width, self.height)) if max_side > 0 else 1.0
        return self.width * self.height * scale * scale / 1e6


@dataclass(frozen=True)
class Estimate:
    """Costs of the stages of a run.

    Attributes:
        sizes: of the photos.
        stages: by name.
    """

    sizes: PhotoSizes
    stages: dict[str, Cost]

    @property
    def seconds(self) -> float:
        return sum(cost.seconds for cost in self.stages.values())

    @property
    def memory_bytes(self) -> float:
        return max((cost.memory_bytes for cost in self.stages.values()), default=0.0)

    @property
    def disk_bytes(self) -> float:
        return sum(cost.disk_bytes for cost in self.stages.values())

    @property
    def largest_stage(self) -> str:
        """The stage that needs most memory."""
        return max(self.stages, key=lambda name: self.stages[name].memory_bytes)


def photo_sizes(source: Sequence[Path]) -> PhotoSizes | None:
    """Count the photos of a source, and read the headers of some.

    Returns:
        None if no header can be read; the run will report why.
    """
    from voxterra.errors import VoxterraError
    from voxterra.ingest.sources import files_read
    from voxterra.io.images import PHOTO_SUFFIXES

    try:
        files = files_read(source)
    except VoxterraError:
        return None
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        return _sizes_in_zip(files[0])
    masks = {f for f in files if f.parent.name == "masks"}
    photos = [f for f in files if f.suffix.lower() in PHOTO_SUFFIXES and f not in masks]
    return _sizes(len(photos), [_size_of_file(path) for path in _some(photos)])


def _some(items: Sequence[Any]) -> list[Any]:
    """At most `_SAMPLE` of them, always the same."""
    return random.Random(0).sample(list(items), min(_SAMPLE, len(items)))


def _size_of_file(path: Path) -> tuple[int, int] | None:
    from voxterra.errors import InputError
    from voxterra.io.images import open_image

    try:
        with open_image(path) as image:
            return image.size
    except InputError:  # ingest warns of it, and leaves the photo out
        return None


def _size_in_archive(file: IO[bytes]) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.size
    except Exception:  # decoders raise nearly anything on damaged headers
        return None


def _sizes(count: int, found: Sequence[tuple[int, int] | None]) -> PhotoSizes | None:
    known = sorted((size for size in found if size), key=lambda s: s[0] * s[1])
    return PhotoSizes(count, *known[len(known) // 2]) if known else None


def _sizes_in_zip(path: Path) -> PhotoSizes | None:
    from voxterra.io.images import PHOTO_SUFFIXES

    try:
        with zipfile.ZipFile(path) as archive:
            photos = [
                name
                for name in archive.namelist()
                if Path(name).suffix.lower() in PHOTO_SUFFIXES
                and "masks" not in Path(name).parts
                and not Path(name).name.startswith(".")
            ]
            found = []
            for name in _some(photos):
                with archive.open(name) as file:
                    found.append(_size_in_archive(file))
            return _sizes(len(photos), found)
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None


def estimate(sizes: PhotoSizes, config: Any, cores: int, stages: Sequence[str]) -> Estimate:
    """Estimate `stages` of a run.

    Args:
        sizes: of the photos.
        config: the `RunConfig`, its backend settled.
        cores: of the machine.
        stages: names of those to do.
    """
    work = _Work(sizes, config, rates.CORES / max(cores, 1), max(cores, 1))
    costs = {
        "ingest": work.ingest,
        "sfm": work.sfm,
        "depth": work.depth,
        "surface": work.surface,
        "mesh": work.mesh,
        "products": work.products,
        "report": work.report,
    }
    nothing = Cost(0.5, rates.BASE)
    return Estimate(sizes, {n: costs[n]() if n in costs else nothing for n in stages})


@dataclass(frozen=True)
class _Work:
    """Amounts of work in a run, and their costs; `slower` than the machine of the rates."""

    sizes: PhotoSizes
    config: Any
    slower: float
    cores: int

    @property
    def n(self) -> int:
        return self.sizes.count

    @property
    def depth_mp(self) -> float:
        return self.sizes.megapixels(self.config.depth.max_size)

    @property
    def color_mp(self) -> float:
        return self.sizes.megapixels(self.config.depth.color_max_size)

    @property
    def raw_m_faces(self) -> float:
        """Million faces of the fused surface."""
        surface = self.config.surface
        made = rates.M_FACES_PER_MP * self.n * self.depth_mp * (1.5 / surface.voxel_factor) ** 2
        return float(min(made, rates.M_FACES_PER_M_VOXELS * surface.max_voxels / 1e6))

    @property
    def m_faces(self) -> float:
        """Million faces after simplification."""
        most = self.config.mesh.max_faces
        return self.raw_m_faces if most is None else min(self.raw_m_faces, most / 1e6)

    def ingest(self) -> Cost:
        seconds = rates.INGEST_S_PER_MP * self.n * self.sizes.megapixels() * self.slower
        return Cost(seconds, 0.2e9 + 0.02e9 * self.sizes.megapixels() * self.cores)

    def sfm(self) -> Cost:
        sfm = self.config.sfm
        mp = self.sizes.megapixels(sfm.max_image_size)
        features = min(sfm.max_features, rates.FEATURES_PER_MP * mp)
        pairs = self.n * (self.n - 1) / 2
        if sfm.matcher != "exhaustive" and self.n > sfm.max_exhaustive_photos:
            pairs = self.n * sfm.spatial_neighbours * 0.75
        seconds = rates.FEATURE_S_PER_MP * self.n * mp
        seconds += rates.MATCH_S_PER_PAIR * pairs * (features / 8192) ** 2
        memory = 0.2e9 + rates.FEATURE_PER_MP * mp * self.cores
        memory += rates.MAPPING_PER_FEATURE * features * self.n
        return Cost(seconds * self.slower, memory, 300 * features * self.n)

    def depth(self) -> Cost:
        share = min(self.config.depth.sources, max(self.n - 1, 1)) / 10
        seconds = rates.DEPTH_S_PER_MP * self.n * self.depth_mp * max(share, 0.5) * self.slower
        seconds += rates.COLOR_S_PER_MP * self.n * self.color_mp * self.slower
        memory = rates.BASE + rates.DEPTH_PER_MP * self.depth_mp
        memory += rates.COLOR_PER_MP * self.color_mp
        photo = rates.DEPTH_BYTES_PER_PX * self.depth_mp + rates.COLOR_BYTES_PER_PX * self.color_mp
        return Cost(seconds, memory, 1e6 * self.n * photo)

    def surface(self) -> Cost:
        seconds = rates.SURFACE_S_PER_MP * self.n * self.depth_mp * self.slower
        memory = rates.BASE + rates.SURFACE_PER_M_FACES * self.raw_m_faces
        disk = 1e6 * self.raw_m_faces * (rates.SURFACE_BYTES_PER_FACE + rates.POINT_BYTES / 2)
        work = SurfaceWork(self.n, self.depth_mp, self.raw_m_faces, self.slower)
        options = options_of(self.config, self.config.backend)
        return Cost(seconds, memory, disk).plus(backend_of(self.config).estimate(work, options))

    def mesh(self) -> Cost:
        color = self.n * self.color_mp
        seconds = rates.MESH_S_PER_M_FACES * self.m_faces + rates.COLOR_S_PER_MP * color
        memory = rates.MESH_BASE + rates.MESH_PER_M_FACES * self.raw_m_faces
        texels = min(rates.TEXELS_PER_PX * color * 1e6, self.config.texture.max_atlas_px**2)
        memory += rates.COLOR_PER_MP * self.color_mp + rates.TEXEL_MEMORY * texels
        disk = 1e6 * self.m_faces * rates.BYTES_PER_FACE / 3 + rates.TEXEL_BYTES * texels
        return Cost(seconds * self.slower, memory, disk)

    def products(self) -> Cost:
        color, cells = self.n * self.color_mp, self._ortho_cells()
        seconds = rates.PRODUCTS_S + rates.PRODUCTS_S_PER_M_FACES * self.m_faces
        seconds += rates.COLOR_S_PER_MP * color
        memory = rates.PRODUCTS_BASE + rates.MESH_PER_M_FACES * self.m_faces
        memory += rates.COLOR_PER_MP * self.color_mp + rates.ORTHO_PER_MP * cells / 1e6
        disk = 1e6 * self.m_faces * rates.BYTES_PER_FACE + rates.ORTHO_BYTES_PER_CELL * cells
        return Cost(seconds * self.slower, memory, disk)

    def report(self) -> Cost:
        return Cost(rates.REPORT_S + 0.05 * self.n * self.depth_mp, rates.MESH_BASE, 2e6)

    def _ortho_cells(self) -> float:
        """Cells of the orthophoto: about a third of each photo shows ground best of all photos."""
        cells = self.n * self.color_mp * 1e6 / 3
        return min(cells, float(self.config.products.max_raster_px))
