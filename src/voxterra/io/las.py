"""LAS 1.4 and LAZ point clouds in the map CRS.

Format: ASPRS, "LAS Specification 1.4 - R15"; point format 7 (GPS time and RGB).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud
from voxterra.core.progress import Progress, no_progress
from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.disk import cannot_read

_CHUNK = 500_000
_CONFIDENCE = "confidence"
_TEXT_AREA = ("LASF_Spec", 3)


def write_las(
    cloud: PointCloud,
    path: Path,
    frame: GeoFrame,
    *,
    accuracy: str | None = None,
    progress: Progress = no_progress,
) -> None:
    """The cloud in map coordinates, compressed when `path` ends in `.laz`.

    Coordinates are stored in millimetres; in a local frame as finely as its size allows.
    Colours are 16 bit, as the format asks; confidence is an extra byte field.
    `accuracy`, a line that says how well coordinates are known, becomes the text area description
    (record 3 of the specification).

    Raises:
        ValueError: the cloud has no points.
        OutputError: the file cannot be written.
    """
    import laspy
    from laspy.vlrs.known import WktCoordinateSystemVlr

    if not len(cloud):
        raise ValueError("a LAS file needs at least one point")
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.generating_software = "Voxterra"
    header.system_identifier = "EXTRACTION"
    header.vlrs.append(WktCoordinateSystemVlr(crs_wkt(frame)))
    if accuracy is not None:
        text = accuracy.encode("ascii", "replace") + b"\0"
        header.vlrs.append(laspy.VLR(*_TEXT_AREA, description="accuracy", record_data=text))
    header.global_encoding.wkt = True
    if cloud.confidence is not None:
        header.add_extra_dim(laspy.ExtraBytesParams(_CONFIDENCE, "float32", "0 to 1"))
    low, high = _map_bounds(cloud, frame)
    step = _step(frame, high - low)
    header.scales = np.full(3, step)
    header.offsets = np.floor((low + high) / 2 / (step * 1000)) * step * 1000
    compress = path.suffix.lower() == ".laz"
    with (
        atomic_path(path) as temporary,
        laspy.open(temporary, "w", header=header, do_compress=compress) as writer,
    ):
        for start in range(0, len(cloud), _CHUNK):
            writer.write_points(_records(cloud, slice(start, start + _CHUNK), frame, header))
            progress(min(1.0, (start + _CHUNK) / len(cloud)), f"{start} points written")


def read_las(path: Path) -> tuple[PointCloud, CRS | None]:
    """A cloud in map coordinates (float64) and the CRS the file names.

    Grey (128) where the file has no colours; 8-bit values in the 16-bit fields are recognised.

    Raises:
        FormatError: not a LAS or LAZ file, or damaged.
        InputError: the file cannot be opened.
    """
    import laspy

    try:
        _check_sizes(path)
        data = laspy.read(path)
        crs = data.header.parse_crs()
        positions = np.column_stack([data.x, data.y, data.z]).astype(np.float64)
        names = set(data.point_format.dimension_names)
        colors = np.full((len(positions), 3), 128, np.uint8)
        if {"red", "green", "blue"} <= names and len(positions):
            rgb = np.column_stack([data.red, data.green, data.blue]).astype(np.uint16)
            colors = (rgb if rgb.max() < 256 else rgb >> 8).astype(np.uint8)
        confidence = None
        if _CONFIDENCE in names:
            confidence = np.asarray(data[_CONFIDENCE], np.float32)
    except OSError as error:
        raise cannot_read(error, path) from error
    except Exception as error:  # laspy and its decoders raise many kinds on damaged files
        raise FormatError(
            f"This is not a readable LAS or LAZ file: {error}.",
            where=str(path),
            next_step="Give a LAS or LAZ file, or copy it again if it was cut off.",
        ) from error
    return PointCloud(positions, colors, confidence=confidence), crs


def _check_sizes(path: Path) -> None:
    """Raise ValueError if the header announces more points than the file can hold.

    laspy believes the header: a damaged count would have it fill the memory.
    """
    with open(path, "rb") as file:
        head, size = file.read(375), file.seek(0, 2)
    if head[:4] != b"LASF" or len(head) < 227:
        raise ValueError("its first bytes are not a LAS header")
    header_size, data_start, records = struct.unpack_from("<HII", head, 94)
    length, points = struct.unpack_from("<HI", head, 105)
    if head[25] >= 4 and len(head) >= 255:  # minor version: counts of LAS 1.4
        _, extended = struct.unpack_from("<QI", head, 235)
        (points,) = struct.unpack_from("<Q", head, 247)
        records += extended
    compressed = bool(head[104] & 0x80)
    # The best LAZ can do on real data is far from a thousandth.
    needed = points * length // (1000 if compressed else 1)
    if max(header_size, data_start, 54 * records, needed) > size:
        raise ValueError("its header promises more than the file holds")


def crs_wkt(frame: GeoFrame) -> str:
    """WKT of the product CRS in the oldest possible version: readers of LAS expect WKT 1."""
    crs = frame.product_crs()
    try:
        return str(crs.to_wkt("WKT1_GDAL"))
    except CRSError:  # a 3D projected CRS exists in WKT 2 only
        return str(crs.to_wkt())


def _step(frame: GeoFrame, size: NDArray[np.float64]) -> float:
    if not frame.is_local:
        return 0.001
    extent = max(float(size.max()), 1e-12)
    return float(10.0 ** min(-3, math.floor(math.log10(extent)) - 7))


def _map_bounds(
    cloud: PointCloud, frame: GeoFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) lowest and highest map coordinates of the box of the cloud, to choose offsets."""
    positions = cloud.positions_in_world
    low, high = positions.min(axis=0), positions.max(axis=0)
    corners = np.array(
        [
            [x, y, z]
            for x in (low[0], high[0])
            for y in (low[1], high[1])
            for z in (low[2], high[2])
        ],
        np.float64,
    )
    on_map = frame.to_map(corners)
    return on_map.min(axis=0), on_map.max(axis=0)


def _records(cloud: PointCloud, rows: slice, frame: GeoFrame, header: Any) -> Any:
    import laspy

    on_map = frame.to_map(cloud.positions_in_world[rows].astype(np.float64))
    record = laspy.ScaleAwarePointRecord.zeros(len(on_map), header=header)
    record.x, record.y, record.z = on_map[:, 0], on_map[:, 1], on_map[:, 2]
    for i, name in enumerate(("red", "green", "blue")):
        record[name] = cloud.colors[rows, i].astype(np.uint16) * 257
    record["return_number"] = np.ones(len(on_map), np.uint8)
    record["number_of_returns"] = np.ones(len(on_map), np.uint8)
    if cloud.confidence is not None:
        record[_CONFIDENCE] = cloud.confidence[rows].astype(np.float32)
    return record
