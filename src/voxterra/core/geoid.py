"""Geoid heights from the EGM96 grid that ships with the package.

The grid is NGA's 15-arcminute EGM96 in the GTX format of NOAA's VDatum (public domain), as
distributed by PROJ. It is read here rather than through PROJ because PROJ returns heights
unchanged when it does not find a grid.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray


@cache
def _grid() -> tuple[float, float, float, float, NDArray[np.float64]]:
    data = files("voxterra.core").joinpath("grids/egm96_15.gtx").read_bytes()
    south, west, d_lat, d_lon = np.frombuffer(data, ">f8", 4)
    rows, cols = np.frombuffer(data, ">i4", 2, offset=32)
    values = np.frombuffer(data, ">f4", rows * cols, offset=40).reshape(rows, cols)
    return float(south), float(west), float(d_lat), float(d_lon), values.astype(np.float64)


def undulation_m(lon: ArrayLike, lat: ArrayLike) -> NDArray[np.float64]:
    """Height of the EGM96 geoid above the WGS 84 ellipsoid, bilinear in the grid [m].

    `height_ellipsoidal_m = height_orthometric_m + undulation_m`.

    Args:
        lon, lat: [deg], broadcast against each other; any longitude, |lat| <= 90.

    Raises:
        ValueError: a latitude outside [-90, 90], or a value that is not finite.
    """
    lon, lat = np.broadcast_arrays(np.asarray(lon, float), np.asarray(lat, float))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all() and (np.abs(lat) <= 90).all()):
        raise ValueError("longitudes and latitudes must be finite, and latitudes within 90 deg")
    south, west, d_lat, d_lon, values = _grid()
    rows, cols = values.shape
    row = (lat - south) / d_lat
    col = ((lon - west) % 360.0) / d_lon
    r0 = np.clip(np.floor(row).astype(int), 0, rows - 2)
    c0 = np.floor(col).astype(int)
    fr, fc = row - r0, col - c0
    c0, c1 = c0 % cols, (c0 + 1) % cols
    lower = values[r0, c0] * (1 - fc) + values[r0, c1] * fc
    upper = values[r0 + 1, c0] * (1 - fc) + values[r0 + 1, c1] * fc
    height: NDArray[np.float64] = lower * (1 - fr) + upper * fr
    return height
