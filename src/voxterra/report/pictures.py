"""Pictures as data inside the page: photos as JPEG, maps of classes as PNG."""

from __future__ import annotations

import base64
import io
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voxterra.report.markup import el

Float = NDArray[np.float64]


def inline(pixels: NDArray[np.uint8], *, lossless: bool = False) -> str:
    """A data address of (H, W, 3) RGB or (H, W, 4) RGBA pixels; RGBA is lossless always."""
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    if lossless or pixels.shape[2] == 4:
        kind = "png"
        if pixels.shape[2] == 4:
            picture.save(file, "PNG", optimize=True)
        else:
            picture.quantize(255).save(file, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.save(file, "JPEG", quality=84, optimize=True, progressive=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def image(pixels: NDArray[np.uint8], alt: str) -> Element:
    """An image element of (H, W, 3) RGB pixels."""
    height, width = pixels.shape[:2]
    return el("img", src=inline(pixels), alt=alt, width=width, height=height)


def shrunk(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """(H, W, C) pixels whose longer side is at most `longest`."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def over(
    rgba: NDArray[np.uint8], color: tuple[int, int, int] = (255, 255, 255)
) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of (H, W, 4) RGBA pixels over a colour."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    below = np.array(color, np.float32)
    return np.rint(rgba[..., :3] * alpha + below * (1 - alpha)).astype(np.uint8)


def colored(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """(H, W, 3) RGB in the colours of viridis from `low` to `high`; white where not finite."""
    share = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    out: NDArray[np.uint8] = ramp()[np.rint(255 * np.nan_to_num(share)).astype(np.uint8)]
    out[~np.isfinite(values)] = 255
    return out


def ramp() -> NDArray[np.uint8]:
    """(256, 3) RGB colours of viridis."""
    import cv2

    steps = np.arange(256, dtype=np.uint8)[:, None]
    return np.asarray(cv2.applyColorMap(steps, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1], np.uint8).copy()


def shaded(heights: NDArray[np.floating], cell_size: float) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of heights: colours from the 1st to the 99th percentile, lit from the
    north-west (Horn 1981, "Hill shading and the reflectance map").

    Args:
        heights: (H, W), NaN where nothing is known.
        cell_size: [unit of the heights].
    """
    known = np.isfinite(heights)
    if not known.any():
        return np.full((*heights.shape, 3), 255, np.uint8)
    low, high = height_range(heights)
    filled = np.where(known, heights, low).astype(np.float64)
    slope_y, slope_x = np.gradient(filled, cell_size)
    sun = np.array([-1.0, -1.0, np.sqrt(2.0)]) / 2.0  # column, row (downwards), up: NW at 45 deg
    dot = -slope_x * sun[0] - slope_y * sun[1] + sun[2]
    light = dot / np.sqrt(1 + slope_x**2 + slope_y**2)
    picture = colored(heights, low, high).astype(np.float64)
    picture *= np.clip(0.35 + 0.9 * light, 0.25, 1.25)[..., None]
    picture[~known] = 255
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def height_range(heights: NDArray[np.floating]) -> tuple[float, float]:
    """1st and 99th percentile of the known heights."""
    low, high = np.nanquantile(heights, [0.01, 0.99])
    return float(low), float(high)


def color_bar(low: str, high: str) -> Element:
    """The ramp of `colored` with its ends."""
    bar = np.repeat(ramp()[None], 8, axis=0)
    picture = el("img", src=inline(bar, lossless=True), alt="", class_="ramp")
    return el("div", el("span", low), picture, el("span", high), class_="legend scale")
