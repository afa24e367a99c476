"""Ground truth of Tanks and Temples: scanner points, crop volume, alignment, camera trajectory.

Format: Knapitsch, Park, Zhou and Koltun, "Tanks and Temples: Benchmarking Large-Scale Scene
Reconstruction", ACM Transactions on Graphics 2017. A scene NAME has `NAME.ply`, `NAME.json` (the
volume that counts, a polygon swept along an axis), `NAME_trans.txt` (4x4, from the world of the
published cameras to the scanner's) and `NAME_COLMAP_SfM.log` (those cameras).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.transforms import Similarity
from voxterra.errors import FormatError, InputError
from voxterra.io.ply import read_ply_cloud
from voxterra.io.truth.cameras import PosedCameras

Float = NDArray[np.float64]
_AXES = {"X": (1, 2, 0), "Y": (0, 2, 1), "Z": (0, 1, 2)}  # across, across, along


@dataclass(frozen=True)
class CropVolume:
    """A polygon swept along an axis of the truth's world.

    Attributes:
        polygon: (K, 3) corners; their coordinate along the axis is not used.
        axis: "X", "Y" or "Z": what the polygon is swept along.
        low, high: where the sweep starts and ends.
    """

    polygon: Float
    axis: str
    low: float
    high: float

    def box(self) -> tuple[Float, Float]:
        """(3,) lowest and (3,) highest corner of the volume."""
        lower, upper = self.polygon.min(axis=0), self.polygon.max(axis=0)
        along = _AXES[self.axis][2]
        lower[along], upper[along] = self.low, self.high
        return lower, upper

    def contains(self, points: Float) -> NDArray[np.bool_]:
        """(n,) whether points (n, 3) are inside: even-odd rule across, between the ends along."""
        first, second, along = _AXES[self.axis]
        out = (points[:, along] >= self.low) & (points[:, along] <= self.high)
        u, v = points[out, first], points[out, second]
        odd = np.zeros(len(u), bool)
        for a, b in zip(self.polygon, np.roll(self.polygon, -1, axis=0)):
            if a[second] == b[second]:
                continue
            slope = (b[first] - a[first]) / (b[second] - a[second])
            crosses = (v < a[second]) != (v < b[second])
            odd ^= crosses & (u < a[first] + slope * (v - a[second]))
        out[out] = odd
        return out


@dataclass(frozen=True)
class TanksTruth:
    """What a scene of Tanks and Temples is scored against, in the scanner's world.

    Attributes:
        points: (N, 3) of the scanner.
        volume: what counts.
        truth_from_published: from the world of the published cameras.
        published: those cameras, or None where their file is not there.
    """

    points: Float
    volume: CropVolume
    truth_from_published: Similarity
    published: PosedCameras | None


def read_tanks_truth(root: Path, scene: str) -> TanksTruth:
    """The truth of one scene.

    Args:
        root: holds a folder named like the scene, or the scene's files themselves.
        scene: name, such as "Barn".

    Raises:
        InputError: a file is missing; names it and the folders searched.
        FormatError: a file does not follow its format.
    """
    root = Path(root)
    folder = root / scene if (root / scene).is_dir() else root
    cloud, volume = folder / f"{scene}.ply", folder / f"{scene}.json"
    transform, log = folder / f"{scene}_trans.txt", folder / f"{scene}_COLMAP_SfM.log"
    for path, what in ((cloud, "points"), (volume, "crop volume"), (transform, "alignment")):
        if not path.is_file():
            raise InputError(
                f"There is no {path.name}, the {what} of the scene {scene}.",
                where=str(folder),
                next_step="Give the folder of the training scenes' ground truth "
                f"({scene}/{path.name} is in the benchmark's download).",
            )
    return TanksTruth(
        np.asarray(read_ply_cloud(cloud).positions_in_world, np.float64),
        read_crop_volume(volume),
        read_transform(transform),
        read_trajectory(log) if log.is_file() else None,
    )


def read_crop_volume(path: Path) -> CropVolume:
    """A `SelectionPolygonVolume` in JSON, as Open3D writes it.

    Raises:
        FormatError: damaged, or no such volume.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        polygon = np.array(data["bounding_polygon"], float)
        axis = str(data["orthogonal_axis"]).upper()
        low, high = float(data["axis_min"]), float(data["axis_max"])
        if axis not in _AXES or polygon.ndim != 2 or polygon.shape[1] != 3 or len(polygon) < 3:
            raise ValueError("it is no polygon of 3 or more corners along X, Y or Z")
        if not np.isfinite(polygon).all() or not low < high:
            raise ValueError("the volume is empty")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"The crop volume cannot be read: {error}.",
            where=str(path),
            next_step="Copy the file again from the benchmark's ground truth.",
        ) from error
    return CropVolume(polygon, axis, low, high)


def read_transform(path: Path) -> Similarity:
    """A 4x4 matrix in text that is a similarity.

    Raises:
        FormatError: damaged, or not a similarity.
    """
    try:
        matrix = np.loadtxt(path, dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError(f"it holds {matrix.size} numbers, not 4 rows of 4")
        return _similarity(matrix)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise FormatError(
            f"The alignment cannot be read: {error}.",
            where=str(path),
            next_step="Copy the file again from the benchmark's ground truth.",
        ) from error


def _similarity(matrix: Float) -> Similarity:
    scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
    rotation = matrix[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
        raise ValueError("the matrix is no similarity")
    u, _, vt = np.linalg.svd(rotation)  # text has few digits
    return Similarity(float(scale), u @ vt, matrix[:3, 3].copy())


def read_trajectory(path: Path) -> PosedCameras:
    """Cameras of a `.log` file: a line of three numbers, then world_from_cam in four lines.

    The first number counts photos from 0; the benchmark's photos are named from 000001.jpg on,
    and so are the cameras here.

    Raises:
        FormatError: not such a file.
    """
    try:
        numbers = np.array(Path(path).read_text(encoding="utf-8").split(), float)
        if not numbers.size or numbers.size % 19 or not np.isfinite(numbers).all():
            raise ValueError("its length is no multiple of 5 lines")
        blocks = numbers.reshape(-1, 19)
        names = tuple(f"{int(index) + 1:06d}.jpg" for index in blocks[:, 0])
        world_from_cam = blocks[:, 3:].reshape(-1, 4, 4)
        rotation = world_from_cam[:, :3, :3].transpose(0, 2, 1)
        unit = np.einsum("nij,nkj->nik", rotation, rotation)
        if len(set(names)) < len(names) or np.abs(unit - np.eye(3)).max() > 1e-3:
            raise ValueError("a camera occurs twice, or has no rotation")
    except (OSError, ValueError, OverflowError) as error:
        raise FormatError(
            f"The trajectory cannot be read: {error}.",
            where=str(path),
            next_step="Give a .log file: per photo its number and a 4x4 camera-to-world matrix.",
        ) from error
    translation = -np.einsum("nij,nj->ni", rotation, world_from_cam[:, :3, 3])
    poses = np.concatenate([rotation, translation[:, :, None]], axis=2)
    return PosedCameras(names, poses, (None,) * len(names))
