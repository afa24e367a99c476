"""One level of the image pyramid: its images, and its planes on disk."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from voxterra.core.camera import PinholeView
from voxterra.core.depth import UndistortedPhotos
from voxterra.io.files.atomic import atomic_path
from voxterra.kernels.stereo.planes import pack_quads

_CACHE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Level:
    """Planes and grey images of all views at one image size, on disk so that work can be resumed.

    Attributes:
        folder: holds `0000.npz` a view with its planes, and `0000.npy` with its grey image.
        views: every view at this level's size.
    """

    folder: Path
    views: tuple[PinholeView, ...]

    def path(self, index: int) -> Path:
        return self.folder / f"{index:04d}.npz"

    def holds(self, indices: Iterable[int]) -> bool:
        """Whether the planes of these views are there."""
        return all(self.path(index).exists() for index in indices)

    def write(self, index: int, planes: NDArray[np.float32], costs: NDArray[np.float32]) -> None:
        """Keep the result of one view, atomically."""
        with atomic_path(self.path(index)) as temporary:
            np.savez(temporary, planes=planes, costs=costs)

    def planes(self, index: int) -> NDArray[np.float32]:
        with np.load(self.path(index)) as data:
            planes: NDArray[np.float32] = data["planes"]
        return planes

    def costs(self, index: int) -> NDArray[np.float32]:
        with np.load(self.path(index)) as data:
            costs: NDArray[np.float32] = data["costs"]
        return costs

    def gray_path(self, index: int) -> Path:
        return self.folder / f"{index:04d}.npy"

    def remove(self, index: int | None = None) -> None:
        """Delete what is kept of a view, or of all."""
        if index is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in (self.path(index), self.gray_path(index)):
            path.unlink(missing_ok=True)


class LevelImages:
    """Grey images of a level, kept in memory while they fit.

    A photo is decoded once: what all levels show of it is then kept on disk.

    Args:
        photos: their pixels.
        levels: of the pyramid.
        at: index of the level whose images are asked for; those before it are done.
    """

    def __init__(self, photos: UndistortedPhotos, levels: Sequence[Level], at: int):
        self._photos, self._level, self._finer = photos, levels[at], levels[at + 1 :]
        self._cache: OrderedDict[int, tuple[NDArray[np.uint8], NDArray[np.uint32]]] = OrderedDict()
        self._bytes = 0

    def gray(self, index: int) -> NDArray[np.float32]:
        """(H, W) float32, 0..255."""
        return self._get(index)[0].astype(np.float32)

    def quads(self, index: int) -> NDArray[np.uint32]:
        """(H, W) uint32, see `kernels.stereo.planes.pack_quads`."""
        return self._get(index)[1]

    def _get(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        path = self._level.gray_path(index)
        if not path.exists():
            self._decode(index)
        image = np.load(path)
        entry = (image, pack_quads(image))
        self._cache[index] = entry
        self._bytes += 5 * image.size
        while self._bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, (old, _) = self._cache.popitem(last=False)
            self._bytes -= 5 * old.size
        return entry

    def _decode(self, index: int) -> None:
        color = PilImage.fromarray(self._photos.load_color(index))
        full = np.asarray(color.convert("L"))  # luma of ITU-R 601
        for level in (self._level, *self._finer):
            view = level.views[index]
            image = full
            if image.shape != (view.height, view.width):
                size = (view.width, view.height)
                image = np.asarray(cv2.resize(full, size, interpolation=cv2.INTER_AREA), np.uint8)
            with atomic_path(level.gray_path(index)) as temporary:
                np.save(temporary, image)
