"""One level of the image pyramid: its images, and its planes on disk."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.io.depth_store import color_path
from voxterra.io.files.atomic import atomic_path
from voxterra.io.images import read_gray
from voxterra.kernels.stereo.planes import pack_quads

_CACHE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Level:
    """Planes of all views at one image size, kept in `folder` so that work can be resumed.

    Attributes:
        folder: holds `0000.npz` a view.
        views: every view at this level's size.
    """

    folder: Path
    views: tuple[PinholeView, ...]

    def path(self, index: int) -> Path:
        return self.folder / f"{index:04d}.npz"

    def write(self, index: int, planes: NDArray[np.float32], costs: NDArray[np.float32]) -> None:
        """Keep the result of one view, atomically."""
        with atomic_path(self.path(index)) as temporary:
            np.savez(temporary, planes=planes, costs=costs)

    def planes(self, index: int) -> NDArray[np.float32]:
        with np.load(self.path(index)) as data:
            return data["planes"]

    def costs(self, index: int) -> NDArray[np.float32]:
        with np.load(self.path(index)) as data:
            return data["costs"]


class LevelImages:
    """Grey images of a level, resized on demand and kept while they fit in memory."""

    def __init__(self, store: Path, views: tuple[PinholeView, ...]):
        self._store = store
        self._views = views
        self._cache: OrderedDict[int, tuple[NDArray[np.uint8], NDArray[np.uint32]]] = OrderedDict()
        self._bytes = 0

    def gray(self, index: int) -> NDArray[np.float32]:
        """(H, W) float32, 0..255."""
        return self._get(index)[0].astype(np.float32)

    def quads(self, index: int) -> NDArray[np.uint32]:
        """(H, W) uint32, see `kernels.planes.pack_quads`."""
        return self._get(index)[1]

    def _get(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        view = self._views[index]
        image = read_gray(color_path(self._store, index))
        if image.shape != (view.height, view.width):
            size = (view.width, view.height)
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        entry = (image, pack_quads(image))
        self._cache[index] = entry
        self._bytes += 5 * image.size
        while self._bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, (old, _) = self._cache.popitem(last=False)
            self._bytes -= 5 * old.size
        return entry
