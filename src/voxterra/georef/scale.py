"""Scale of a component from known distances that are marked in its photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.reconstruction import Reconstruction
from voxterra.core.scale_bars import Pixel, ScaleBar
from voxterra.imaging.undistort import rays_of

Float = NDArray[np.float64]

# How exactly people mark a point [px], and the least that a measured length is known to.
_MARK_SIGMA_PX, _LENGTH_SIGMA = 1.0, 0.001
# Marks whose rays pass each other by more than this are of different points [px].
_MAX_MISS_PX = 15.0
# Rays closer to parallel than this leave the depth of a point open [deg].
_MIN_ANGLE_DEG = 1.0
# Bars that differ by more than this from the others, relatively, contradict them.
_MAX_SPREAD = 0.03
# Bars and GPS contradict each other when this many standard deviations apart.
_CONTRADICTION = 3.0


@dataclass(frozen=True)
class BarScale:
    """Scale from known distances.

    Attributes:
        factor: metres in a unit of the model.
        sigma: its relative standard deviation.
        name, length_m: of the longest bar that was measured.
    """

    factor: float
    sigma: float
    name: str
    length_m: float


def bar_scale(
    component: Reconstruction, bars: Sequence[ScaleBar]
) -> tuple[BarScale | None, tuple[str, ...]]:
    """Scale from the bars that can be measured in a component, and warnings about the others."""
    factors: list[float] = []
    weights: list[float] = []
    used: list[ScaleBar] = []
    problems: list[str] = []
    for bar in bars:
        measured = _measure(component, bar)
        if isinstance(measured, str):
            problems.append(f"scale bar '{bar.name}' is not used: {measured}")
            continue
        length, sigma, wrong = measured
        problems += [f"the mark of scale bar '{bar.name}' in {p} is wrong, not used" for p in wrong]
        factors.append(bar.length_m / length)
        weights.append(1.0 / sigma**2)
        used.append(bar)
    if not factors:
        return None, tuple(problems)
    logs, w = np.log(np.array(factors)), np.array(weights)
    mean = float((w * logs).sum() / w.sum())
    spread = float(np.abs(logs - mean).max())
    # Bars that contradict each other are only as accurate as they agree.
    sigma = max(float(1.0 / np.sqrt(w.sum())), spread / np.sqrt(len(logs)))
    if spread > _MAX_SPREAD:
        off = ", ".join(
            f"{n} {100 * (np.exp(x - mean) - 1):+.0f} %"
            for n, x in zip([bar.name for bar in used], logs)
        )
        problems.append(f"the scale bars contradict each other ({off}): check lengths and marks")
    longest = max(used, key=lambda bar: bar.length_m)
    return BarScale(float(np.exp(mean)), sigma, longest.name, longest.length_m), tuple(problems)


def against_gps(
    bars: BarScale, gps_factor: float, gps_sigma: float, used_factor: float
) -> tuple[float, str] | None:
    """Relative contradiction between scale bars and GPS, and the warning about it.

    Args:
        bars: scale by the bars.
        gps_factor, gps_sigma: metres in a unit of the model by GPS alone, and its relative
            standard deviation.
        used_factor: metres in a unit of the model by both together, as it is delivered.

    Returns:
        None where they agree within their accuracy.
    """
    ratio = gps_factor / bars.factor
    off = abs(float(np.log(ratio)))
    if off < max(_CONTRADICTION * float(np.hypot(bars.sigma, gps_sigma)), _MAX_SPREAD):
        return None
    by_gps = bars.length_m * ratio
    return off, (
        f"scale bars and GPS contradict each other: '{bars.name}' is given as {bars.length_m:.2f} "
        f"m (1 sigma {bars.length_m * bars.sigma:.2f} m), GPS makes it {by_gps:.2f} m (1 sigma "
        f"{by_gps * gps_sigma:.2f} m). In the delivered model it is "
        f"{bars.length_m * used_factor / bars.factor:.2f} m, with a scale only as accurate as the "
        "two agree. Check the length and its unit (metres, not feet) and the marks; leave "
        "--scale-bar out to use the scale of GPS, or give --georef.no-use-gps to use that of the "
        "bars alone"
    )


def _measure(
    component: Reconstruction, bar: ScaleBar
) -> tuple[float, float, tuple[str, ...]] | str:
    """Length in the model, its relative standard deviation, photos with wrong marks; or why not."""
    names = {image.name for image in component.images}
    marks = [mark for mark in bar.marks if mark[0] in names]
    if len({photo for photo, _, _ in marks}) < 2:
        return "fewer than two of its photos are in the component; mark it in others"
    first = _triangulate(component, [(photo, pixel) for photo, pixel, _ in marks])
    if isinstance(first, str):
        return f"its first end {first}"
    second = _triangulate(component, [(photo, pixel) for photo, _, pixel in marks])
    if isinstance(second, str):
        return f"its second end {second}"
    length = float(np.linalg.norm(first.position - second.position))
    if length <= 0:
        return "its ends are one point: mark both ends"
    sigma = np.hypot(np.hypot(first.sigma, second.sigma) / length, _LENGTH_SIGMA)
    return length, float(sigma), (*first.wrong, *second.wrong)


@dataclass(frozen=True)
class _Point:
    """A triangulated mark: (3,) position, standard deviation, largest miss [px], wrong photos."""

    position: Float
    sigma: float
    miss_px: float
    wrong: tuple[str, ...] = ()


def _triangulate(component: Reconstruction, pixels: Sequence[tuple[str, Pixel]]) -> _Point | str:
    """Triangulate the marks, without one that contradicts all others; or the reason for failing."""
    point = _meet(component, pixels)
    if isinstance(point, _Point) or len(pixels) < 4:
        return point  # three marks have no majority to find the wrong one
    rest = {p: _meet(component, [q for q in pixels if q is not p]) for p in pixels}
    good = {p: found for p, found in rest.items() if isinstance(found, _Point)}
    if not good:
        return point
    wrong = min(good, key=lambda p: good[p].miss_px)
    return replace(good[wrong], wrong=(wrong[0],))


def _meet(component: Reconstruction, pixels: Sequence[tuple[str, Pixel]]) -> _Point | str:
    """Point nearest to the rays of the pixels, or why these do not meet."""
    images = {image.name: image for image in component.images}
    centers, directions, focals = [], [], []
    for photo, pixel in pixels:
        image = images[photo]
        camera = component.camera_of(image)
        if not (0 <= pixel[0] <= camera.width and 0 <= pixel[1] <= camera.height):
            return f"is outside {photo}"
        ray = rays_of(camera, np.array([pixel]))[0] @ image.cam_from_world[:, :3]
        directions.append(ray / np.linalg.norm(ray))
        centers.append(image.center_in_world)
        focals.append(camera.params[0])
    c, d, f = np.array(centers), np.array(directions), np.array(focals)
    if np.degrees(np.arccos(np.clip((d @ d.T).min(), -1, 1))) < _MIN_ANGLE_DEG:
        return "is seen from one direction only: mark it in photos taken further apart"
    across = np.eye(3) - np.einsum("ni,nj->nij", d, d)
    point = np.linalg.solve(across.sum(0), np.einsum("nij,nj->i", across, c))
    offset = point - c
    distance = np.einsum("ni,ni->n", offset, d)
    if (distance <= 0).any():
        return "is not one point, by its marks it is behind a camera: check them"
    miss_px = np.linalg.norm(np.einsum("nij,nj->ni", across, offset), axis=1) / distance * f
    if miss_px.max() > _MAX_MISS_PX:
        worst = pixels[int(np.argmax(miss_px))][0]
        miss = f"{miss_px.max():.0f} px"
        return f"is not one point: its mark in {worst} misses the others by {miss}: check it"
    information = np.einsum("nij,n->ij", across, (f / (_MARK_SIGMA_PX * distance)) ** 2)
    sigma = float(np.sqrt(np.trace(np.linalg.inv(information)) / 3))
    return _Point(point, sigma, float(miss_px.max()))
