"""True cameras of a data set, from any format, as one type.

Formats: COLMAP models, Nerfstudio or NeRF `transforms*.json`, `truth/cameras.json` of the
synthetic surveys, Strecha's `NAME.camera` files (Strecha et al., "On Benchmarking Camera
Calibration and Multi-View Stereo", CVPR 2008), folders of `NAME.pose.txt` (7-Scenes), and
`cameras_sphere.npz` of the IDR authors' DTU scenes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera
from voxterra.core.geo import GeoFrame
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.transforms import camera_center
from voxterra.errors import FormatError, InputError
from voxterra.io.files.disk import cannot_read

Float = NDArray[np.float64]


@dataclass(frozen=True)
class PosedCameras:
    """Cameras with their places, of a truth or of a result to be scored.

    Attributes:
        names: as their source spells them; compare with `match_names`.
        cam_from_world: (N, 3, 4) rigid, OpenCV axes, in a world of their own.
        cameras: intrinsics of each, or None where the source does not give them.
        frame: of that world on Earth, or None.
    """

    names: tuple[str, ...]
    cam_from_world: Float
    cameras: tuple[Camera | None, ...]
    frame: GeoFrame | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def centers(self) -> Float:
        """(N, 3) camera centres."""
        return camera_center(self.cam_from_world)


_DAMAGE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)


def read_truth_cameras(path: Path) -> PosedCameras:
    """True cameras of a file or folder; a data set's folder is searched for its truth.

    Raises:
        InputError: nothing there, or no known kind of truth.
        FormatError: a file does not follow its format.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            "There is no truth at this place.",
            where=str(path),
            next_step="Check the path: it is a data set's folder or a file with cameras.",
        )
    reader = _reader_for(path)
    if reader is not None:
        try:
            return _sorted(reader(path))
        except OSError as error:
            raise cannot_read(error, path) from error
        except _DAMAGE as error:
            raise FormatError(
                f"The true cameras cannot be read: {error}.",
                where=str(path),
                next_step="Check the file, or copy the data set again.",
            ) from error
    for inner in (
        "cameras.json",
        "truth/cameras.json",
        "gt_dense_cameras_scaled",
        "poses",
        "cameras_sphere.npz",
    ):
        if (path / inner).exists():
            return read_truth_cameras(path / inner)
    raise InputError(
        "This is no kind of camera truth that Voxterra reads.",
        where=str(path),
        next_step="Give a COLMAP model, transforms.json, truth/cameras.json of a synthetic set, "
        "a folder of .camera or .pose.txt files, or cameras_sphere.npz.",
    )


def match_names(names: tuple[str, ...], truth_names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Pairs (index in names, index in truth_names) of the same photo.

    A photo is known by its path, else its file name, else its file name up to the first dot (so
    that `frame-000010.color.jpg` is `frame-000010.pose.txt`); a key that is not unique on either
    side is not used.
    """
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for key in (str, _file_name, _stem, _first_part):
        ours = _unique_keys(names, key, set(pairs))
        theirs = _unique_keys(truth_names, key, taken)
        for name, i in ours.items():
            if name in theirs:
                pairs[i] = theirs[name]
                taken.add(theirs[name])
    return sorted(pairs.items())


def posed_cameras(reconstruction: Reconstruction, frame: GeoFrame | None = None) -> PosedCameras:
    """The cameras of a reconstruction."""
    images = reconstruction.images
    return PosedCameras(
        tuple(image.name for image in images),
        np.array([image.cam_from_world for image in images]).reshape(-1, 3, 4),
        tuple(reconstruction.camera_of(image) for image in images),
        frame,
    )


def _file_name(name: str) -> str:
    return PurePosixPath(name).name


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _first_part(name: str) -> str:
    return _file_name(name).split(".")[0]


def _unique_keys(
    names: tuple[str, ...], key: Callable[[str], str], skip: set[int]
) -> dict[str, int]:
    keys = [(key(name), i) for i, name in enumerate(names) if i not in skip]
    counts: dict[str, int] = {}
    for k, _ in keys:
        counts[k] = counts.get(k, 0) + 1
    return {k: i for k, i in keys if counts[k] == 1}


def _sorted(truth: PosedCameras) -> PosedCameras:
    order = sorted(range(len(truth)), key=lambda i: truth.names[i])
    return PosedCameras(
        tuple(truth.names[i] for i in order),
        truth.cam_from_world[order],
        tuple(truth.cameras[i] for i in order),
        truth.frame,
    )


def _reader_for(path: Path) -> Callable[[Path], PosedCameras] | None:
    if path.is_file():
        if path.suffix == ".npz":
            return _read_dtu
        if path.suffix == ".json":
            return _read_json
        return None
    if any((path / f"cameras.{ext}").is_file() for ext in ("bin", "txt")):
        return _read_colmap
    if any(path.glob("*.camera")):
        return _read_strecha
    if any(path.glob("*.pose.txt")):
        return _read_pose_folder
    return None


def _read_colmap(folder: Path) -> PosedCameras:
    from voxterra.io.colmap.model import read_colmap

    return posed_cameras(read_colmap(folder))


def _read_json(path: Path) -> PosedCameras:
    data = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(data, dict) and "camera_axes" in data:
        return _synthetic(data)
    from voxterra.io.nerf import read_transforms

    return posed_cameras(read_transforms(path))


def _synthetic(data: dict[str, Any]) -> PosedCameras:
    model = data["model"].removeprefix("COLMAP ").split(":")[0]
    camera = Camera(model, data["width"], data["height"], tuple(data["colmap_params"]))
    origin = data["origin"]
    frame = GeoFrame(
        "geo",
        origin["lon"],
        origin["lat"],
        origin["ellipsoidal_height"],
        f"EPSG:{data['epsg']}",
        "egm96",
    )
    images = data["images"]
    return PosedCameras(
        tuple(image["name"] for image in images),
        np.array([image["cam_from_world"] for image in images], float),
        (camera,) * len(images),
        frame,
    )


def _read_strecha(folder: Path) -> PosedCameras:
    names, poses, cameras = [], [], []
    for path in sorted(folder.glob("*.camera")):
        numbers = np.array(path.read_text().split(), float)
        if len(numbers) != 26:
            raise FormatError(
                f"A .camera file has 26 numbers, not {len(numbers)}.",
                where=path.name,
                next_step="Give K, distortion, R, centre and size, as the data set has them.",
            )
        K, world_from_cam = numbers[:9].reshape(3, 3), numbers[12:21].reshape(3, 3)
        poses.append(_pose(world_from_cam.T, numbers[21:24]))
        width, height = int(numbers[24]), int(numbers[25])
        # Strecha's pixel centres are at integers, ours at +0.5.
        params = (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
        cameras.append(Camera("PINHOLE", width, height, tuple(map(float, params))))
        names.append(path.name.removesuffix(".camera"))
    return PosedCameras(tuple(names), np.array(poses), tuple(cameras))


def _read_pose_folder(folder: Path) -> PosedCameras:
    paths = sorted(folder.glob("*.pose.txt"))
    world_from_cam = np.array([np.loadtxt(path).reshape(4, 4) for path in paths])
    poses = np.array([_pose(m[:3, :3].T, m[:3, 3]) for m in world_from_cam])
    return PosedCameras(tuple(path.name for path in paths), poses, (None,) * len(paths))


def _read_dtu(path: Path) -> PosedCameras:
    from voxterra.io.idr import read_idr_cameras

    read = read_idr_cameras(path)
    # The file gives no image size; that of these scenes is 1600 x 1200.
    cameras = tuple(
        Camera("PINHOLE", 1600, 1200, tuple(map(float, (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))))
        for K in read.K
    )
    names = tuple(f"{i:06d}.jpg" for i in range(len(read)))
    return PosedCameras(names, read.cam_from_world, cameras)


def _pose(cam_from_world_rotation: Float, center: Float) -> Float:
    translation = -cam_from_world_rotation @ center
    return np.hstack([cam_from_world_rotation, translation[:, None]])
