"""COG writers judged by rasterio and rio-cogeo, and by readers that do not use GDAL."""

import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import tifffile
from pyproj import CRS
from rasterio.errors import RasterioError
from rio_cogeo.cogeo import cog_validate

from voxterra.core.geo import GeoFrame
from voxterra.core.raster import ColorRaster, Grid, SurfaceRaster
from voxterra.errors import FormatError
from voxterra.io.geotiff import (
    _read_again,
    read_preview,
    read_raster,
    write_dsm,
    write_dsm_source,
    write_ortho,
)

GEO = GeoFrame("geo", 9.9, 51.5, 198.0, "EPSG:25832")
ELLIPSOIDAL = GeoFrame("geo", 9.9, 51.5, 198.0, "EPSG:25832", heights="ellipsoidal")
FEET = GeoFrame("geo", -121.0, 38.0, 20.0, "EPSG:2226")
LOCAL = GeoFrame.local()
GRID = Grid(563000.0, 5710000.0, 0.25, 1100, 700)


def surface(grid: Grid = GRID) -> SurfaceRaster:
    rng = np.random.default_rng(1)
    heights = rng.normal(150, 5, (grid.height, grid.width)).astype(np.float32)
    source = np.ones(heights.shape, np.uint8)
    source[:50], source[60:70, 20:30] = 0, 2
    heights[source == 0] = np.nan
    return SurfaceRaster(grid, heights, source)


def assert_cog(path: Path) -> None:
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)


def test_dsm_is_a_cog_with_compound_crs_and_source_band(tmp_path: Path) -> None:
    path = tmp_path / "dsm.tif"
    write_dsm(surface(), path, GEO)
    assert_cog(path)
    with rasterio.open(path) as dataset:
        assert dataset.nodata == -9999 and dataset.dtypes == ("float32", "float32")
        assert dataset.bounds == (563000.0, 5710000.0 - 175.0, 563000.0 + 275.0, 5710000.0)
        crs = CRS.from_wkt(dataset.crs.to_wkt())
        assert crs.is_compound
        assert [c.to_epsg() for c in crs.sub_crs_list] == [25832, 5773]
        assert "EPSG:5773" in dataset.descriptions[0]
        assert dataset.descriptions[1] == "source: 0 none, 1 measured, 2 weak, 3 coarse, 4 filled"
        assert dataset.units == ("metre", "class")
        assert dataset.overviews(1) and dataset.overviews(2)
        heights, source = dataset.read(1, masked=True), dataset.read(2)
    expected = surface()
    np.testing.assert_array_equal(heights.mask, np.isnan(expected.heights_m))
    np.testing.assert_array_equal(heights.filled(np.nan), expected.heights_m)
    np.testing.assert_array_equal(source, expected.source)
    bands, grid, wkt, nodata = read_raster(path)
    assert grid == GRID and nodata == -9999 and bands.shape == (2, 700, 1100)
    assert wkt is not None and "25832" in wkt


def test_ellipsoidal_heights_are_named(tmp_path: Path) -> None:
    write_dsm(surface(), tmp_path / "dsm.tif", ELLIPSOIDAL)
    with rasterio.open(tmp_path / "dsm.tif") as dataset:
        assert dataset.crs.to_epsg() == 25832
        assert "ellipsoidal" in dataset.descriptions[0]
        assert "ellipsoidal" in dataset.tags()["VERTICAL_DATUM"]
    assert [p.name for p in tmp_path.iterdir()] == ["dsm.tif"]  # no sidecar file


def test_feet_stay_feet_and_heights_metres(tmp_path: Path) -> None:
    write_dsm(surface(), tmp_path / "dsm.tif", FEET)
    with rasterio.open(tmp_path / "dsm.tif") as dataset:
        units = [a.unit_name for a in CRS.from_wkt(dataset.crs.to_wkt()).axis_info]
    assert units == ["US survey foot", "US survey foot", "metre"]


def test_local_frame_claims_no_metres_and_says_scale_unknown(tmp_path: Path) -> None:
    """GeoTIFF has no unknown unit: of any CRS, readers take lengths for metres."""
    write_dsm(surface(), tmp_path / "dsm.tif", LOCAL)
    assert_cog(tmp_path / "dsm.tif")
    with rasterio.open(tmp_path / "dsm.tif") as dataset:
        assert dataset.crs is None and not dataset.transform.is_identity
        assert "scale unknown" in dataset.tags()["SCALE"]
        assert dataset.units[0] == "model units"


def test_a_local_frame_of_known_scale_is_in_metres(tmp_path: Path) -> None:
    write_dsm(surface(), tmp_path / "dsm.tif", GeoFrame.local(scale_known=True))
    with rasterio.open(tmp_path / "dsm.tif") as dataset:
        assert dataset.crs.to_epsg() is None and not dataset.crs.is_projected
        assert 'UNIT["metre"' in dataset.crs.to_wkt()
        assert dataset.units[0] == "metre" and "SCALE" not in dataset.tags()


def test_ortho_is_rgba_cog(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 255, (700, 1100, 4)).astype(np.uint8)
    rgba[..., 3] = 255
    rgba[:100] = 0
    write_ortho(ColorRaster(GRID, rgba), tmp_path / "ortho.tif", GEO)
    assert_cog(tmp_path / "ortho.tif")
    with rasterio.open(tmp_path / "ortho.tif") as dataset:
        assert dataset.crs.to_epsg() == 25832
        assert [c.name for c in dataset.colorinterp] == ["red", "green", "blue", "alpha"]
        np.testing.assert_array_equal(np.moveaxis(dataset.read(), 0, 2), rgba)


@pytest.mark.parametrize("compression", ["jpeg", "webp"])
def test_lossy_ortho_keeps_its_mask(tmp_path: Path, compression: str) -> None:
    rgba = np.full((700, 1100, 4), (200, 200, 200, 255), np.uint8)
    rgba[:100] = 0
    write_ortho(ColorRaster(GRID, rgba), tmp_path / "o.tif", GEO, compression=compression)
    assert_cog(tmp_path / "o.tif")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        mask = dataset.dataset_mask()
        assert (mask[:96] == 0).all() and (mask[104:] == 255).all()
        assert abs(int(dataset.read(1)[400, 500]) - 200) <= 2
    preview = read_preview(tmp_path / "o.tif", 500)
    assert preview is not None and len(preview[0]) == 4
    assert (preview[0][3][:40] == 0).all() and (preview[0][3][60:] == 255).all()


def test_one_cell_raster(tmp_path: Path) -> None:
    write_dsm(surface(Grid(0.0, 1.0, 1.0, 1, 1)), tmp_path / "one.tif", LOCAL)
    assert read_raster(tmp_path / "one.tif")[1] == Grid(0.0, 1.0, 1.0, 1, 1)


def test_other_files_are_format_errors(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0nonsense")
    with pytest.raises(FormatError):
        read_raster(tmp_path / "x.tif")


# --- read without GDAL --------------------------------------------------------------------------


def decode_tile(page: tifffile.TiffPage, index: int) -> np.ndarray:
    """A tile of deflated floats, by the predictor of Adobe's TIFF technical note 3."""
    assert (page.compression, page.predictor, page.planarconfig) == (8, 3, 1)
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[index])
    packed = zlib.decompress(handle.read(page.databytecounts[index]))
    samples = page.samplesperpixel
    rows = np.frombuffer(packed, np.uint8).reshape(page.tilelength, -1, samples)
    rows = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(page.tilelength, 4, -1)
    values = np.ascontiguousarray(rows.transpose(0, 2, 1)).view(">f4")
    return values.reshape(page.tilelength, page.tilewidth, samples)


def test_dsm_read_without_gdal(tmp_path: Path) -> None:
    write_dsm(surface(), tmp_path / "dsm.tif", GEO, accuracy="stated")
    expected = surface()
    with tifffile.TiffFile(tmp_path / "dsm.tif") as tiff:
        page, *overviews = tiff.pages
        keys = page.geotiff_tags
        assert keys["ProjectedCSTypeGeoKey"] == 25832 and keys["VerticalCSTypeGeoKey"] == 5773
        assert keys["GTRasterTypeGeoKey"] == 1  # a pixel is an area
        assert keys["ModelPixelScale"][:2] == [0.25, 0.25]
        assert keys["ModelTiepoint"] == [0, 0, 0, 563000.0, 5710000.0, 0]
        assert (page.is_tiled, page.tilewidth, page.tilelength) == (True, 512, 512)
        assert page.nodata == -9999 and page.shape == (700, 1100, 2)
        assert "stated" in page.tags[42112].value
        assert [o.shape[:2] for o in overviews] == [(350, 550), (175, 275)]
        assert all(o.tags["NewSubfileType"].value & 1 for o in overviews)
        tile = decode_tile(page, 4)  # second row, second column of three
    heights, source = tile[: 700 - 512, :512, 0], tile[: 700 - 512, :512, 1]
    np.testing.assert_array_equal(heights, expected.heights_m[512:, 512:1024])
    np.testing.assert_array_equal(source, expected.source[512:, 512:1024])


def test_ortho_read_without_gdal(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 255, (700, 1100, 4)).astype(np.uint8)
    write_ortho(ColorRaster(GRID, rgba), tmp_path / "ortho.tif", GEO)
    with tifffile.TiffFile(tmp_path / "ortho.tif") as tiff:
        page, *overviews = tiff.pages
        np.testing.assert_array_equal(page.asarray(), rgba)
        assert page.geotiff_tags["ProjectedCSTypeGeoKey"] == 25832
        assert "VerticalCSTypeGeoKey" not in page.geotiff_tags
        assert page.photometric == 2 and page.extrasamples == (2,)  # RGB, alpha
        assert [o.shape[:2] for o in overviews] == [(350, 550), (175, 275)]


def test_a_preview_is_small_and_lies_where_the_raster_lies(tmp_path):
    grid = Grid(563_000.0, 5_710_200.0, 0.5, 400, 200)
    heights = np.tile(np.arange(400, dtype=np.float32), (200, 1))
    raster = SurfaceRaster(grid, heights, np.ones((200, 400), np.uint8))
    write_dsm(raster, tmp_path / "dsm.tif", GEO)
    found = read_preview(tmp_path / "dsm.tif", 100)
    assert found is not None
    bands, small, nodata = found
    assert bands.shape == (2, 50, 100) and nodata == -9999
    assert small.bounds == pytest.approx(grid.bounds)
    assert np.abs(np.diff(bands[0][0]) - 4).max() < 3  # still a slope of one a cell
    assert read_preview(tmp_path / "none.tif", 100) is None
    (tmp_path / "bad.tif").write_bytes(b"no raster")
    with pytest.raises(FormatError, match="damaged"):
        read_preview(tmp_path / "bad.tif", 100)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_a_file_that_was_cut_off_is_noticed(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.tif"
    random = np.random.default_rng(2).integers(0, 255, (1100, 900, 4), np.uint8)
    write_ortho(ColorRaster(Grid(0.0, 0.0, 1.0, 900, 1100), random), path, LOCAL)
    _read_again(path, np.moveaxis(random, 2, 0))
    with pytest.raises(OSError, match="not what was written"):
        _read_again(path, np.zeros((4, 1100, 900), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises((OSError, RasterioError)):
        _read_again(path, None)


def test_sources_are_classes_with_names_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "dsm_source.tif"
    names = write_dsm_source(surface(), path, GEO, accuracy="stated")
    assert_cog(path)
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 0 and dataset.colorinterp[0].name == "palette"
        np.testing.assert_array_equal(dataset.read(1), surface().source)
        colors = dataset.colormap(1)
        assert len({colors[source][:3] for source in range(1, 5)}) == 4
        assert dataset.crs.to_epsg() == 25832 and dataset.tags()["ACCURACY"] == "stated"
    band = ElementTree.parse(names).find("PAMRasterBand")
    assert band is not None
    assert [c.text for c in band.iter("Category")][2] == "weak: one other photo agrees"
    counts = {row[0].text: row[2].text for row in band.iter("Row")}
    assert counts["2"] == "100" and counts["4"] == "0"
