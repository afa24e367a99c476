"""What a training shows of itself: progress pictures, loss curves, statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from voxterra.io.files.atomic import atomic_path
from voxterra.surface.voxels.model.render import Rendered

SIZE, MARGIN = (900, 260), 50
LEGEND, GAP, BAR = 20, 6, 16
"""Height of the line below the pictures, space in it, and least length of its grey scale [px]."""
DARKEST = 0.85
"""How much darker the farthest depth is than the nearest."""
_INK, _GRID, _LINE = (30, 30, 30), (220, 220, 220), (31, 111, 180)


def to_bytes(image: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 of an image in [0, 1]."""
    scaled = image.detach().clamp(0, 1).mul(255).add(0.5)
    return scaled.to(torch.uint8).cpu().numpy()


def write_png(image: np.ndarray, path: Path) -> None:
    """Write (H, W, 3) uint8 as PNG, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def panel(rendered: Rendered, photo: Tensor) -> np.ndarray:
    """Photo, render, normals and depth side by side, with what they are and the range of the
    depths below, (H + LEGEND, 4W, 3) uint8."""
    normal = to_bytes(0.5 - 0.5 * rendered.normal)
    depth, limits = depth_picture(rendered.depth)
    pictures = [to_bytes(photo), to_bytes(rendered.color), normal, depth]
    return np.concatenate([np.concatenate(pictures, 1), _legend(4 * photo.shape[1], limits)], 0)


def depth_picture(depth: Tensor) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Depth as grey levels, near = bright, none = black; (H, W, 3) uint8.

    Also the depths of the brightest and of the darkest grey [world units]: 2 % are nearer, 2 %
    farther, and look like those. None: no depth is known.
    """
    known = depth > 0
    if not bool(known.any()):
        return np.zeros((*depth.shape, 3), np.uint8), None
    values = depth[known]
    values = values[:: max(1, len(values) // 1_000_000)]  # torch sorts no more than 16 million
    low, high = values.quantile(0.02), values.quantile(0.98)
    gray = torch.where(
        known, 1.0 - DARKEST * ((depth - low) / (high - low + 1e-9)).clamp(0, 1), 0.0
    )
    return to_bytes(gray[..., None].expand(-1, -1, 3)), (float(low), float(high))


def _legend(width: int, limits: tuple[float, float] | None) -> np.ndarray:
    """(LEGEND, width, 3) uint8: names of four pictures, and the range of the depths."""
    image = Image.new("RGB", (width, LEGEND), "white")
    draw, quarter = ImageDraw.Draw(image), width / 4
    near, far = "", "no depth"
    if limits is not None:
        near, far = f"depth {limits[0]:.4g}", f"{limits[1]:.4g} world units"
    length = [draw.textlength(text) for text in (near, far)]
    bar = max(BAR, min(4 * BAR, quarter - sum(length) - 4 * GAP)) if limits else 0.0
    # Below the depths where there is room for that, else as far to the left as it takes.
    left = max(GAP, min(3 * quarter + GAP, width - sum(length) - bar - 3 * GAP))
    for name, place in zip(("photo", "render", "normals"), (0.0, quarter, 2 * quarter)):
        if place + GAP + draw.textlength(name) < min(left, place + quarter):
            draw.text((place + GAP, 3), name, fill=_INK)
    draw.text((left, 3), near, fill=_INK)
    start = left + length[0] + (GAP if limits else 0)
    for x in range(int(bar)):
        level = round(255 * (1.0 - DARKEST * x / max(1.0, bar - 1)))
        draw.line([(start + x, 5), (start + x, LEGEND - 6)], fill=(level, level, level))
    if bar:
        draw.rectangle([start - 1, 4, start + bar, LEGEND - 5], outline=_INK)
    draw.text((start + bar + (GAP if limits else 0), 3), far, fill=_INK)
    return np.asarray(image)


def draw_curves(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """One chart a curve, value over iteration, as PNG; all from 0 to the last iteration of any, so
    that a term that counts from later on, or no longer, is seen to."""
    shown = [(name, points) for name, points in curves.items() if _finite(points) > 1]
    if not shown:
        return
    width, height = SIZE
    image = Image.new("RGB", (width, height * len(shown)), "white")
    draw = ImageDraw.Draw(image)
    last = max(at for _, points in shown for at, _ in points)
    for i, (name, points) in enumerate(shown):
        _chart(draw, name, np.array(points, float), i * height, last)
    write_png(np.asarray(image), path)


def _finite(points: Sequence[tuple[int, float]]) -> int:
    return sum(math.isfinite(value) for _, value in points)


def _chart(draw: ImageDraw.ImageDraw, name: str, points: np.ndarray, top: int, last: float) -> None:
    width, height = SIZE
    x, y = points[np.isfinite(points[:, 1])].T
    low, high = float(y.min()), float(y.max())
    span = (high - low) or 1.0
    left, right, above, below = MARGIN + 20, width - MARGIN, top + 30, top + height - 42
    for k in range(5):
        level = below - (below - above) * k / 4
        draw.line([(left, level), (right, level)], fill=_GRID)
        draw.text((4, level - 6), _number(low + span * k / 4), fill=_INK)
    scale = (right - left) / max(last, 1)
    for at in range(0, int(last) + 1, _tick_step(last)):
        place = left + at * scale
        draw.line([(place, above), (place, below + 4)], fill=_GRID)
        draw.text((place, below + 6), str(at), fill=_INK, anchor="ma")
    draw.text(((left + right) / 2, below + 20), "iteration", fill=_INK, anchor="ma")
    across, up = left + x * scale, below - (y - low) / span * (below - above)
    draw.line([(float(a), float(b)) for a, b in zip(across, up)], fill=_LINE, width=2)
    draw.text((left, top + 8), f"{name}: {_number(y[-1])} at iteration {int(x[-1])}", fill=_INK)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def _tick_step(last: float) -> int:
    """Iterations between ticks: 1, 2 or 5 times a power of ten, for ten ticks at most."""
    power: int = 10 ** max(0, math.ceil(math.log10(max(last, 1))) - 2)
    return next(step * power for step in (1, 2, 5, 10, 20, 50) if last <= 10 * step * power)
