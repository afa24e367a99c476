"""Options of the depth stage."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class DepthConfig:
    """How depth maps are made: by which depth source, and how multi-view stereo does it."""

    source: str = "stereo"
    """Depth source that measures: stereo, or one that an installed package brings."""
    start: str | None = None
    """Depth source that proposes where stereo starts to search. None: the sparse points."""
    fill: str | None = "sweep"
    """Depth source that fills what was not measured; filled pixels are marked. sweep: tree crowns
    and the like, in photos that look down. None: holes stay."""
    max_size: int = 1600
    """Longer side of the depth maps [px]; 0 = the photos' own size."""
    color_max_size: int = 0
    """Longer side of the undistorted photos used for texture and orthophoto [px]; 0 = own size."""
    sources: int = 10
    """Other photos that each photo is matched against."""
    levels: int = 3
    """Pyramid levels, each half the size of the next."""
    coarse_iterations: int = 5
    """PatchMatch iterations at the coarsest level."""
    refine_iterations: int = 2
    """PatchMatch iterations at each finer level."""
    geometric_weight: float = 0.12
    """Matching cost of one pixel of reprojection error between photos (NCC costs 0 to 2)."""
    min_agreeing: int = 2
    """Other photos that must agree on a pixel's depth; fewer where fewer look at it."""
    keep_weak: bool = True
    """Keep what one other photo alone agrees with, where nothing better is known: thin things,
    leaves, edges. Such pixels are marked as weak, and count less."""
    max_reprojection_px: float = 1.5
    """Largest reprojection error of photos that agree [px]."""
    max_depth_error: float = 0.01
    """Largest relative depth difference of photos that agree."""
    aoi: Path | None = None
    """Area of interest: polygons of a GeoJSON file, longitude first. Photos that do not see it get
    no depth, and the surface ends a little outside it. None: everything."""
    seed: int = 0
    """Random seed; results repeat exactly on any number of cores."""
    device: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata={"affects_result": False}
    )
    """Where to compute; auto: on an NVIDIA GPU where there is one. Results differ by rounding."""


def counting_options(options: Any) -> dict[str, Any]:
    """The fields of an options dataclass that a result depends on, by name.

    Of a `DepthConfig`, which sources make the maps is left out where it is stereo alone: what was
    made before there were others stays valid.
    """
    counting = {
        f.name: getattr(options, f.name)
        for f in fields(options)
        if f.metadata.get("affects_result", True)
    }
    if isinstance(options, DepthConfig):
        for name, usual in (("source", "stereo"), ("start", None), ("fill", None)):
            if counting[name] == usual:
                del counting[name]
    return counting
