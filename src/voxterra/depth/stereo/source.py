"""Multi-view stereo as a depth source: depth, normals and confidence from photos alone.

Coarse to fine over an image pyramid. At the coarsest level PatchMatch starts from the sparse
points and random planes; finer levels start from the level below and also ask that depth maps
agree with each other (geometric consistency). What agrees with no other photo is removed last.

Sources: Gipuma (Galliani 2015), COLMAP's multi-view stereo (Schoenberger 2016), ACMM (Xu & Tao
2019); see `kernels.stereo.hypotheses`.
"""

from __future__ import annotations

from typing import Any

from voxterra.core.progress import Progress
from voxterra.depth.config import DepthConfig
from voxterra.depth.source import DepthInputs, Maps
from voxterra.errors import ReconstructionError

# The kernels are imported inside the functions: a run that does no stereo need not load them.


class StereoSource:
    """Our own stereo; the depth source that is used unless another one is asked for."""

    name = "stereo"
    license = "Apache-2.0"
    metric = False
    needs_gpu = False
    version = 1  # its results have the depth stage's code version
    options: type[Any] | None = DepthConfig
    start = None
    fill = None

    def requires(self, options: DepthConfig) -> None:
        """Refuse a GPU that is asked for and cannot be used.

        Raises:
            UsageError: there is none.
            MissingPartError: what it needs is not installed.
        """
        if options.device == "cuda":
            from voxterra.depth.stereo.device import uses_gpu

            uses_gpu(options)

    def estimate(self, inputs: DepthInputs, options: DepthConfig, progress: Progress) -> Maps:
        """Depth maps of the photos that have neighbours; the others' are empty.

        Raises:
            ReconstructionError: no photo has another one to be matched against.
        """
        if not any(task.neighbours for task in inputs.tasks):
            raise ReconstructionError(
                "No two photos share enough points to compute depth.",
                next_step="Take photos that overlap by 60 % or more, from places some metres "
                "apart.",
            )
        from voxterra.depth.stereo import pyramid

        return pyramid.solve_pyramid(inputs, options, progress)
