"""LAS and LAZ judged by LASzip, laspy, pyproj and the bytes that the specification names."""

import struct
from pathlib import Path

import laspy
import numpy as np
import pytest
from pyproj import CRS, Transformer

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud
from voxterra.errors import FormatError, InputError
from voxterra.io.las import read_las, write_las

GEO = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832")


def cloud(n: int = 2000, size: float = 80.0) -> PointCloud:
    rng = np.random.default_rng(0)
    return PointCloud(
        rng.uniform(-size, size, (n, 3)).astype(np.float32),
        rng.integers(0, 256, (n, 3)).astype(np.uint8),
        confidence=rng.random(n).astype(np.float32),
    )


def test_laz_has_map_coordinates_colours_and_crs(tmp_path: Path) -> None:
    points = cloud()
    write_las(points, tmp_path / "cloud.laz", GEO)
    data = laspy.read(tmp_path / "cloud.laz")
    assert (str(data.header.version), data.header.point_format.id) == ("1.4", 7)
    assert data.header.global_encoding.wkt
    crs = data.header.parse_crs()
    assert [c.to_epsg() for c in crs.sub_crs_list] == [25832, 5773]
    np.testing.assert_array_equal(data.header.scales, [0.001] * 3)
    # Independent way to the map: PROJ's topocentric conversion.
    to_map = Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 +lon_0=9.9158 +lat_0=51.5413 "
        "+h_0=198.46 +step +inv +proj=cart +ellps=WGS84 +step +proj=utm +zone=32 +ellps=GRS80"
    )
    east, north, ellipsoidal = to_map.transform(*points.positions_in_world.T.astype(float))
    np.testing.assert_allclose(data.x, east, atol=0.0006)
    np.testing.assert_allclose(data.y, north, atol=0.0006)
    np.testing.assert_allclose(ellipsoidal - data.z, 45.961, atol=0.01)
    np.testing.assert_array_equal(
        np.column_stack([data.red, data.green, data.blue]) // 257, points.colors
    )
    np.testing.assert_array_equal(data["confidence"], points.confidence)
    assert data.header.x_min == pytest.approx(east.min(), abs=0.001)
    assert data.header.z_max == pytest.approx((ellipsoidal - 45.961).max(), abs=0.01)
    assert (data.return_number == 1).all() and (data.number_of_returns == 1).all()
    back, back_crs = read_las(tmp_path / "cloud.laz")
    assert back_crs is not None and back_crs.is_compound
    np.testing.assert_array_equal(back.colors, points.colors)
    np.testing.assert_allclose(
        GEO.from_map(back.positions_in_world), points.positions_in_world, atol=0.002
    )


def test_las_without_compression_and_ellipsoidal_heights(tmp_path: Path) -> None:
    frame = GeoFrame("geo", 9.9158, 51.5413, 198.46, "EPSG:25832", heights="ellipsoidal")
    write_las(cloud(10), tmp_path / "cloud.las", frame)
    data = laspy.read(tmp_path / "cloud.las")
    assert len(data.header.parse_crs().axis_info) == 3
    assert abs(np.asarray(data.z).mean() - 198.46) < 80


def test_local_frame_has_an_engineering_crs_and_a_fine_grid(tmp_path: Path) -> None:
    points = cloud(100, size=0.003)
    write_las(points, tmp_path / "cloud.laz", GeoFrame.local())
    data = laspy.read(tmp_path / "cloud.laz")
    wkt = next(v.string for v in data.header.vlrs if hasattr(v, "string"))
    assert wkt.startswith("LOCAL_CS") and "scale unknown" in wkt
    assert CRS.from_wkt(wkt).to_epsg() is None
    np.testing.assert_allclose(data.xyz, points.positions_in_world, atol=1e-8)


def test_more_points_than_a_chunk(tmp_path: Path) -> None:
    points, seen = cloud(500_001), []
    write_las(points, tmp_path / "c.las", GEO, progress=lambda f, m="": seen.append(f))
    assert laspy.read(tmp_path / "c.las").header.point_count == 500_001
    assert seen == [pytest.approx(500_000 / 500_001), 1.0]


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    write_las(cloud(100), tmp_path / "c.laz", GEO)
    data = (tmp_path / "c.laz").read_bytes()
    (tmp_path / "cut.laz").write_bytes(data[: len(data) // 2])
    (tmp_path / "junk.las").write_bytes(b"LASF" + b"\xff" * 500)
    for name in ("cut.laz", "junk.las"):
        with pytest.raises(FormatError):
            read_las(tmp_path / name)
    with pytest.raises(InputError):
        read_las(tmp_path / "none.laz")


def vlrs(data: bytes) -> dict[tuple[str, int], bytes]:
    """Variable length records by user and number, as the LAS 1.4 specification lays them out."""
    (at,), (count,) = struct.unpack_from("<H", data, 94), struct.unpack_from("<I", data, 100)
    records = {}
    for _ in range(count):
        user, number, length = struct.unpack_from("<2x16sHH", data, at)
        records[user.rstrip(b"\0").decode(), number] = data[at + 54 : at + 54 + length]
        at += 54 + length
    return records


def test_laz_read_by_laszip_and_by_its_bytes(tmp_path: Path) -> None:
    points, path = cloud(), tmp_path / "cloud.laz"
    write_las(points, path, GEO, accuracy="within 1 m")
    data = path.read_bytes()
    assert data[:4] == b"LASF" and data[24:26] == bytes([1, 4])
    assert struct.unpack_from("<H", data, 6)[0] & 0x10  # the CRS is WKT
    assert data[104] == 0x80 | 7  # compressed, point format 7
    scales, offsets = struct.unpack_from("<3d", data, 131), struct.unpack_from("<3d", data, 155)
    east_high, east_low = struct.unpack_from("<2d", data, 179)
    assert struct.unpack_from("<Q", data, 247) == (2000,)
    records = vlrs(data)
    wkt = CRS.from_wkt(records["LASF_Projection", 2112].rstrip(b"\0").decode())
    assert [c.to_epsg() for c in wkt.sub_crs_list] == [25832, 5773]
    assert records["LASF_Spec", 3] == b"within 1 m\0"
    # LASzip, where the file was written by lazrs.
    other = laspy.read(path, laz_backend=laspy.LazBackend.Laszip)
    expected = GEO.to_map(points.positions_in_world.astype(float))
    stored = np.column_stack([other.X, other.Y, other.Z]) * scales + offsets
    np.testing.assert_allclose(stored, expected, atol=0.00051)
    assert (east_low, east_high) == pytest.approx((stored[:, 0].min(), stored[:, 0].max()))
    colors = np.column_stack([other.red, other.green, other.blue])
    np.testing.assert_array_equal(colors, points.colors.astype(np.uint16) * 257)
    np.testing.assert_array_equal(other["confidence"], points.confidence)
