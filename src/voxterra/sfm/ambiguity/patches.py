"""Compare two photos where they should show the same according to the model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray

from voxterra.sfm.ambiguity.shared_points import Sharing, to_cam
from voxterra.sfm.features.staging import StagedPhotos

Float = NDArray[np.float64]

# Points compared of a pair.
_SAMPLE = 200
# Half the side of a patch, and the search radius around its place [px of the scaled photo].
_HALF, _SEARCH = 8, 4
_LONGER_SIDE = 1600
# Correlation below which two patches show different things, and contrast [grey levels] below which
# a patch is ignored.
_DIFFERENT, _FLAT = 0.4, 3.0
_KEPT_PHOTOS = 32
# Grey level of what is masked or outside: negative however little of it a pixel is blended from.
_NOTHING = -1e4


class Patches:
    """Compares patches of photos around points of a model.

    Args:
        model: with poses and lenses.
        staged: its photos and masks; masked pixels are not compared.
        seed: of the choice of points.
    """

    def __init__(self, model: pycolmap.Reconstruction, staged: StagedPhotos, seed: int):
        self._model, self._seed = model, max(seed, 0)
        masked = frozenset(staged.masked_names)

        def grey(name: str) -> NDArray[np.float32]:
            mask = staged.mask_dir / f"{name}.png" if name in masked else None
            return _read_grey(staged.image_dir / name, mask)

        self._grey = lru_cache(_KEPT_PHOTOS)(grey)

    def differing(self, sharing: Sharing, a: int, b: int) -> float | None:
        """Share of the points of image `a` around which image `b` shows something else.

        A patch around a point faces image a, and is searched for near its place in b.

        Args:
            sharing: of the model.
            a, b: rows of `sharing.ids`, of views that look alike.

        Returns:
            In [0, 1]; None where too few points can be compared.
        """
        points = sharing.seen_and_framed(a, b)
        if len(points) > _SAMPLE:
            points = np.random.default_rng(self._seed).choice(points, _SAMPLE, replace=False)
        images = [self._model.image(int(sharing.ids[k])) for k in (a, b)]
        right, down = images[0].cam_from_world().matrix()[:2, :3]
        camera = self._model.camera(images[0].camera_id)
        pixel = max(1.0, max(camera.width, camera.height) / _LONGER_SIDE)
        size = sharing.pixel_sizes(a, points) * pixel
        mine = self._around(images[0], sharing.points[points], size, right, down, _HALF)
        other = self._around(images[1], sharing.points[points], size, right, down, _HALF + _SEARCH)
        whole = (mine >= 0).all(axis=(1, 2)) & (other >= 0).all(axis=(1, 2))
        whole &= mine.std(axis=(1, 2)) > _FLAT
        if whole.sum() < 20:
            return None
        return float((_best_correlation(mine[whole], other[whole]) < _DIFFERENT).mean())

    def _around(
        self,
        image: pycolmap.Image,
        centers: Float,
        size: Float,
        right: Float,
        down: Float,
        half: int,
    ) -> NDArray[np.float32]:
        """(P, 2 half + 1, 2 half + 1) grey levels, negative where masked or outside."""
        grid = np.arange(-half, half + 1)
        step_x = size[:, None, None, None] * grid[None, None, :, None] * right
        step_y = size[:, None, None, None] * grid[None, :, None, None] * down
        at = to_cam(image, (centers[:, None, None] + step_x + step_y).reshape(-1, 3))
        camera = self._model.camera(image.camera_id)
        grey = self._grey(image.name)
        scale = grey.shape[1] / camera.width
        xy = np.full((len(at), 2), -10.0)
        ahead = at[:, 2] > 0
        xy[ahead] = np.asarray(camera.img_from_cam(at[ahead])) * scale - 0.5
        x, y = (column.reshape(-1, len(grid)) for column in xy.astype(np.float32).T)
        found = np.asarray(
            cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderValue=_NOTHING), np.float32
        )
        return found.reshape(-1, len(grid), len(grid))


def _read_grey(path: Path, mask_path: Path | None) -> NDArray[np.float32]:
    """Grey levels of a photo as COLMAP sees it, smaller where it is large; masked: negative."""
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imread(str(path), flags)
    if image is None:
        raise FileNotFoundError(path)
    scale = _LONGER_SIDE / max(image.shape)
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.8), np.float32)
    if mask_path is not None:
        mask = cv2.imread(str(mask_path), flags)
        if mask is None:
            raise FileNotFoundError(mask_path)
        size = (grey.shape[1], grey.shape[0])
        grey[cv2.resize(mask, size, interpolation=cv2.INTER_AREA) < 255] = _NOTHING
    return grey


def _best_correlation(mine: NDArray[np.float32], other: NDArray[np.float32]) -> Float:
    """(P,) largest normalised cross-correlation of each patch with places of a larger one."""
    size = mine.shape[1]
    mine = mine - mine.mean(axis=(1, 2), keepdims=True)
    mine /= np.sqrt((mine**2).sum(axis=(1, 2), keepdims=True))
    best = np.full(len(mine), -1.0)
    for y in range(other.shape[1] - size + 1):
        for x in range(other.shape[2] - size + 1):
            window = other[:, y : y + size, x : x + size]
            window = window - window.mean(axis=(1, 2), keepdims=True)
            norm = np.sqrt((window**2).sum(axis=(1, 2)))
            best = np.maximum(best, (mine * window).sum(axis=(1, 2)) / np.maximum(norm, 1e-6))
    return best
