"""Keep what several photos agree on, and say how sure that is.

Where they leave nothing, a second pass keeps what a single other photo agrees with, marked as weak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from voxterra.core.depth import DepthMap
from voxterra.core.progress import Progress
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.config import DepthConfig
from voxterra.depth.source import DepthInputs, Maps
from voxterra.depth.stereo.cpu import OnCpu
from voxterra.depth.stereo.device import stereo_on
from voxterra.depth.stereo.geometry import pinhole_of
from voxterra.depth.stereo.level import Level
from voxterra.depth.undistort import usable
from voxterra.kernels.stereo.planes import normals_from_planes

if TYPE_CHECKING:
    from voxterra.depth.stereo.gpu import OnGpu

_SPECKLE_PX = 40
_SURE_COST = 0.25
# Depth maps can agree without matching: where nothing correlates, as on tree crowns in the wind,
# geometric consistency spreads the ground's plane over what stands on it.
_WORST_COST = 0.65
_WEAK_CONFIDENCE = np.float32(0.3)
"""How much a weak pixel is trusted beside one of the same cost that several photos agree on."""


def filter_depth_maps(
    level: Level, inputs: DepthInputs, config: DepthConfig, progress: Progress
) -> Maps:
    """Yield the depth maps of `inputs.todo` from the planes of `level`, the finest one.

    Planes that no later photo is checked against are deleted on the way.
    """
    last_use = {j: i for i in inputs.todo for j in (i, *inputs.tasks[i].neighbours)}
    with stereo_on(config, level, images=None, coarse=None) as stereo:
        for done, i in enumerate(inputs.todo):
            progress(done / len(inputs.todo), f"filtering {i + 1}/{len(inputs.tasks)}")
            yield i, _filtered(i, level, inputs, stereo, config)
            for j in (i, *inputs.tasks[i].neighbours):  # the map of photo i is safe by now
                if last_use[j] == i:
                    level.remove(j)


def _filtered(
    i: int, level: Level, inputs: DepthInputs, stereo: OnCpu | OnGpu, config: DepthConfig
) -> DepthMap:
    view, neighbours = level.views[i], inputs.tasks[i].neighbours
    planes, costs = level.planes(i), level.costs(i)
    depth = np.zeros(costs.shape, np.float32)
    confidence = np.zeros(costs.shape, np.float32)
    weak = np.zeros(costs.shape, np.bool_)
    if neighbours:
        limits = config.max_reprojection_px, config.max_depth_error
        agree, look, mean_w = stereo.check(i, neighbours, planes, *limits)
        keep = _worth_keeping(costs, agree, look, min(config.min_agreeing, len(neighbours)))
        mask = usable(inputs.photos, i, view)
        if mask is None:
            mask = np.ones(costs.shape, np.bool_)
        depth[keep & mask] = 1.0 / mean_w[keep & mask]
        remove_speckles(depth, config.max_depth_error)
        if config.keep_weak:
            # Small islands stay: they are the twigs and wires that this pass is for.
            weak = (depth == 0) & mask & _worth_keeping(costs, agree, look, 1)
            depth[weak] = 1.0 / mean_w[weak]
        known = depth > 0
        confidence[known] = _confidence(costs[known], agree[known])
        confidence[weak] = np.maximum(confidence[weak] * _WEAK_CONFIDENCE, 1 / 255)
    normal = normals_from_planes(planes, pinhole_of(view))
    normal[depth == 0] = 0
    support = np.where(depth > 0, SurfaceSource.MEASURED, SurfaceSource.NONE).astype(np.uint8)
    support[weak] = SurfaceSource.WEAK
    return DepthMap(view, depth, normal, confidence, support=support)


def _worth_keeping(
    costs: NDArray[np.float32], agree: NDArray[np.uint8], look: NDArray[np.uint8], enough: int
) -> NDArray[np.bool_]:
    """Which pixels to keep, by their matching cost and the views that agree and that look."""
    keep = agree >= enough
    # At the rim of a survey one other photo may be all that looks: let it do where the
    # patches match well.
    keep |= (agree >= 1) & (look < enough) & (costs < _SURE_COST)
    return keep & (costs < _WORST_COST)


def remove_speckles(
    depth: NDArray[np.float32], max_relative: float, smallest: int = _SPECKLE_PX
) -> None:
    """Set small islands of depth to unknown, in place.

    An island is a connected region whose neighbouring depths differ by less than
    `2 * max_relative`; those under `smallest` pixels go.
    """
    known = depth > 0
    log_depth = np.log(depth, out=np.zeros_like(depth), where=known)
    # OpenCV's speckle filter works on 16 bit integers: one step is a quarter of the tolerance.
    step = 0.5 * max_relative
    low = float(log_depth[known].min()) if known.any() else 0.0
    quantised = np.clip((log_depth - low) / step, 0, 32000).astype(np.int16) + 1
    quantised[~known] = 0
    cv2.filterSpeckles(quantised, 0, smallest, 4)
    depth[quantised == 0] = 0


def _confidence(costs: NDArray[np.float32], count: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rises with the correlation of the patches and with the number of photos that agree."""
    match = np.clip(1.0 - costs, 0.05, 1.0)
    agreed = 1.0 - 0.6 ** count.astype(np.float32)
    return np.asarray(np.clip(match * agreed, 1 / 255, 1.0), np.float32)
