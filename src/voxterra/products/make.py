"""All products of a run, by the exporters that are asked for, and the file that describes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voxterra.core.artifact import Artifact
from voxterra.core.depth import DepthMaps
from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference
from voxterra.core.mesh import PointCloud, TriMesh
from voxterra.core.photos import PhotoSet
from voxterra.core.progress import Progress, no_progress, part
from voxterra.errors import Cancelled, OutputError, ReconstructionError
from voxterra.io.files.json_file import write_json
from voxterra.io.geojson import read_polygons
from voxterra.products.area import cut_to_area
from voxterra.products.config import ProductsConfig, check
from voxterra.products.exporter import (
    ACROSS,
    EXPORTERS,
    FROM_ABOVE,
    INPUTS,
    Exporter,
    ExportInputs,
    NothingToMake,
    Product,
    settings_of,
    uses_of,
)
from voxterra.products.layout import look_across
from voxterra.products.metadata import accuracy_line, describe
from voxterra.products.parts import Part, PartCache, PartStore
from voxterra.products.selection import read_of, select

log = logging.getLogger(__name__)

# Of the time that all take; 1 for each other exporter.
_WEIGHTS = {"ortho": 12.0, "facade": 12.0, "dsm": 2.0}
# What these are cut to.
_AREA_OF = {"mesh", "cloud"}


def make_products(
    mesh: TriMesh | None,
    cloud: PointCloud | None,
    maps: DepthMaps,
    georeference: Georeference,
    photos: PhotoSet,
    config: ProductsConfig,
    *,
    out_dir: Path,
    run_info: dict[str, Any],
    artifacts: tuple[Artifact, ...] = (),
    plugin_options: Mapping[str, Any] | None = None,
    made_by: str = "",
    cache: PartCache | None = None,
    progress: Progress = no_progress,
) -> tuple[Product, ...]:
    """Write the products that `config` asks for into `out_dir`, `metadata.json` last.

    Files of an earlier call of the same names are replaced; each appears whole or not at all. An
    exporter whose inputs are missing is skipped, with a warning; so is one of another package that
    fails.

    Args:
        mesh: cleaned and textured, in world; None where there is none.
        cloud: in world; None or empty where there is none.
        maps: the undistorted photos and depth maps.
        georeference: frame and cameras.
        photos: of the project.
        config: what to make.
        out_dir: folder, made when missing.
        run_info: "created" and "config", and what else `metadata.json` should record of the run.
        artifacts: further files of the surface that become products.
        plugin_options: options of exporters, by their names; defaults for those not named.
        made_by: name of the surface backend, for messages.
        cache: what earlier calls made and is still right; None: all is made.
        progress: of the whole.

    Raises:
        UsageError: an unknown product or an option out of its range; an exporter that breaks the
            contract of `Exporter`.
        ReconstructionError: the mesh has no faces, or nothing lies in the area of interest.
        InputError, FormatError: the area of interest cannot be read.
        OutputError: a file cannot be written.
    """
    check(config)
    if mesh is not None and not len(mesh.faces):
        raise ReconstructionError(
            "The surface is empty, so there is nothing to make products from.",
            next_step="Add photos that overlap by 60 % or more and show texture.",
        )
    frame = georeference.frame
    if config.aoi is not None:
        mesh, cloud = cut_to_area(mesh, cloud, frame, read_polygons(config.aoi))
    if cloud is not None and not len(cloud):
        cloud = None
    there = {
        "mesh": mesh,
        "cloud": cloud,
        "photos": maps,
        "depth": maps,
        "cameras": (georeference, photos),
        "artifacts": artifacts,
    }
    job = _Job(
        frame,
        accuracy_line(georeference),
        config,
        {name: value for name, value in there.items() if value is not None},
        dict(plugin_options or {}),
        PartStore(Path(out_dir), cache),
    )
    absent = _absent(mesh, cloud, made_by)
    selection = select(config.only, config.skip, absent, _suited(config, mesh, maps))
    skipped = dict(selection.unmet) | job.make(selection.exporters, part(progress, 0.0, 0.98))
    for why in dict.fromkeys(skipped.values()):
        names = ", ".join(name for name, reason in skipped.items() if reason == why)
        log.warning("products that are not made: %s (%s)", names, why)
    progress(0.98, "metadata")
    data = describe(
        georeference,
        photos,
        job.entries(),
        job.coverage(mesh, cloud),
        skipped=skipped,
        license=config.license,
        run_info={"config": {"products": _recorded(config)}} | run_info,
    )
    path = Path(out_dir) / "metadata.json"
    write_json(data, path)
    job.store.drop_others((path.name,))
    progress(1.0, "products written")
    text = "What the products are and how good"
    return (*job.products(), Product(path.name, path, "metadata", text))


def _absent(mesh: TriMesh | None, cloud: PointCloud | None, made_by: str) -> dict[str, str]:
    """The inputs that there are not, and why."""
    backend = f"the surface backend {made_by}" if made_by else "the surface"
    absent = {}
    if mesh is None:
        absent["mesh"] = f"{backend} has none"
    if cloud is None:
        absent["cloud"] = "it is empty"
    return absent


def _suited(config: ProductsConfig, mesh: TriMesh | None, maps: DepthMaps) -> set[str]:
    """For which ways of looking the photos are fit."""
    from voxterra.products.facade_planes import find_facades

    suited = set() if config.facade_line is None else {ACROSS}
    if not look_across(maps.views):
        return suited | {FROM_ABOVE}
    # Without a facade, as around a heap or a statue, the view from above is all there is.
    walls = mesh is not None and find_facades(mesh, maps.views, 1)
    return {ACROSS} if walls else {ACROSS, FROM_ABOVE}


def _recorded(config: ProductsConfig) -> dict[str, Any]:
    """Options without paths of this machine."""
    return asdict(config) | {"aoi": None if config.aoi is None else config.aoi.name}


@dataclass(frozen=True)
class _Job:
    """What all exporters of a call share.

    Attributes:
        frame, accuracy, config: as in `ExportInputs`.
        readable: the inputs that there are.
        options: of exporters, by their names.
        store: what has been made.
    """

    frame: GeoFrame
    accuracy: str
    config: ProductsConfig
    readable: Mapping[str, Any]
    options: Mapping[str, Any]
    store: PartStore

    def make(self, exporters: Mapping[str, Exporter], progress: Progress) -> dict[str, str]:
        """Bring the parts of all exporters up to date.

        Returns:
            name -> why, of those that failed or whose inputs did.
        """
        failed: dict[str, str] = {}
        whole = sum(_WEIGHTS.get(name, 1.0) for name in exporters) or 1.0
        kept: dict[str, Any] = {}
        done = 0.0
        for name, exporter in exporters.items():
            share = _WEIGHTS.get(name, 1.0) / whole
            lost = [need for need in exporter.needs if need in failed]
            if lost:
                failed[name] = f"it needs {lost[0]}, which failed"
            else:
                try:
                    self._make(exporter, kept, part(progress, done, done + share))
                except (Cancelled, OutputError, OSError, MemoryError):
                    raise
                except NothingToMake as why:
                    failed[name] = str(why)
                except Exception as error:
                    if EXPORTERS.is_built_in(name):
                        raise
                    log.info("the exporter %s failed", name, exc_info=error)
                    failed[name] = f"it failed: {type(error).__name__}: {error}".split("\n")[0]
            done += share
            progress(done)
        return failed

    def _make(self, exporter: Exporter, kept: dict[str, Any], progress: Progress) -> Part:
        name, store = exporter.name, self.store
        words = {*exporter.needs, *uses_of(exporter)}
        readable = {n: value for n, value in self.readable.items() if n in words}
        made = read_of(exporter, store.parts)
        options = self.options.get(name)
        if options is None and exporter.options is not None:
            options = exporter.options()
        settings = set(settings_of(exporter)) | ({"aoi"} if _AREA_OF & words else set())
        content = {
            "exporter": name,
            "version": exporter.version,
            "options": options,
            "settings": {key: getattr(self.config, key) for key in sorted(settings)},
        }
        key = store.key(content, [n for n in INPUTS if n in readable], list(made))
        found = store.find(name, key)
        if found is not None:
            return found
        inputs = ExportInputs(
            name,
            self.frame,
            self.accuracy,
            self.config,
            readable,
            {other: store.parts[other].products for other in made},
            kept,
        )
        with store.room(name) as room, store.collecting() as warnings:
            products = exporter.export(inputs, options, room, progress)
            return store.keep(name, key, room, tuple(products), warnings)

    def products(self) -> tuple[Product, ...]:
        """All that there are now."""
        return tuple(p for made in self.store.parts.values() for p in made.products)

    def entries(self) -> list[dict[str, Any]]:
        """The products, for `metadata.json`."""
        return [
            {
                "name": product.name,
                "kind": product.kind,
                "description": product.description,
                "bytes": product.path.stat().st_size,
                "sha256": self.store.sha256(product),
            }
            for product in self.products()
        ]

    def coverage(self, mesh: TriMesh | None, cloud: PointCloud | None) -> dict[str, Any]:
        """Sizes of the surface, and what exporters found of it."""
        numbers: dict[str, Any] = {}
        if mesh is not None:
            numbers |= {"faces": len(mesh.faces), "vertices": len(mesh.vertices)}
        numbers["cloud_points"] = 0 if cloud is None else len(cloud)
        for product in self.products():
            numbers |= product.facts
        return numbers
