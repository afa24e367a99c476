"""The door for depth sources: what one is, what it gets, and the table of those there are.

Our own are stereo, and a coarse plane sweep that fills tree crowns. `docs/extending.md` shows how
to write another one, and `voxterra.testing.check_depth_source` checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap, DepthMaps, UndistortedPhotos
from voxterra.core.progress import Progress
from voxterra.core.registry import Registry
from voxterra.depth.sparse import SparseDepth

Maps = Iterator[tuple[int, DepthMap]]
"""Depth maps as they are finished: index of the photo, and its map."""


@dataclass(frozen=True)
class DepthTask:
    """One photo's part of the work.

    Attributes:
        view: the photo's undistorted view, at the size of its colour image.
        size: (width, height) of the depth map to make [px].
        neighbours: indices of the tasks of photos that show the same, most useful first.
        points: the sparse points that the photo shows, in pixels of `view`.
    """

    view: PinholeView
    size: tuple[int, int]
    neighbours: tuple[int, ...]
    points: SparseDepth

    @property
    def map_view(self) -> PinholeView:
        """The view at the size of the depth map."""
        return self.view.resized(*self.size)


@dataclass(frozen=True)
class DepthInputs:
    """What a depth source works on.

    Attributes:
        tasks: one a photo; a photo's index counts them, in `photos` too.
        photos: their pixels.
        todo: indices of the photos whose maps are asked for; those of an interrupted run are not.
        work_dir: folder for what is needed until all maps are done. It is kept when the work is
            interrupted, for the next call to resume from.
        device: where to compute; auto: on an NVIDIA GPU where there is one.
        seed: of anything random, so that results repeat.
        proposals: maps to start searching from, None where there are none; only stereo gets them.
    """

    tasks: tuple[DepthTask, ...]
    photos: UndistortedPhotos
    todo: tuple[int, ...]
    work_dir: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    proposals: Callable[[int], DepthMap | None] | None = None


Estimate = Callable[[DepthInputs, Any, Progress], Maps]
Fill = Callable[[DepthInputs, DepthMaps, Any, Progress], Maps]


class DepthSource(Protocol):
    """Makes depth maps.

    Depths are along the optical axis, in units of the world: a source whose own depths have
    another scale aligns them, for which it has the sparse points. Maps have the size that
    `DepthTask.size` asks for. A source has one or more of three hooks, each a method, and None in
    place of the others:

    - `estimate(inputs, options, progress)` measures: `--depth.source NAME`.
    - `start(inputs, options, progress)` proposes depths, and normals where it knows them, from
      which stereo starts to search: `--depth.start NAME`. Stereo keeps what the photos confirm.
    - `fill(inputs, maps, options, progress)` proposes depths for the holes of `maps`:
      `--depth.fill NAME`. Measured pixels stay; filled ones are marked in `DepthMap.source`, and
      their confidence is at most `FILLED_CONFIDENCE`.

    Each yields (index, map) for photos of `inputs.todo`, in any order and as soon as a map is done;
    a photo that is never yielded gets nothing. It calls `progress` often, which may raise
    `Cancelled` to stop the work.

    Attributes:
        name: what `--depth.source` calls it.
        license: of code and weights, an SPDX expression.
        metric: its depths have a scale of their own, in metres; False: the world gives the scale.
        needs_gpu: it does not run without a GPU.
        version: raise it when the code makes other maps of the same input.
        options: frozen dataclass of its options, each with a default; None without options.
    """

    name: str
    license: str
    metric: bool
    needs_gpu: bool
    version: int

    # Read-only here, so that a plugin's own class may say it more exactly.
    @property
    def options(self) -> type[Any] | None: ...

    def requires(self, options: Any) -> None:
        """Raise a `VoxterraError` where this machine cannot do what `options` ask.

        Asked before the first stage of a run, so that it must be quick.
        """
        ...

    @property
    def estimate(self) -> Estimate | None: ...

    @property
    def start(self) -> Estimate | None: ...

    @property
    def fill(self) -> Fill | None: ...


FILLED_CONFIDENCE = 0.3
"""The most that a filled pixel is trusted."""

DEPTH_SOURCES: Registry[DepthSource] = Registry(
    "depth source",
    "voxterra.depth_sources",
    DepthSource,  # type: ignore[type-abstract]
    {
        "stereo": "voxterra.depth.stereo.source:StereoSource",
        "sweep": "voxterra.depth.sweep.source:SweepSource",
    },
)
