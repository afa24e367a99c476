"""What there is to do: views, neighbours and sparse points of all images."""

from __future__ import annotations

from collections.abc import Sequence

from voxterra.core.camera import PinholeView
from voxterra.core.reconstruction import Reconstruction
from voxterra.depth.config import DepthConfig
from voxterra.depth.source import DepthTask
from voxterra.depth.sparse import sparse_depth
from voxterra.depth.stereo.neighbours import choose_neighbours
from voxterra.imaging.undistort import pinhole_view


def plan(components: Sequence[Reconstruction], config: DepthConfig) -> tuple[DepthTask, ...]:
    """The tasks of all images of all components; neighbours are of the same component."""
    tasks: list[DepthTask] = []
    for index, component in enumerate(components):
        first = len(tasks)
        views = [
            pinhole_view(image, component.camera_of(image), index, config.color_max_size)
            for image in component.images
        ]
        points = [sparse_depth(component, i, view) for i, view in enumerate(views)]
        neighbours = choose_neighbours(component, views, points, config.sources)
        for view, seen, chosen in zip(views, points, neighbours):
            size = map_size(view, config.max_size)
            tasks.append(DepthTask(view, size, tuple(first + j for j in chosen), seen))
    return tuple(tasks)


def map_size(view: PinholeView, max_size: int, halvings: int = 0) -> tuple[int, int]:
    """(width, height) of a depth map of `view` [px].

    Args:
        max_size: the longer side; 0 = that of the view.
        halvings: how often to halve it, down to 160 px at most.
    """
    longest = max(view.width, view.height)
    finest = min(max_size, longest) if max_size > 0 else longest
    shrink = max(finest / 2**halvings, min(160.0, finest)) / longest
    return max(16, round(view.width * shrink)), max(16, round(view.height * shrink))
