"""Which exporters work, on what, and what happens where one cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import known_wall
import numpy as np
import pytest
from known_scene import GEO, inputs
from made_exporters import Written

from voxterra.core.artifact import Artifact
from voxterra.errors import MissingPartError, UsageError
from voxterra.products.config import ProductsConfig
from voxterra.products.exporter import ACROSS, EXPORTERS, FROM_ABOVE, for_photos
from voxterra.products.make import make_products
from voxterra.products.selection import select
from voxterra.testing import check_exporter


def chosen(only=(), skip=(), absent=None):
    return select(only, skip, absent or {})


def make(out: Path, only=(), skip=(), no=(), **options):
    """Products of the known scene, without the inputs `no`."""
    mesh, cloud, *others = inputs(GEO)
    config = ProductsConfig(only=only, skip=skip, gsd_m=1.0)
    found = make_products(
        None if "mesh" in no else mesh,
        None if "cloud" in no else cloud,
        *others,
        config,
        out_dir=out,
        run_info={},
        **options,
    )
    return {p.name for p in found}, json.loads((out / "metadata.json").read_text())


def test_names_and_groups_choose():
    assert set(chosen().exporters) == set(EXPORTERS.names())
    assert list(chosen(("ortho", "mesh")).exporters) == ["ortho", "glb", "obj", "mesh_ply"]
    assert list(chosen(("mesh", "raster"), ("obj", "dsm")).exporters) == [
        "ortho",
        "facade",
        "glb",
        "mesh_ply",
    ]
    assert "laz" not in chosen(skip=("cloud",)).exporters
    with pytest.raises(UsageError, match="'contours'") as caught:
        try:
            EXPORTERS.register("contours", Written("contours"))
            chosen(("dsm", "contuors"))
        finally:
            EXPORTERS.unregister("contours")
    assert caught.value.where == "--products.only" and "survey" in caught.value.next_step


def test_products_follow_the_way_photos_look_unless_named(registered):
    registered(Written("contours", ("dsm",)))
    above, across = select((), (), {}, {FROM_ABOVE}), select((), (), {}, {ACROSS})
    assert "facade" not in above.exporters and not above.unmet
    assert {"dsm", "ortho", "contours"} == set(across.unmet)
    assert "facade" in across.exporters and not {"dsm", "contours"} & set(across.exporters)
    assert set(select(("raster",), (), {}, {FROM_ABOVE}).exporters) == {"dsm", "ortho"}
    named = select(("contours", "facade"), (), {}, {ACROSS})
    assert list(named.exporters) == ["dsm", "facade", "contours"] and not named.unmet


def test_what_an_exporter_needs_is_made_before_it(registered):
    registered(Written("index", uses=("*",)), Written("contours", needs=("dtm",)), Written("dtm"))
    assert list(chosen(("index", "contours")).exporters) == ["dtm", "contours", "index"]
    skipped = chosen(skip=("dtm",))
    assert "contours" not in skipped.exporters and "--products.skip" in skipped.unmet["contours"]
    assert "index" in skipped.exporters  # it only uses the others
    without = chosen(absent={"mesh": "none is made"})
    assert without.unmet["ortho"] == "no mesh: none is made" and "cameras" in without.exporters
    registered(Written("a", needs=("b",)), Written("b", needs=("a",)))
    with pytest.raises(UsageError, match="a, b"):
        chosen(("a",))
    registered(Written("lost", needs=("orto",)))
    with pytest.raises(UsageError, match="did you mean 'ortho'"):
        chosen(("lost",))


def test_an_exporter_that_does_not_load_breaks_only_what_asks_for_it(monkeypatch):
    monkeypatch.setattr(EXPORTERS, "_installed", {"broken": ("no.such.module:X", "their-package")})
    assert "broken" not in chosen().exporters
    with pytest.raises(MissingPartError, match="No module"):
        chosen(("broken",))


def test_an_exporter_gets_what_it_declares_and_nothing_else(registered, tmp_path):
    tables = Written(
        "table", ("cameras", "dsm"), text=lambda i, out: f"{i.path('dsm.tif').stat().st_size}"
    )
    registered(tables)
    names, data = make(tmp_path, ("table",))
    assert names >= {"dsm.tif", "table.txt", "metadata.json"} and not data["skipped"]
    assert not names & {"ortho.tif", "scene.ply"}
    assert (tmp_path / "table.txt").read_text() == str((tmp_path / "dsm.tif").stat().st_size)
    registered(Written("greedy", ("cameras",), text=lambda i, out: str(len(i.mesh.faces))))
    _, data = make(tmp_path, ("greedy",))
    assert "'mesh'" in data["skipped"]["greedy"]


def test_a_surface_without_mesh_and_cloud_has_the_products_that_need_none(tmp_path, caplog):
    names, data = make(tmp_path, no=("mesh", "cloud"), made_by="splats")
    assert names == {"cameras.geojson", "metadata.json"}
    assert data["skipped"]["ortho"] == "no mesh: the surface backend splats has none"
    assert set(data["skipped"]) == {"dsm", "ortho", "glb", "obj", "mesh_ply", "laz", "cloud_ply"}
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "products that are not made: dsm, ortho, glb, obj, mesh_ply "
        "(no mesh: the surface backend splats has none)",
        "products that are not made: laz, cloud_ply (no cloud: it is empty)",
    ]
    assert data["coverage"] == {"cloud_points": 0}


def test_files_of_the_surface_are_products(tmp_path):
    model = tmp_path / "work" / "m.bin"
    model.parent.mkdir()
    model.write_bytes(b"splats")
    artifacts = (Artifact("splats.ply", model, "model", "Splats"),)
    names, data = make(tmp_path / "out", ("model",), artifacts=artifacts)
    assert names == {"splats.ply", "metadata.json"}
    assert data["products"][0]["description"] == "Splats" and data["products"][0]["bytes"] == 6
    (tmp_path / "out/splats.ply").write_bytes(b"edited")
    assert model.read_bytes() == b"splats"


def test_an_exporter_of_others_that_fails_leaves_the_rest(registered, tmp_path, caplog):
    def fail(inputs, out_dir):
        (out_dir / "half.txt").write_text("x")
        raise KeyError("oops")

    registered(Written("faulty", text=fail), Written("after", needs=("faulty",)))
    names, data = make(tmp_path, ("faulty", "after", "mesh_ply"))
    assert names == {"scene.ply", "metadata.json"} == {p.name for p in tmp_path.iterdir()}
    assert data["skipped"] == {
        "faulty": "it failed: KeyError: 'oops'",
        "after": "it needs faulty, which failed",
    }
    assert "faulty" in caplog.text


def test_files_of_others_and_files_that_are_not_there_are_refused(registered, tmp_path):
    def over(inputs, out_dir):
        (out_dir / "scene.ply").write_text("mine")
        return ""

    registered(Written("over", text=over))
    _, data = make(tmp_path, ("mesh_ply", "over"))
    assert "scene.ply" in data["skipped"]["over"] and "'mesh_ply'" in data["skipped"]["over"]
    assert (tmp_path / "scene.ply").read_bytes().startswith(b"ply")


def test_all_files_of_a_folder_are_delivered(registered, tmp_path):
    def tiles(inputs, out_dir):
        (out_dir / "tiles").mkdir()
        (out_dir / "tiles/0.glb").write_text("tile")
        return ""

    registered(Written("tiles", text=tiles))
    make(tmp_path, ("tiles",))
    assert (tmp_path / "tiles/0.glb").read_text() == "tile" and (tmp_path / "tiles.txt").exists()


class Noting:
    """Stands for `ProductsConfig` and notes what is read of it."""

    def __init__(self, config, read):
        self._config, self._read = config, read

    def __getattr__(self, name):
        self._read.add(name)
        return getattr(self._config, name)


def test_built_in_exporters_declare_all_options_that_they_read(tmp_path, monkeypatch):
    for name in EXPORTERS.names():
        exporter, read = EXPORTERS.get(name), set()
        real = type(exporter).export

        def noted(self, given, *rest, read=read, real=real):
            return real(self, replace(given, config=Noting(given.config, read)), *rest)

        monkeypatch.setattr(type(exporter), "export", noted)
        if for_photos(exporter) == ACROSS:
            known_wall.make(tmp_path / name, ProductsConfig(only=(name,)))
        else:
            make(tmp_path / name, (name,))
        assert read == set(getattr(exporter, "settings", ())), name
        monkeypatch.undo()
    assert np.unique([EXPORTERS.get(n).license for n in EXPORTERS.names()]).tolist() == [
        "Apache-2.0"
    ]


def test_exporters_are_tried_by_their_authors_on_the_map_and_off_it(tmp_path):
    for name in EXPORTERS.names():
        made = check_exporter(EXPORTERS.get(name), tmp_path / name)
        assert {"metadata.json"} <= {p.name for p in made["map"]}
    terrain = Written("terrain", ("mesh",), text=lambda i, out: i.path("dsm.tif").name)
    with pytest.raises(AssertionError, match=r"terrain: .*'dsm.tif'"):
        check_exporter(terrain, tmp_path / "terrain")
    assert "terrain" not in EXPORTERS.names()
