"""What is still right is not made again: products by exporter, from run to run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from known_scene import GEO, inputs
from made_exporters import StepOptions, Written

from voxterra.errors import Cancelled
from voxterra.pipeline.engine.collected_warnings import collecting_warnings
from voxterra.pipeline.folder.fingerprint import canonical
from voxterra.products import dsm, ortho
from voxterra.products.config import ProductsConfig
from voxterra.products.exporter import EXPORTERS
from voxterra.products.make import make_products
from voxterra.products.parts import PartCache

INPUTS = ("frame", "mesh", "cloud", "photos", "depth", "cameras", "artifacts")


@dataclass
class Runs:
    """Products of the known scene made again and again, as the stage of a run makes them."""

    root: Path
    made: list[str] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=lambda: dict.fromkeys(INPUTS, "1"))

    def go(self, config=None, plugin_options=None, *, stop_at=None, **results) -> list[str]:
        """The names of the exporters that worked; the products take the place of earlier ones."""
        self.made.clear()
        self.results |= results
        begun = self.root / "partial"
        cache = PartCache(
            begun / "parts.json",
            (self.root / "done/parts.json", self.root / "done/products"),
            self.results,
            canonical,
            partial(collecting_warnings, "products"),
        )

        def progress(fraction, message=""):
            if stop_at is not None and stop_at in self.made:
                raise Cancelled("stopped")

        config = config or ProductsConfig()
        config = replace(config, gsd_m=config.gsd_m or 1.0)
        make_products(
            *inputs(GEO),
            config,
            out_dir=begun / "products",
            run_info={},
            plugin_options=plugin_options or {},
            cache=cache,
            progress=progress,
        )
        if (self.root / "done").exists():
            (self.root / "done").rename(self.root / f"old_{len(list(self.root.iterdir()))}")
        begun.rename(self.root / "done")
        return list(self.made)

    def file(self, name: str) -> Path:
        return self.root / "done/products" / name


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Runs:
    found = Runs(tmp_path)
    for name in EXPORTERS.names():
        kind = type(EXPORTERS.get(name))

        def counted(self, *args, real=kind.export, name=name):
            found.made.append(name)
            return real(self, *args)

        monkeypatch.setattr(kind, "export", counted)
    return found


LIGHT = ("dsm", "glb", "laz", "cameras", "ortho")


def test_only_what_depends_on_a_change_is_made_again(runs, monkeypatch):
    config = ProductsConfig(only=LIGHT)
    photos = []
    monkeypatch.setattr(
        ortho, "blend_view", lambda *a, real=ortho.blend_view: photos.append(real(*a))
    )
    assert sorted(runs.go(config)) == sorted(LIGHT) and photos
    before, inode = runs.file("metadata.json").read_text(), runs.file("ortho.tif").stat().st_ino
    photos.clear()
    assert runs.go(config) == []
    assert runs.go(replace(config, license="CC0-1.0")) == []
    assert '"CC0-1.0"' in runs.file("metadata.json").read_text() != before
    assert runs.go(replace(config, only=(*LIGHT, "mesh_ply"))) == ["mesh_ply"]
    assert runs.go(replace(config, skip=("glb",))) == []
    assert not runs.file("scene.glb").exists() and not runs.file("scene.ply").exists()
    assert runs.go(config) == ["glb"]  # it was deleted
    assert runs.go(config, cloud="2") == ["laz"]
    assert sorted(runs.go(config, cameras="2")) == ["cameras"]
    assert not photos and runs.file("ortho.tif").stat().st_ino == inode
    assert sorted(runs.go(replace(config, jpeg_quality=80))) == ["glb", "ortho"] and photos
    assert sorted(runs.go(replace(config, jpeg_quality=80), frame="2")) == sorted(LIGHT)


def test_heights_are_computed_once_for_all_that_need_them(runs, monkeypatch):
    calls = []
    real = dsm.surface_raster
    monkeypatch.setattr(dsm, "surface_raster", lambda *a, **k: calls.append(1) or real(*a, **k))
    runs.go(ProductsConfig(only=("raster",)))
    assert len(calls) == 1
    runs.go(ProductsConfig(only=("raster",)))
    assert len(calls) == 1


def test_a_stopped_run_resumes_exporter_by_exporter(runs):
    config = ProductsConfig(only=LIGHT)
    with pytest.raises(Cancelled):
        runs.go(config, stop_at="glb")
    first = list(runs.made)
    assert first == ["dsm", "ortho", "glb"]
    assert runs.go(config) == ["glb", "laz", "cameras"]
    assert {p.name for p in runs.file("").iterdir()} == {
        "dsm.tif", "dsm_source.tif", "dsm_source.tif.aux.xml", "ortho.tif", "scene.glb",
        "cloud.laz", "cameras.geojson", "metadata.json",
    }  # fmt: skip


@pytest.mark.parametrize("how", ["gone", "other bytes", "no record", "broken record"])
def test_a_damaged_file_is_made_again_and_only_it(runs, how):
    config = ProductsConfig(only=("dsm", "mesh_ply"))
    runs.go(config)
    path, record = runs.file("scene.ply"), runs.root / "done/parts.json"
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "other bytes":
        path.write_bytes(bytes(255 - b for b in whole))
    else:
        record.write_text("" if how == "no record" else record.read_text().replace("mesh_ply", "x"))
    assert runs.go(config) == (["dsm", "mesh_ply"] if how == "no record" else ["mesh_ply"])
    assert path.read_bytes() == whole


def test_a_copy_with_other_times_is_right(runs):
    config = ProductsConfig(only=("mesh_ply",))
    runs.go(config)
    path = runs.file("scene.ply")
    path.write_bytes(path.read_bytes())
    assert runs.go(config) == []


def test_what_reads_a_product_follows_its_content(runs, registered):
    terrain = Written("dtm", ("mesh",))
    contours = Written("contours", ("dtm",), text=lambda i, out: i.path("dtm.txt").read_text())
    registered(terrain, contours)
    config = ProductsConfig(only=("contours",))
    for options, calls in (
        ({}, (1, 1)),
        ({"contours": StepOptions(2.0)}, (1, 2)),  # a light option
        ({"contours": StepOptions(2.0), "dtm": StepOptions(3.0)}, (2, 3)),
    ):
        runs.go(config, options)
        assert (terrain.calls, contours.calls) == calls
    runs.go(config, options, mesh="2")  # made again, with the same content
    assert (terrain.calls, contours.calls) == (3, 3)
    terrain.version = 2
    runs.go(config, options)
    assert (terrain.calls, contours.calls) == (4, 3)


def test_warnings_of_what_is_kept_are_repeated(runs, caplog):
    config = ProductsConfig(only=("dsm",), gsd_m=0.05, max_raster_px=10_000)
    for made in (["dsm"], []):
        caplog.clear()
        assert runs.go(config) == made
        assert "cells of 0.5 instead of 0.05" in caplog.text
