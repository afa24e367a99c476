"""Ground truth of the DTU data set: structured-light points, observed volume, ground plane.

Format: Jensen, Dahl, Vogiatzis, Tola and Aanæs, "Large Scale Multi-view Stereopsis Evaluation",
CVPR 2014. The observed volume is `ObsMaskN_10.mat` (a grid of the space that enough scans saw),
the plane that the objects stand on is `PlaneN.mat`, the points are `stlNNN_total.ply`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.errors import FormatError, InputError
from voxterra.io.ply import read_ply_cloud

Float = NDArray[np.float64]
_POINT_FOLDERS = ("Points/stl", "stl", ".")
_MASK_FOLDERS = ("ObsMask", "SampleSet/MVS Data/ObsMask", ".")


@dataclass(frozen=True)
class DtuTruth:
    """What a scan of DTU is scored against; lengths in mm, in the world of its calibration.

    Attributes:
        points: (N, 3) of the structured-light scanner [mm].
        observed: (X, Y, Z) bool; cell (i, j, k) is centred on `low + resolution * (i, j, k)`.
        low, high: (3,) corners of the box of `observed` [mm].
        resolution: edge of a cell [mm].
        plane: (4,) the side that counts is `plane @ (x, y, z, 1) > 0`.
    """

    points: Float
    observed: NDArray[np.bool_]
    low: Float
    high: Float
    resolution: float
    plane: Float

    def is_observed(self, points: Float) -> NDArray[np.bool_]:
        """(n,) whether points (n, 3) lie in the volume that was observed."""
        cell = np.rint((points - self.low) / self.resolution)
        inside = ((cell >= 0) & (cell < self.observed.shape)).all(axis=1)
        out = np.zeros(len(points), bool)
        out[inside] = self.observed[tuple(cell[inside].astype(np.int64).T)]
        return out

    def is_above_plane(self, points: Float) -> NDArray[np.bool_]:
        """(n,) whether points (n, 3) lie on the side of the plane where the object is."""
        return np.asarray(points @ self.plane[:3] + self.plane[3] > 0)

    def is_near_box(self, points: Float, margin: float) -> NDArray[np.bool_]:
        """(n,) whether points (n, 3) lie in the box, grown by a margin [mm] on all sides."""
        inside = (points >= self.low - margin) & (points <= self.high + margin)
        return np.asarray(inside.all(axis=1))


def read_dtu_truth(root: Path, scan: int) -> DtuTruth:
    """The truth of one scan, in the folders that the data set is delivered in.

    Args:
        root: holds `Points/stl/` (or `stl/`) and `ObsMask/`; all files may also lie in it itself.
        scan: number, such as 24.

    Raises:
        InputError: a file is missing; names it and the folders searched.
        FormatError: a file does not follow its format.
    """
    root = Path(root)
    names = [f"stl{scan:03d}_total.ply", f"stl{scan}_total.ply"]
    cloud = _find(root, _POINT_FOLDERS, names, "the points of the scanner")
    names = [f"ObsMask{scan}_10.mat", f"ObsMask{scan:03d}_10.mat"]
    mask_file = _find(root, _MASK_FOLDERS, names, "the observed volume")
    names = [f"Plane{scan}.mat", f"Plane{scan:03d}.mat"]
    plane_file = _find(root, _MASK_FOLDERS, names, "the ground plane")
    box = _array(mask_file, "BB", (2, 3)).astype(float)
    observed = _array(mask_file, "ObsMask", None)
    resolution = float(_array(mask_file, "Res", None).reshape(-1)[0])
    if observed.ndim != 3 or not resolution > 0 or not np.isfinite(box).all():
        raise FormatError(
            "The observed volume is no grid with a box and a resolution.",
            where=str(mask_file),
            next_step="Copy the file again from the data set's ObsMask folder.",
        )
    plane = _array(plane_file, "P", None).astype(float).reshape(-1)
    if plane.shape != (4,):
        raise FormatError(
            f"A plane has 4 numbers, this file has {plane.size}.",
            where=str(plane_file),
            next_step="Copy the file again from the data set's ObsMask folder.",
        )
    points = np.asarray(read_ply_cloud(cloud).positions_in_world, np.float64)
    return DtuTruth(points, observed.astype(bool), box[0], box[1], resolution, plane)


def _find(root: Path, folders: Sequence[str], names: Sequence[str], what: str) -> Path:
    places = [root / folder / name for folder in folders for name in names]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            f"There is no {folders[0]}/{names[0]}, {what}.",
            where=str(root),
            next_step="Give the folder of DTU's ground truth that has Points/stl and ObsMask "
            "(both are downloads of the data set's own page).",
        )
    return found


def _array(path: Path, name: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """A variable of a MATLAB file."""
    from scipy.io import loadmat

    try:
        values = np.asarray(loadmat(path, variable_names=[name])[name])
        if values.dtype.kind not in "biuf" or not values.size:
            raise ValueError(f"{name} is no array of numbers")
        if shape is not None and values.shape != shape:
            raise ValueError(f"{name} is {values.shape}, not {shape}")
    except NotImplementedError as error:
        raise FormatError(
            "This MATLAB file is of version 7.3, which cannot be read here.",
            where=str(path),
            next_step="Save it with -v7, or take the file as the data set delivers it.",
        ) from error
    except Exception as error:  # a damaged file makes scipy raise almost anything
        raise FormatError(
            f"{name} cannot be read from this MATLAB file: {error}.",
            where=str(path),
            next_step="Copy the file again from the data set's ObsMask folder.",
        ) from error
    return values
