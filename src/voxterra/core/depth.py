"""Depth maps. A depth map belongs to an undistorted pinhole image (`PinholeView`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voxterra.core.bands import Bands
from voxterra.core.camera import PinholeView
from voxterra.core.surface_source import SurfaceSource


def _none() -> NDArray[np.uint8]:
    return np.zeros((0, 0), np.uint8)


@dataclass(frozen=True)
class DepthMap:
    """What one view knows of the surface it sees.

    Attributes:
        view: the pinhole view at the depth map's own size (H, W).
        depth: (H, W) float32 along the optical axis, in world units; 0 = unknown.
        normal: (H, W, 3) float32 unit normals in the camera frame, facing the camera (n_z < 0
            where seen head-on); 0 where unknown.
        confidence: (H, W) float32 in [0, 1]; 0 where depth is unknown.
        source: (H, W) uint8, what made each pixel: an index into `DepthMaps.source_names`. 0, the
            source that measured, where depth is unknown. Left out: 0 everywhere.
        support: (H, W) uint8 `core.surface_source.SurfaceSource`, what each pixel rests on; NONE
            where depth is unknown. Left out: MEASURED wherever depth is known.
        metric: world units are known to be metres.
    """

    view: PinholeView
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    confidence: NDArray[np.float32]
    source: NDArray[np.uint8] = field(default_factory=_none, kw_only=True)
    support: NDArray[np.uint8] = field(default_factory=_none, kw_only=True)
    metric: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.source.size == 0:  # one 0 that is seen everywhere takes no memory
            everywhere = np.broadcast_to(np.uint8(0), self.depth.shape)
            object.__setattr__(self, "source", everywhere)
        if self.support.size == 0:
            known = np.where(self.depth > 0, SurfaceSource.MEASURED, SurfaceSource.NONE)
            object.__setattr__(self, "support", known.astype(np.uint8))

    def kept(self, where: NDArray[np.bool_]) -> DepthMap:
        """The map without the pixels that are False in `where` (H, W)."""
        return replace(
            self,
            depth=np.where(where, self.depth, np.float32(0)),
            normal=np.where(where[..., None], self.normal, np.float32(0)),
            confidence=np.where(where, self.confidence, np.float32(0)),
            source=np.where(where, self.source, np.uint8(0)),
            support=np.where(where, self.support, np.uint8(SurfaceSource.NONE)),
        )

    def measured(self) -> DepthMap:
        """The map without coarse and filled pixels."""
        return self.kept(self.support <= SurfaceSource.WEAK)


class UndistortedPhotos(Protocol):
    """Photos as pinhole images, loaded one at a time; `views` are at their size."""

    @property
    def views(self) -> tuple[PinholeView, ...]: ...

    def load_color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB undistorted image of `views[index]`."""
        ...

    def load_bands(self, index: int) -> Bands:
        """All bands of the photo in their own numbers, undistorted as the colour image is.

        Of a photo of 8 bits: its colour image.
        """
        ...

    def load_mask(self, index: int) -> NDArray[np.bool_] | None:
        """(H, W) bool at the size of the colour image, True = use; None = all usable."""
        ...


class DepthMaps(UndistortedPhotos, Protocol):
    """A set of depth maps with their undistorted photos, loaded one at a time.

    `views` are at the size of the colour images, which may be larger than the depth maps;
    `load(i).view` is `views[i]` resized to the depth map.
    """

    @property
    def source_names(self) -> tuple[str, ...]:
        """What `DepthMap.source` counts: the depth source that measured, then those that filled."""
        ...

    def load(self, index: int) -> DepthMap: ...


def iterate(maps: DepthMaps) -> Iterator[DepthMap]:
    """All depth maps, one in memory at a time."""
    for index in range(len(maps.views)):
        yield maps.load(index)
