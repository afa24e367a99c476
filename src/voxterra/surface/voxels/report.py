"""What a training shows of itself: progress pictures, loss curves, statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from voxterra.io.atomic import atomic_path
from voxterra.surface.voxels.render import Rendered

SIZE, MARGIN = (900, 260), 50
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
    """Photo, render, normals and depth side by side, (H, 4W, 3) uint8."""
    normal = to_bytes(0.5 - 0.5 * rendered.normal)
    return np.concatenate(
        [to_bytes(photo), to_bytes(rendered.color), normal, depth_picture(rendered.depth)], 1
    )


def depth_picture(depth: Tensor) -> np.ndarray:
    """Depth as grey levels, near = bright, none = black; (H, W, 3) uint8."""
    known = depth > 0
    gray = torch.zeros_like(depth)
    if bool(known.any()):
        values = depth[known]
        values = values[:: max(1, len(values) // 1_000_000)]  # torch sorts no more than 16 million
        low, high = values.quantile(0.02), values.quantile(0.98)
        gray = torch.where(
            known, 1.0 - 0.85 * ((depth - low) / (high - low + 1e-9)).clamp(0, 1), 0.0
        )
    return to_bytes(gray[..., None].expand(-1, -1, 3))


def draw_curves(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """One chart a curve, value over iteration, as PNG."""
    shown = [(name, points) for name, points in curves.items() if _finite(points) > 1]
    if not shown:
        return
    width, height = SIZE
    image = Image.new("RGB", (width, height * len(shown)), "white")
    draw = ImageDraw.Draw(image)
    for i, (name, points) in enumerate(shown):
        _chart(draw, name, np.array(points, float), i * height)
    write_png(np.asarray(image), path)


def _finite(points: Sequence[tuple[int, float]]) -> int:
    return sum(math.isfinite(value) for _, value in points)


def _chart(draw: ImageDraw.ImageDraw, name: str, points: np.ndarray, top: int) -> None:
    width, height = SIZE
    x, y = points[:, 0], points[:, 1]
    finite = np.isfinite(y)
    low, high = float(y[finite].min()), float(y[finite].max())
    span = (high - low) or 1.0
    left, right, above, below = MARGIN + 20, width - MARGIN, top + 30, top + height - 30
    for k in range(5):
        level = below - (below - above) * k / 4
        draw.line([(left, level), (right, level)], fill=_GRID)
        draw.text((4, level - 6), f"{low + span * k / 4:.4g}", fill=_INK)
    across = left + (x - x.min()) / max(x.max() - x.min(), 1) * (right - left)
    up = below - (y - low) / span * (below - above)
    line = [(float(a), float(b)) for a, b, ok in zip(across, up, finite) if ok]
    draw.line(line, fill=_LINE, width=2)
    draw.text((left, top + 8), f"{name}: {y[finite][-1]:.4g} at iteration {int(x[-1])}", fill=_INK)
