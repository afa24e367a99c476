"""Depth maps and undistorted photos on disk: a folder that implements `core.depth.DepthMaps`.

Layout: `views.json`, `color/0000.jpg`, `mask/0000.png` (where the photo has one),
`bands/0000.npz` (where it has more than 8 bit RGB), `exposure.json` (how photos are levelled) and
`depth/0000.npz` with depth (float32), normal (int8, x127), confidence (uint8, x255) and, where not
all pixels have the same, source and support (uint8).
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from voxterra.core.bands import Bands, bands_of_color
from voxterra.core.camera import Camera, PinholeView
from voxterra.core.depth import DepthMap
from voxterra.core.exposure import Exposure
from voxterra.core.surface_source import SurfaceSource
from voxterra.errors import FormatError
from voxterra.io.exposure import read_exposure
from voxterra.io.files.atomic import atomic_path
from voxterra.io.files.json_file import write_json


class DepthStore:
    """Depth maps of a folder, loaded one at a time.

    Args:
        folder: of the store.
        maps: folder that holds the folder `depth`, where it is another one.
    """

    def __init__(self, folder: Path, maps: Path | None = None):
        self.folder = Path(folder)
        self.maps = self.folder if maps is None else maps
        path = self.folder / "views.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            self._views = tuple(_view_from_dict(v) for v in data["views"])
            # Absent in what stereo alone made, and in stores of version 0.1.
            self._source_names = tuple(map(str, data.get("sources", ["stereo"])))
            self._shares = tuple(map(float, data.get("shares", ())))
            self._metric = bool(data.get("metric", False))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                "This folder does not hold depth maps.",
                where=str(path),
                next_step="Run the depth step again: voxterra depth RUN.",
            ) from error

    @property
    def views(self) -> tuple[PinholeView, ...]:
        return self._views

    @property
    def source_names(self) -> tuple[str, ...]:
        return self._source_names

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of all pixels that each of `source_names` made; () where one made them."""
        return self._shares

    def support_shares(self) -> NDArray[np.float64]:
        """(5,) share of all pixels that each `SurfaceSource` has."""
        counts = np.zeros(len(SurfaceSource), np.int64)
        for index, view in enumerate(self._views):
            support = read_depth(depth_path(self.maps, index), view).support
            counts += np.bincount(support.ravel(), minlength=len(counts))
        return np.asarray(counts / max(int(counts.sum()), 1))

    @property
    def exposure(self) -> Exposure | None:
        """How the photos are levelled; None where that was not found yet."""
        return read_exposure(self.folder, len(self._views))

    def load(self, index: int) -> DepthMap:
        found = read_depth(depth_path(self.maps, index), self._views[index])
        return replace(found, metric=self._metric)

    def load_color(self, index: int) -> NDArray[np.uint8]:
        with PilImage.open(color_path(self.folder, index)) as image:
            return np.asarray(image.convert("RGB"))

    def load_bands(self, index: int) -> Bands:
        path = bands_path(self.folder, index)
        if not path.exists():
            return bands_of_color(self.load_color(index))
        try:
            with np.load(path) as data:
                about = json.loads(str(data["about"]))
                return Bands(
                    data["values"],
                    tuple(map(str, about["names"])),
                    tuple(None if w is None else float(w) for w in about["wavelengths_nm"]),
                    tuple(map(float, about["black_level"])),
                    int(about["bits"]),
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                "The bands of a photo are damaged.",
                where=str(path),
                next_step="Run the depth step again: voxterra depth RUN.",
            ) from error

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        path = mask_path(self.folder, index)
        if not path.exists():
            return None
        with PilImage.open(path) as image:
            return np.asarray(image.convert("L")) > 127


def color_path(folder: Path, index: int) -> Path:
    """Path of the undistorted photo of view `index`."""
    return folder / "color" / f"{index:04d}.jpg"


def bands_path(folder: Path, index: int) -> Path:
    """Path of the undistorted bands of view `index`, if its photo has more than 8 bit RGB."""
    return folder / "bands" / f"{index:04d}.npz"


def mask_path(folder: Path, index: int) -> Path:
    """Path of the undistorted mask of view `index`, if the photo has one."""
    return folder / "mask" / f"{index:04d}.png"


def depth_path(folder: Path, index: int) -> Path:
    """Path of the depth map of view `index`."""
    return folder / "depth" / f"{index:04d}.npz"


def write_views(
    views: tuple[PinholeView, ...],
    folder: Path,
    *,
    source_names: tuple[str, ...] = ("stereo",),
    shares: tuple[float, ...] = (),
    metric: bool = False,
) -> None:
    """Write `views.json`, atomically.

    Args:
        source_names, shares: as `DepthStore` has them.
        metric: of all maps, as `DepthMap` has it.
    """
    data: dict[str, Any] = {"views": [_view_to_dict(v) for v in views]}
    if source_names != ("stereo",):
        data["sources"] = list(source_names)
    if shares:
        data["shares"] = list(shares)
    if metric:
        data["metric"] = True
    write_json(data, folder / "views.json")


def read_depth(path: Path, view: PinholeView) -> DepthMap:
    """Read one depth map.

    Args:
        view: its view at any size.

    Raises:
        FormatError: it is missing or damaged.
    """
    try:
        with np.load(path) as data:
            depth = data["depth"]
            normal = data["normal"].astype(np.float32) / 127.0
            confidence = data["confidence"].astype(np.float32) / 255.0
            source = data["source"] if "source" in data else np.zeros((0, 0), np.uint8)
            support = data["support"] if "support" in data else np.zeros((0, 0), np.uint8)
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            "A depth map is missing or damaged.",
            where=str(path),
            next_step="Run the depth step again: voxterra depth RUN.",
        ) from error
    height, width = depth.shape
    return DepthMap(
        view.resized(width, height), depth, normal, confidence, source=source, support=support
    )


def write_depth(depth_map: DepthMap, path: Path) -> None:
    """Write one depth map, atomically."""
    arrays: dict[str, Any] = {
        "depth": depth_map.depth.astype(np.float32),
        "normal": np.rint(depth_map.normal * 127).astype(np.int8),
        "confidence": np.rint(depth_map.confidence * 255).astype(np.uint8),
    }
    if depth_map.source.any():
        arrays["source"] = depth_map.source
    if (depth_map.support > SurfaceSource.MEASURED).any():
        arrays["support"] = depth_map.support
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def write_bands(bands: Bands, path: Path) -> None:
    """Write the bands of one photo in their own type, compressed, atomically."""
    about = {name: value for name, value in vars(bands).items() if name != "values"}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, values=bands.values, about=json.dumps(about))


def write_image(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write an image by its suffix, atomically; JPEG at a quality without effect on stereo."""
    options: dict[str, Any] = (
        {"quality": 96, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
    )
    with atomic_path(path) as temporary:
        PilImage.fromarray(pixels).save(temporary, **options)


def _view_to_dict(view: PinholeView) -> dict[str, Any]:
    out = asdict(view)
    out["K"] = view.K.tolist()
    out["cam_from_world"] = view.cam_from_world.tolist()
    return out


def _view_from_dict(data: dict[str, Any]) -> PinholeView:
    camera = data["camera"]
    return PinholeView(
        name=data["name"],
        K=np.array(data["K"], np.float64).reshape(3, 3),
        cam_from_world=np.array(data["cam_from_world"], np.float64).reshape(3, 4),
        width=int(data["width"]),
        height=int(data["height"]),
        camera=Camera(camera["model"], camera["width"], camera["height"], tuple(camera["params"])),
        component=int(data["component"]),
    )
