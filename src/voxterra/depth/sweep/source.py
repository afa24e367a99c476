"""A depth source that fills tree crowns: a plane sweep at a coarse size with strong smoothing.

Leaves look different from every place, so that patches of full size match nowhere on a crown, and
stereo rightly keeps nothing there. At a few pixels a crown the photos still match. The ground under
it matches too, between the leaves and by chance; but had it been all there is, stereo would have
measured it. So in a hole, depths that continue the surroundings cost extra. A second round adds
what other photos found; only depths that others confirm are kept, and all photos' together make one
surface that fills the holes.

It is for photos that look down: of others, what stands in a hole need not stand out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from voxterra.core.depth import DepthMaps
from voxterra.core.progress import Progress, part
from voxterra.core.scope import ScopedThreadPool
from voxterra.depth.source import DepthInputs, Maps
from voxterra.depth.sweep.config import SweepConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What needs OpenCV is imported inside the function: a run's options are known without.

T = TypeVar("T")

_ROUNDS = 2


class SweepSource:
    """Fills what stands in holes, such as tree crowns, where a coarse sweep of photos agrees."""

    name = "sweep"
    license = "Apache-2.0"
    metric = False
    needs_gpu = False
    version = 1
    options = SweepConfig
    estimate = None
    start = None

    def requires(self, options: SweepConfig) -> None:
        pass

    def fill(
        self, inputs: DepthInputs, maps: DepthMaps, options: SweepConfig, progress: Progress
    ) -> Maps:
        """Coarse depths of photos that look down, where other photos' sweeps confirm them."""
        from voxterra.depth.sweep.canopy import canopy_of
        from voxterra.depth.sweep.sweeps import Sweeps, looks_down

        todo = [i for i in inputs.todo if looks_down(inputs.tasks[i].view)]
        needed = {j for i in todo for j in (i, *inputs.tasks[i].neighbours)}
        needed = {i for i in needed if looks_down(inputs.tasks[i].view)}
        sweeps = Sweeps(inputs, maps, options)
        found: dict[int, NDArray[np.float32]] = {}
        for number in range(_ROUNDS):
            report = part(progress, 0.4 * number, 0.4 * (number + 1))
            swept = _of_each(sorted(needed), partial(sweeps.sweep, found=found), report)
            found = dict(swept)
        report = part(progress, 0.4 * _ROUNDS, 0.9)
        points = [p for _, p in _of_each(found, partial(sweeps.confirmed, found=found), report)]
        if not todo:
            return
        canopy = canopy_of(points, sweeps.cell_size())
        report = part(progress, 0.9, 1.0)
        for done, i in enumerate(todo):
            report(done / len(todo), f"drawing crowns: {done + 1}/{len(todo)} photos")
            if inputs.tasks[i].points.w_range[0] > 0:
                yield i, sweeps.drawn(i, canopy)


def _of_each(
    photos: Collection[int], work: Callable[[int], T], progress: Progress
) -> list[tuple[int, T]]:
    """What some work gives for each photo, several at a time."""
    found = []
    with ScopedThreadPool(os.cpu_count()) as pool:
        jobs = {i: pool.submit(work, i) for i in photos}
        try:
            for done, (i, job) in enumerate(jobs.items()):
                progress(done / len(jobs), f"filling crowns: {done + 1}/{len(jobs)} photos")
                found.append((i, job.result()))
        finally:  # stopped by `progress`: what has not begun does not begin
            pool.shutdown(cancel_futures=True)
    return found
