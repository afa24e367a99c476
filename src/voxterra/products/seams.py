"""Where seams between photos run in an orthophoto: along places at which the photos look alike.

The raster is cut into coarse cells, each with the few photos that show it best. Labels are chosen
as in Agarwala et al. 2004 ("Interactive digital photomontage"): each cell wants a photo from nearly
above it that shows what most photos show; neighbours want the same photo, or photos that look alike
there. So nothing that moved through one photo is shown, and no seam crosses what stands up if there
is a way around. Photos blend over a few coarse cells only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxterra.kernels.raster.ortho_seams import send_messages

# Edge of a coarse cell, in cells of the raster.
COARSE_CELLS = 8
CANDIDATES = 6
# So many coarse cells away a photo can still change where a seam runs.
ROUNDS = 24
# Coarse cells to each side over which photos blend.
FEATHER = 1.0
# Of a log weight: what it costs that another photo is nearer to the vertical; and at most.
WEIGHT_COST, MOST_COST = 0.15, 6.0
# Of colours [0, 255]: the difference of two photos that makes a seam cost 1 for a side of a coarse
# cell, the cost of any seam, and the most that a difference costs.
SEAM = (12.0, 0.15, 4.0)
# Photos that differ less from most photos, or than three times what is usual there, are like them;
# the others cost up to twice as much.
ALIKE, OUTVOTED = 40.0, 5.0
# Coarse cells around a window that decide about it.
MARGIN = ROUNDS + 4


@dataclass(frozen=True)
class Candidates:
    """The photos that show each coarse cell best, best first.

    Attributes:
        photo: (H, W, K) int32, -1 = none.
        weight: (H, W, K) float32 log weights.
        color: (H, W, K, 3) uint8 mean colour of the cell in each.
    """

    photo: NDArray[np.int32]
    weight: NDArray[np.float32]
    color: NDArray[np.uint8]

    @classmethod
    def none(cls, height: int, width: int) -> Candidates:
        shape = (height, width, CANDIDATES)
        return cls(
            np.full(shape, -1, np.int32),
            np.full(shape, -np.inf, np.float32),
            np.zeros((*shape, 3), np.uint8),
        )


def choose_photos(found: Candidates) -> NDArray[np.int32]:
    """(H, W) photo of each coarse cell, -1 where none shows it."""
    there = found.photo >= 0
    behind = np.where(there, found.weight[..., :1], 0) - np.where(there, found.weight, 0)
    cost = np.minimum(WEIGHT_COST * behind, MOST_COST).astype(np.float32) + outvoted(found)
    messages = np.zeros((4, *cost.shape), np.float32)
    sent = np.zeros_like(messages)
    for _ in range(ROUNDS):
        send_messages(found.photo, found.color, cost, SEAM, messages, sent)
        messages, sent = sent, messages
    for message in messages:
        cost += message
    cost[~there] = np.inf
    best = cost.argmin(axis=2)
    return np.take_along_axis(found.photo, best[..., None], axis=2)[..., 0]


def outvoted(found: Candidates) -> NDArray[np.float32]:
    """(H, W, K) cost of candidates that show something else than most of a cell's candidates do.

    With fewer than three there is no majority.
    """
    there = found.photo >= 0
    count = there.sum(axis=2)
    color = np.where(there[..., None], found.color, np.float32(np.inf))
    middle = _median(color.transpose(2, 0, 1, 3), count[..., None])
    color[~there] = 0.0
    far = np.where(there, np.abs(color - middle[:, :, None]).max(axis=3), np.float32(np.inf))
    limit = np.maximum(ALIKE, 3.0 * _median(far.transpose(2, 0, 1), count))[..., None]
    other = there & (far > limit) & (count >= 3)[..., None]
    return np.where(other, OUTVOTED * np.minimum(far / limit, 2.0), 0.0).astype(np.float32)


def _median(values: NDArray[np.float32], count: NDArray[np.int64]) -> NDArray[np.float32]:
    """Median of the first `count` of sorted values along the first axis; 0 where there are none."""
    ordered = np.sort(values, axis=0)
    shape = np.broadcast_shapes(count.shape, ordered.shape[1:])
    low, high = (
        np.take_along_axis(ordered, np.broadcast_to(np.maximum(at, 0), shape)[None], axis=0)[0]
        for at in ((count - 1) // 2, np.minimum(count // 2, len(values) - 1))
    )
    return np.where(np.broadcast_to(count > 0, shape), 0.5 * (low + high), np.float32(0))


def share_of(labels: NDArray[np.int32], photo: int) -> NDArray[np.float32]:
    """(H, W) share of a photo in the blend at the middles of coarse cells."""
    import cv2

    own = (labels == photo).astype(np.float32)
    size = 2 * int(np.ceil(3 * FEATHER)) + 1
    blurred = cv2.GaussianBlur(own, (size, size), FEATHER, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred)
