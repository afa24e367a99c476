"""Options of `texture_mesh`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextureConfig:
    """How photos are baked onto a mesh. No option has a length unit: any scale of world works."""

    max_atlas_px: int = 8192
    """Longest allowed side of the atlas [px]; photos are reduced uniformly to fit."""
    gutter_px: int = 4
    """Texels between a chart and its rectangle's border, painted so that mip-maps do not bleed."""
    max_face_px: float = 96.0
    """A face that looks larger than this [px] is split, so that each part gets its best photo;
    0 = never split."""
    candidates: int = 12
    """How many of the best photos are considered for a face."""
    visibility_px: int = 2048
    """Longest side [px] of the image in which it is found out what a photo sees."""
    depth_tolerance: float = 0.005
    """A face is hidden when something lies nearer than its own depth by this fraction of it."""
    two_sided: bool = False
    """Also paint faces from photos that look at their back."""
    outlier_level: float = 0.12
    """Photos whose colour differs from the others' median by less than this (of 1) always count;
    beyond it, and beyond three times the photos' usual spread, they are taken for occluders."""
    smoothness: float = 2.0
    """Cost of a seam against a worse photo; larger = fewer, larger charts."""
    level_exposure: bool = True
    """Level brightness and colour between the photos."""
    level_seams: bool = True
    """Shift colours smoothly inside charts so that they meet at seams."""
