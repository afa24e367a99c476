"""Exporters: what writes the products of a run, each its own files.

`docs/extending.md` shows how to bring another one; `voxterra.testing.check_exporter` tries it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from voxterra.core.artifact import Artifact
from voxterra.core.depth import DepthMaps
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import Progress
from voxterra.core.registry import Registry
from voxterra.errors import UsageError

if TYPE_CHECKING:
    from voxterra.products.config import ProductsConfig

T = TypeVar("T")

INPUTS = ("mesh", "cloud", "photos", "depth", "cameras", "artifacts")
"""What exporters can read beside the files of other exporters; see `ExportInputs`."""

FROM_ABOVE, ACROSS = "from above", "across"
"""Ways in which photos look: at ground and roofs, or at walls."""

GROUPS: dict[str, str] = {
    "mesh": "surface as triangles",
    "cloud": "points",
    "raster": "maps of cells",
    "vector": "points, lines and areas on the map",
    "model": "files that the surface backend adds",
}
"""Groups of the built-in exporters; exporters of other packages may have groups of their own."""


@dataclass(frozen=True)
class Product:
    """A file made for the user.

    Attributes:
        name: of the file, such as "dsm.tif".
        path: of the file.
        kind: "mesh", "cloud", "raster", "vector", "list", "model" or "metadata".
        description: one line for people.
        facts: numbers that `metadata.json` lists under `coverage`, JSON-like.
    """

    name: str
    path: Path
    kind: str
    description: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportInputs:
    """What one exporter reads: the frame, and what its `needs` and `uses` name.

    Attributes:
        exporter: its name, for errors.
        frame: of the world and of the map.
        accuracy: the line on accuracy that every product carries.
        config: options of all products; those that the exporter reads are its `settings`.
        readable: the inputs that it declared and that there are, by their names in `INPUTS`.
        made: what the exporters that it declared have made, by their names.
        kept: intermediate results of this run, see `shared`.
    """

    exporter: str
    frame: GeoFrame
    accuracy: str
    config: ProductsConfig
    readable: Mapping[str, Any]
    made: Mapping[str, tuple[Product, ...]]
    kept: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether there is an input, or the files of an exporter, that `uses` names."""
        return name in self.readable or name in self.made

    @property
    def mesh(self) -> TriMesh:
        """Cleaned and textured, in world, cut to the area of interest."""
        return cast(TriMesh, self._read("mesh"))

    @property
    def cloud(self) -> PointCloud:
        """In world, cut to the area of interest; it has points."""
        return cast(PointCloud, self._read("cloud"))

    @property
    def maps(self) -> DepthMaps:
        """With "photos" the undistorted photos, masks and views; with "depth" depth maps too."""
        return cast(DepthMaps, self._read("photos" if "photos" in self.readable else "depth"))

    @property
    def georeference(self) -> Georeference:
        """With "cameras": components, cameras, and how they were placed."""
        return cast("tuple[Georeference, PhotoSet]", self._read("cameras"))[0]

    @property
    def photos(self) -> PhotoSet:
        """With "cameras": the photos of the project and what their files say."""
        return cast("tuple[Georeference, PhotoSet]", self._read("cameras"))[1]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Files of the surface that are products of their own."""
        return cast("tuple[Artifact, ...]", self._read("artifacts"))

    def path(self, name: str) -> Path:
        """The file `name` of an exporter in `needs` or `uses`, such as "dsm.tif".

        Raises:
            UsageError: none of them made such a file.
        """
        found = [p.path for products in self.made.values() for p in products if p.name == name]
        if not found:
            raise self._undeclared(name)
        return found[0]

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """An intermediate result that several exporters need: made by the first one that asks.

        What it is made from counts for each of them: all declare it in `needs` and `settings`.
        """
        if name not in self.kept:
            self.kept[name] = make()
        return cast(T, self.kept[name])

    def _read(self, name: str) -> Any:
        if name not in self.readable:
            raise self._undeclared(name)
        return self.readable[name]

    def _undeclared(self, name: str) -> UsageError:
        return UsageError(
            f"The exporter '{self.exporter}' reads '{name}', which it does not declare.",
            where=self.exporter,
            next_step="Name in its `needs` what it reads, and ask `has` before what `uses` names.",
        )


class NothingToMake(Exception):
    """Raised by `Exporter.export` where the inputs hold nothing for its product: it is skipped,
    with the text as the reason."""


class Exporter(Protocol):
    """Writes a product. The module that holds it is imported early: keep heavy imports in `export`.

    Attributes:
        name: as in `--products.only NAME`.
        group: one of `GROUPS`, or another word; `--products.only GROUP` means all of them.
        license: of its code, as an SPDX identifier.
        version: raise it when it writes other files for the same input, so that earlier ones are
            made again.
        needs: what it cannot do without: names of `INPUTS`, and of exporters whose files it reads.
            They are made first, also where only this exporter was asked for.
        options: frozen dataclass with a default for each field, or None; fields with the metadata
            {"affects_result": False} do not count for whether a product is made again.

    It may also have:

    - `uses`: tuple of names as in `needs`, of what it reads only where it is there; "*" stands for
      the files of all other exporters.
    - `settings`: tuple of the fields of `ProductsConfig` that its files depend on.
    - `for_photos`: `FROM_ABOVE` or `ACROSS`: made only of photos that look so, or where
      `--products.only` names it.
    """

    name: str
    group: str
    license: str
    version: int

    # Read-only here, so that a plugin's own class may say it more exactly.
    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def options(self) -> type[Any] | None: ...

    def requires(self, options: Any) -> None:
        """Raise `UsageError` for options that cannot work, and `MissingPartError` where this
        machine lacks something; asked before hours of other work."""

    def export(
        self, inputs: ExportInputs, options: Any, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        """Write files into `out_dir`, an empty folder, and name those that are products.

        All files there are delivered, in their folders; `name` of a product is its path below
        `out_dir`. Call `progress` often: it raises `Cancelled` when the run is stopped.
        """


def uses_of(exporter: Exporter) -> tuple[str, ...]:
    """What an exporter reads where it is there."""
    return tuple(getattr(exporter, "uses", ()))


def settings_of(exporter: Exporter) -> tuple[str, ...]:
    """The fields of `ProductsConfig` that an exporter's files depend on."""
    return tuple(getattr(exporter, "settings", ()))


def for_photos(exporter: Exporter) -> str:
    """Which way photos must look for the exporter's product to make sense; "" = any."""
    return str(getattr(exporter, "for_photos", ""))


_ROOM = "voxterra.products.exporters"

EXPORTERS: Registry[Exporter] = Registry(
    "exporter",
    "voxterra.exporters",
    Exporter,  # type: ignore[type-abstract]
    {
        "dsm": f"{_ROOM}.rasters:Dsm",
        "ortho": f"{_ROOM}.rasters:Ortho",
        "facade": f"{_ROOM}.facade:FacadeOrtho",
        "glb": f"{_ROOM}.mesh:Glb",
        "obj": f"{_ROOM}.mesh:Obj",
        "mesh_ply": f"{_ROOM}.mesh:MeshPly",
        "laz": f"{_ROOM}.cloud:Laz",
        "cloud_ply": f"{_ROOM}.cloud:CloudPly",
        "sites": f"{_ROOM}.sites:Sites",
        "cameras": f"{_ROOM}.cameras:Cameras",
        "artifacts": f"{_ROOM}.artifacts:Artifacts",
    },
)
