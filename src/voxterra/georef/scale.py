"""The scale of a component by known distances that are marked in its photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.core.reconstruction import Reconstruction
from voxterra.core.scale_bars import Pixel, ScaleBar
from voxterra.io.undistort import rays_of

Float = NDArray[np.float64]

# How exactly people mark a point [px], and the least that a measured length is known to.
_MARK_SIGMA_PX, _LENGTH_SIGMA = 1.0, 0.001
# Marks whose rays pass each other by more than this are of different points [px].
_MAX_MISS_PX = 15.0
# Rays closer to parallel than this leave the depth of a point open [deg].
_MIN_ANGLE_DEG = 1.0
# Bars that differ by more than this from the others, relatively, contradict them.
_MAX_SPREAD = 0.03


@dataclass(frozen=True)
class BarScale:
    """Metres in a unit of the model, and its relative standard deviation."""

    factor: float
    sigma: float


def bar_scale(
    component: Reconstruction, bars: Sequence[ScaleBar]
) -> tuple[BarScale | None, tuple[str, ...]]:
    """Scale by the bars that can be measured in a component, and why others cannot."""
    factors: list[float] = []
    weights: list[float] = []
    names: list[str] = []
    problems: list[str] = []
    for bar in bars:
        measured = _measure(component, bar)
        if isinstance(measured, str):
            problems.append(f"scale bar '{bar.name}' is not used: {measured}")
            continue
        length, sigma = measured
        factors.append(bar.length_m / length)
        weights.append(1.0 / sigma**2)
        names.append(bar.name)
    if not factors:
        return None, tuple(problems)
    logs, w = np.log(np.array(factors)), np.array(weights)
    mean = float((w * logs).sum() / w.sum())
    spread = float(np.abs(logs - mean).max())
    # Bars that contradict each other are known as badly as they differ.
    sigma = max(float(1.0 / np.sqrt(w.sum())), spread / np.sqrt(len(logs)))
    if spread > _MAX_SPREAD:
        off = ", ".join(f"{n} {100 * (np.exp(x - mean) - 1):+.0f} %" for n, x in zip(names, logs))
        problems.append(f"the scale bars contradict each other ({off}): check lengths and marks")
    return BarScale(float(np.exp(mean)), sigma), tuple(problems)


def _measure(component: Reconstruction, bar: ScaleBar) -> tuple[float, float] | str:
    """Length in the model and its relative standard deviation, or why there is none."""
    images = {image.name: image for image in component.images}
    marks = [mark for mark in bar.marks if mark[0] in images]
    if len({photo for photo, _, _ in marks}) < 2:
        return "fewer than two of its photos are in the component"
    first = _triangulate(component, [(photo, pixel) for photo, pixel, _ in marks])
    if isinstance(first, str):
        return f"its first end {first}"
    second = _triangulate(component, [(photo, pixel) for photo, _, pixel in marks])
    if isinstance(second, str):
        return f"its second end {second}"
    length = float(np.linalg.norm(first[0] - second[0]))
    if length <= 0:
        return "its ends are one point"
    return length, float(np.hypot(np.hypot(first[1], second[1]) / length, _LENGTH_SIGMA))


def _triangulate(
    component: Reconstruction, pixels: Sequence[tuple[str, Pixel]]
) -> tuple[Float, float] | str:
    """Point nearest to the rays of the pixels and its standard deviation, or why not."""
    images = {image.name: image for image in component.images}
    centers, directions, focals = [], [], []
    for photo, pixel in pixels:
        image = images[photo]
        camera = component.camera_of(image)
        if not (0 <= pixel[0] <= camera.width and 0 <= pixel[1] <= camera.height):
            return f"lies outside {photo}"
        ray = rays_of(camera, np.array([pixel]))[0] @ image.cam_from_world[:, :3]
        directions.append(ray / np.linalg.norm(ray))
        centers.append(image.center_in_world)
        focals.append(camera.params[0])
    c, d, f = np.array(centers), np.array(directions), np.array(focals)
    if np.degrees(np.arccos(np.clip((d @ d.T).min(), -1, 1))) < _MIN_ANGLE_DEG:
        return "is seen from one direction only"
    across = np.eye(3) - np.einsum("ni,nj->nij", d, d)
    point = np.linalg.solve(across.sum(0), np.einsum("nij,nj->i", across, c))
    offset = point - c
    distance = np.einsum("ni,ni->n", offset, d)
    if (distance <= 0).any():
        return "lies behind a camera by its marks"
    miss_px = np.linalg.norm(np.einsum("nij,nj->ni", across, offset), axis=1) / distance * f
    if miss_px.max() > _MAX_MISS_PX:
        worst = pixels[int(np.argmax(miss_px))][0]
        return f"is not one point: its mark in {worst} misses the others by {miss_px.max():.0f} px"
    information = np.einsum("nij,n->ij", across, (f / (_MARK_SIGMA_PX * distance)) ** 2)
    return point, float(np.sqrt(np.trace(np.linalg.inv(information)) / 3))
