"""All products of a known scene: places, colours, frames, accuracy and what is not made."""

import json
from pathlib import Path

import laspy
import numpy as np
import pyogrio
import pytest
import rasterio
import tifffile
import trimesh
from known_scene import (
    BLUE,
    BLUE_AT,
    BLUE_TOP,
    GEO,
    GREY,
    RED,
    RED_AT,
    RED_TOP,
    SIDE,
    STATED,
    Made,
    color,
    inputs,
    make,
    on_map,
    views,
)
from pyproj import CRS, Transformer
from rio_cogeo.cogeo import cog_validate

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import TriMesh
from voxterra.errors import ReconstructionError, UsageError
from voxterra.products.config import ProductsConfig
from voxterra.products.make import make_products
from voxterra.testing import look_at, photograph


def test_all_files_are_there_and_nothing_else(geo: Made) -> None:
    names = {p.name for p in geo.products}
    assert names == {
        "scene.glb", "scene.obj", "scene.ply", "cloud.laz", "cloud.ply", "dsm.tif",
        "dsm_source.tif", "dsm_source.tif.aux.xml", "ortho.tif", "cameras.geojson", "metadata.json",
    }  # fmt: skip
    assert {p.name for p in geo.folder.iterdir()} == names
    assert all(p.description and p.path.stat().st_size > 0 for p in geo.products)


def test_dsm_has_the_boxes_where_they_stand(geo: Made) -> None:
    assert cog_validate(geo.path("dsm.tif"), strict=True)[0]
    with rasterio.open(geo.path("dsm.tif")) as dsm:
        subs = CRS.from_wkt(dsm.crs.to_wkt()).sub_crs_list
        assert [c.to_epsg() for c in subs] == [25832, 5773]
        cell = dsm.transform.a
        assert cell == pytest.approx(0.3)  # 40 m / 280 px = 0.143 m -> 0.15 m, twice that
        for edge in (dsm.bounds.left, dsm.bounds.top):
            assert edge / cell == pytest.approx(round(edge / cell), abs=1e-4)
        for (x, y), z in ((RED_AT, RED_TOP), (BLUE_AT, BLUE_TOP), ((-12.0, 0.0), 0.0)):
            place = on_map(x, y, z)
            height, source = next(dsm.sample([place[:2]]))
            assert height == pytest.approx(place[2], abs=0.01)
            assert source == 1
        high = dsm.read(1, masked=True) > on_map(0, 0, 4)[2]
        assert high.sum() * cell**2 == pytest.approx(SIDE**2, rel=0.12)
        assert dsm.read(1)[0, 0] == -9999 and dsm.read(2)[0, 0] == 0


def test_ortho_shows_the_boxes_where_they_stand(geo: Made) -> None:
    assert cog_validate(geo.path("ortho.tif"), strict=True)[0]
    with rasterio.open(geo.path("ortho.tif")) as ortho, rasterio.open(geo.path("dsm.tif")) as dsm:
        assert ortho.crs.to_epsg() == 25832 and ortho.transform.a == pytest.approx(0.15)
        np.testing.assert_allclose(ortho.bounds, dsm.bounds, atol=1e-6)
        image = np.moveaxis(ortho.read(), 0, 2).astype(float)
        for (x, y), paint in ((RED_AT, RED), (BLUE_AT, BLUE), ((-12, 0), GREY), ((0, -12), GREY)):
            rgba = next(ortho.sample([on_map(x, y, 0)[:2]]))
            assert rgba[3] == 255
            np.testing.assert_allclose(rgba[:3], 255 * np.array(paint), atol=8)
        # The walls lean in every photo; a true orthophoto shows the roofs' outlines alone.
        for channel, other in ((0, 2), (2, 0)):
            colored = (image[..., channel] > 120) & (image[..., other] < 60)
            assert colored.sum() * 0.15**2 == pytest.approx(SIDE**2, rel=0.08)
        # Away from the ground's edge, where the photos show black beside it.
        inner = image[40:-40, 40:-40]
        gray = inner[(inner[..., 3] == 255) & (np.ptp(inner[..., :3], axis=2) < 10)]
        assert len(gray) > 20_000
        # Exposures differ by 20 %: levelled they agree.
        assert np.std(gray[:, 1]) < 2.0
        assert image[0, 0, 3] == 0


def test_cloud_and_meshes_agree_with_the_map(geo: Made) -> None:
    data = laspy.read(geo.path("cloud.laz"))
    assert [c.to_epsg() for c in data.header.parse_crs().sub_crs_list] == [25832, 5773]
    blue = (data.blue > 40000) & (data.red < 10000)
    middle = data.xyz[blue].mean(axis=0)[:2]
    np.testing.assert_allclose(middle, on_map(*BLUE_AT, 0)[:2], atol=0.3)
    assert data.xyz[:, 2].max() == pytest.approx(on_map(0, 0, BLUE_TOP)[2], abs=0.02)
    ply = trimesh.load(geo.path("cloud.ply"))
    blue_ply = (ply.colors[:, 2] > 150) & (ply.colors[:, 0] < 50)
    np.testing.assert_allclose(ply.vertices[blue_ply].mean(axis=0)[:2], BLUE_AT, atol=0.3)

    glb = trimesh.load(geo.path("scene.glb")).to_geometry()
    top = glb.vertices[glb.vertices[:, 1] > 4.9]
    np.testing.assert_allclose(top.mean(axis=0), [12, 5, 0], atol=0.01)
    red_top = glb.vertices[np.abs(glb.vertices[:, 1] - RED_TOP) < 0.01]
    red_top = red_top[np.abs(red_top[:, 0]) < 2.1]
    np.testing.assert_allclose(red_top.mean(axis=0), [0, 3, -12], atol=0.01)
    for name in ("scene.obj", "scene.ply"):
        mesh = trimesh.load(geo.path(name), process=False)
        assert len(mesh.faces) == len(glb.faces)
        np.testing.assert_allclose(mesh.bounds, [[-20, -20, -1], [20, 20, 5]], atol=1e-4)


def test_cameras_geojson(geo: Made) -> None:
    data = json.loads(geo.path("cameras.geojson").read_text())
    assert data["type"] == "FeatureCollection" and "crs" not in data
    cameras = [f for f in data["features"] if f["properties"].get("kind") == "camera"]
    assert [c["properties"]["name"] for c in cameras] == [f"{i}.jpg" for i in range(5)]
    lon, lat, height = cameras[2]["geometry"]["coordinates"]
    expected = GEO.to_lonlat(np.array([[9.0, -7.0, 40.0]]))[0]
    np.testing.assert_allclose([lon, lat, height], expected, atol=1e-4)
    properties = cameras[3]["properties"]
    assert properties["gps_outlier"] is True and properties["gps_residual_up_m"] == 0.3
    assert properties["pitch_deg"] == pytest.approx(-90, abs=1e-3)
    assert "height_orthometric_m" in properties
    prints = [f for f in data["features"] if f["properties"].get("kind") == "footprint"]
    assert len(prints) == 5
    ring = np.array(prints[0]["geometry"]["coordinates"][0])
    assert ring.shape == (5, 2) and (ring[0] == ring[-1]).all()
    signed = (ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]).sum()
    assert signed > 0
    size = np.ptp(GEO.from_lonlat(np.column_stack([ring, np.full(5, 198.46)])), axis=0)
    np.testing.assert_allclose(size[:2], [320 / 7, 240 / 7], rtol=0.04)
    (left_out,) = [f for f in data["features"] if f["properties"].get("registered") is False]
    assert left_out["properties"]["name"] == "left_out.jpg"


def test_cameras_geojson_in_gdal(geo: Made) -> None:
    info = pyogrio.read_info(geo.path("cameras.geojson"))
    assert info["crs"] == "EPSG:4326" and info["features"] == 11
    fields, _, shapes, values = pyogrio.raw.read(geo.path("cameras.geojson"))
    columns = dict(zip(fields["fields"], values, strict=True))
    cameras = columns["kind"] == "camera"
    assert list(columns["name"][cameras]) == [f"{i}.jpg" for i in range(5)]
    # Well-known binary: a point with three coordinates.
    points = np.array([np.frombuffer(wkb, "<f8", 3, 5) for wkb in shapes[cameras]])
    np.testing.assert_allclose(
        geo.frame.from_lonlat(points), [v.center_in_world for v in views()], atol=1e-3
    )
    assert {int.from_bytes(wkb[1:5], "little") for wkb in shapes[cameras]} == {0x80000001}
    assert {wkb[1] for wkb in shapes[columns["kind"] == "footprint"]} == {3}
    np.testing.assert_allclose(columns["pitch_deg"][cameras], -90, atol=1e-3)


def test_rasters_without_gdal(geo: Made) -> None:
    with tifffile.TiffFile(geo.path("ortho.tif")) as tiff:
        image, keys = tiff.pages[0].asarray(), tiff.pages[0].geotiff_tags
    assert keys["ProjectedCSTypeGeoKey"] == 25832
    left, top, cell = *keys["ModelTiepoint"][3:5], keys["ModelPixelScale"][0]
    for (x, y), paint in ((RED_AT, RED), (BLUE_AT, BLUE), ((-12, 0), GREY)):
        east, north, _ = on_map(x, y, 0)
        rgba = image[int((top - north) / cell), int((east - left) / cell)]
        np.testing.assert_allclose(rgba, [*(255 * np.array(paint)), 255], atol=8)


def test_metadata(geo: Made) -> None:
    data = json.loads(geo.path("metadata.json").read_text())
    assert data["created"] == "2026-01-02T03:04:05Z" and data["config"] == {"x": 1}
    assert data["run"] == {"preset": "preview"} and data["license"] == "CC0-1.0"
    assert CRS.from_wkt(data["crs_wkt"]).is_compound and data["crs"] == "EPSG:25832"
    assert "5773" in data["vertical_datum"] and data["scale"] == {"known": True, "unit": "m"}
    ecef = np.array(data["transform"]["ecef_from_world"]) @ [12, 0, 5, 1]
    back = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*ecef[:3])
    np.testing.assert_allclose(back, GEO.to_lonlat(np.array([[12.0, 0, 5]]))[0], atol=1e-6)
    assert {p["name"] for p in data["products"]} == {p.name for p in geo.products} - {
        "metadata.json"
    }
    assert all(len(p["sha256"]) == 64 and p["bytes"] > 0 for p in data["products"])
    by_id = {p["id"]: p for p in data["photos"]}
    assert by_id["1.jpg"]["sha256"] == "sha-1.jpg" and by_id["1.jpg"]["registered"]
    assert not by_id["left_out.jpg"]["registered"] and by_id["bad.txt"]["rejected"]
    (component,) = data["accuracy"]["components"]
    assert component["rmse_horizontal_m"] == 0.22 and component["outliers"] == ["3.jpg"]
    assert data["accuracy"]["warnings"] == ["a warning"]
    assert data["accuracy"]["check_points"] == 0 and data["accuracy"]["statement"] == STATED
    # ETRS89 and WGS 84 agree no better than PROJ says they do.
    assert data["accuracy"]["datum_tie_accuracy_m"] == GEO.map_accuracy_m()
    assert data["coverage"]["area_measured"] == pytest.approx(1600, rel=0.02)
    assert data["coverage"]["area_unit"] == "square m"
    assert data["coverage"]["dsm_cell_unit"] == "m" and "note" not in data["coverage"]
    for name in ("voxterra", "numpy", "numba", "pycolmap", "gdal"):
        assert data["software"][name]


def test_local_frame_says_so_everywhere(local: Made) -> None:
    assert "cameras.json" in {p.name for p in local.products}
    assert "cameras.geojson" not in {p.name for p in local.products}
    for name in ("dsm.tif", "ortho.tif"):
        with rasterio.open(local.path(name)) as dataset:
            assert dataset.crs is None and "scale unknown" in dataset.tags()["SCALE"]
    with rasterio.open(local.path("dsm.tif")) as dsm:
        assert next(dsm.sample([BLUE_AT]))[0] == pytest.approx(BLUE_TOP, abs=1e-3)
    for name in ("scene.ply", "cloud.ply", "scene.obj", "scene.glb", "cloud.laz"):
        assert b"scale unknown" in local.path(name).read_bytes()
    data = json.loads(local.path("metadata.json").read_text())
    assert data["crs"] is None and data["origin"] is None and data["license"] is None
    assert data["scale"] == {"known": False, "unit": "model units"}
    cameras = json.loads(local.path("cameras.json").read_text())["cameras"]
    assert cameras[1]["center_in_world"] == pytest.approx([-8, -8, 40])


def test_every_product_carries_the_accuracy(geo: Made, local: Made) -> None:
    unknown = "unknown: not placed on the map; scale unknown; no check points used"
    for made, line in ((geo, STATED), (local, unknown)):
        for name in ("scene.glb", "scene.obj", "scene.ply", "cloud.laz", "cloud.ply"):
            head = made.path(name).read_bytes()[:30_000]
            assert line.encode() in head, name
        for name in ("dsm.tif", "ortho.tif"):
            with rasterio.open(made.path(name)) as dataset:
                assert dataset.tags()["ACCURACY"] == line
        cameras = "cameras.json" if made.frame.is_local else "cameras.geojson"
        for name, of in ((cameras, lambda d: d), ("metadata.json", lambda d: d["accuracy"])):
            text = of(json.loads(made.path(name).read_text()))
            assert line in (text.get("accuracy"), text.get("statement"))


def test_descriptions_name_the_unit_of_cells(geo: Made, local: Made, tmp_path: Path) -> None:
    feet = GeoFrame("geo", -121.0, 38.0, 20.0, "EPSG:2226")
    in_feet = make(feet, tmp_path, ProductsConfig(only=("dsm",), gsd_m=0.5))
    for made, unit in ((geo, "0.3 m,"), (local, "0.3 model units,"), (in_feet, "US survey ft,")):
        (text,) = [p.description for p in made.products if p.name == "dsm.tif"]
        assert text.startswith("Surface model, cells of ") and unit in text
    numbers = json.loads((tmp_path / "metadata.json").read_text())["coverage"]
    assert numbers["area_unit"] == "square US survey ft"
    # One metre is 3.2808 survey feet: what is called feet is in feet.
    assert numbers["area_measured"] == pytest.approx(1600 * 3.2808**2, rel=0.05)
    assert numbers["dsm_cell_size"] == pytest.approx(1.0 * 3.2808, rel=1e-3)


def test_photos_that_look_across_are_remarked(tmp_path: Path) -> None:
    mesh, cloud, _, georeference, photos = inputs(GeoFrame.local())
    cameras = [look_at(f"{x}.jpg", (x, -30, 2), (x, 0, 2), focal_px=280.0) for x in (-5, 0, 5)]
    make_products(
        mesh, cloud, photograph(mesh, cameras, color), georeference, photos,
        ProductsConfig(only=("dsm",)), out_dir=tmp_path, run_info={},
    )  # fmt: skip
    note = json.loads((tmp_path / "metadata.json").read_text())["coverage"]["note"]
    assert "look across" in note


def test_chosen_products_and_cell_size_only(tmp_path: Path) -> None:
    config = ProductsConfig(only=("dsm",), gsd_m=0.5, dsm_gsd_factor=1)
    made = make(GEO, tmp_path, config)
    of_dsm = {"dsm.tif", "dsm_source.tif", "dsm_source.tif.aux.xml"}
    assert {p.name for p in made.products} == {*of_dsm, "metadata.json"}
    with rasterio.open(tmp_path / "dsm.tif") as dsm:
        assert dsm.transform.a == 0.5


def test_wrong_options_and_an_empty_surface(tmp_path: Path) -> None:
    mesh, *others = inputs(GEO)
    for config in (
        ProductsConfig(only=("dms",)),
        ProductsConfig(gsd_m=-1.0),
        ProductsConfig(jpeg_quality=0),
    ):
        with pytest.raises(UsageError):
            make_products(mesh, *others, config, out_dir=tmp_path, run_info={})
    empty = TriMesh(mesh.vertices, np.zeros((0, 3), np.int32))
    with pytest.raises(ReconstructionError, match="empty"):
        make_products(empty, *others, ProductsConfig(), out_dir=tmp_path, run_info={})
    assert not list(tmp_path.iterdir())
