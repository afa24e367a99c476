"""What the training renders are compared with: images, masks and priors on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from voxterra.core.camera import PinholeView
from voxterra.core.depth import DepthMap
from voxterra.kernels.voxels.plan import View
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.model.render import kernel_view
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.scene.resize import resized_prior
from voxterra.surface.voxels.scene.scene import Scene, SceneView

IMAGE_BYTES, RENDER_BYTES = 300, 100
"""What an iteration takes for each pixel of an image and of its render, with gradients and losses,
by estimate: 290 and 140 of live tensors at `ss` 1 to 2. In whole trainings a GPU took 225 bytes a
pixel of the render at `ss` 1.5, a CPU 500 at `ss` 1."""
IMAGE_SHARE = 0.3
"""Part of a GPU's free memory that images may take; more of them stay on the CPU."""


@dataclass(frozen=True)
class Prior:
    """A depth map as tensors at the image's size (H, W); 0 = unknown.

    Attributes:
        depth: (H, W) float32 along the optical axis.
        normal: (H, W, 3) float32 in the camera frame.
        confidence: (H, W) float32 in [0, 1].
    """

    depth: Tensor
    normal: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Target:
    """One image with what is known of it.

    Attributes:
        index: of the view in the scene.
        order: of the view among those to train on (or among those held out).
        view: pinhole view at the image's size.
        kernel: the view as rendered, `ss` times as large.
        camera: (20,) float32 the camera at the image's own size, as the kernels lay it out.
        rgb: (H, W, 3) uint8.
        mask: (H, W) uint8, 255 = object, or None.
        ignored: (H, W) bool, where nothing is compared, or None.
        prior: depth map, or None.
        sparse_xy, sparse_depth: (P, 2) pixels and (P,) depths of the sparse points it sees.
    """

    index: int
    order: int
    view: PinholeView
    kernel: View
    camera: Tensor
    rgb: Tensor
    mask: Tensor | None
    ignored: Tensor | None
    prior: Prior | None
    sparse_xy: Tensor
    sparse_depth: Tensor

    @property
    def color(self) -> Tensor:
        """(H, W, 3) float32 in [0, 1] on the kernels' device."""
        device = self.kernel.camera.device
        return self.rgb.to(device, non_blocking=True).float().mul_(1.0 / 255.0)

    @property
    def weight(self) -> Tensor | None:
        """(H, W) float32 mask in [0, 1] on the kernels' device."""
        if self.mask is None:
            return None
        return self.mask.to(self.kernel.camera.device, non_blocking=True).float() / 255.0

    @property
    def counts(self) -> Tensor | None:
        """(H, W) bool on the kernels' device, where the view shows what is compared with others:
        neither ignored nor beside the object; None: everywhere.
        """
        device = self.kernel.camera.device
        if self.ignored is not None:
            return ~self.ignored.to(device, non_blocking=True)
        return None if self.mask is None else self.mask.to(device, non_blocking=True) > 127


def make_targets(
    scene: Scene, cube: Cube, config: VoxelConfig, device: torch.device
) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Targets to train on, and those held out."""
    store = _image_device(scene, config, device)

    def make(held_out: bool) -> tuple[Target, ...]:
        chosen = [i for i, view in enumerate(scene.views) if view.held_out == held_out]
        targets = [
            _target(i, order, scene, cube, config, device, store) for order, i in enumerate(chosen)
        ]
        return _alike(targets)

    return make(False), make(True)


def pixel_bytes(targets: Sequence[Target]) -> int:
    """Memory that an iteration takes for the pixels of its view, the largest [bytes]."""
    images = max(t.rgb.shape[0] * t.rgb.shape[1] for t in targets)
    return IMAGE_BYTES * images + RENDER_BYTES * max(
        t.kernel.width * t.kernel.height for t in targets
    )


def halved(target: Target, cube: Cube) -> Target:
    """The target with half as many pixels a side, rendered as large as its image."""
    height, width = (max(1, n // 2) for n in target.rgb.shape[:2])
    device = target.kernel.camera.device
    view = target.view.resized(width, height)
    kernel = kernel_view(view, cube, device)

    def averaged(image: Tensor) -> Tensor:
        mean = torch.nn.functional.interpolate(
            image.movedim(-1, 0)[None].float(), size=(height, width), mode="area"
        )
        return mean[0].movedim(0, -1).round_().to(torch.uint8).contiguous()

    prior = target.prior
    if prior is not None:
        maps = (m.cpu().numpy() for m in (prior.depth, prior.normal, prior.confidence))
        prior = _tensors(
            resized_prior(DepthMap(target.view, *maps), width, height), prior.depth.device
        )
    share = torch.tensor([width, height], device=device) / torch.tensor(
        [target.view.width, target.view.height], device=device
    )
    outside = (target.sparse_xy < 0).any(dim=1, keepdim=True)  # see `_alike`
    return replace(
        target,
        view=view,
        kernel=kernel,
        camera=kernel.camera,
        rgb=averaged(target.rgb),
        mask=None if target.mask is None else averaged(target.mask[..., None])[..., 0],
        ignored=None
        if target.ignored is None
        else averaged(255 * target.ignored[..., None].byte())[..., 0] > 0,
        prior=prior,
        sparse_xy=torch.where(outside, target.sparse_xy, target.sparse_xy * share),
    )


def _alike(targets: list[Target]) -> tuple[Target, ...]:
    """The targets with equally many sparse points: what is too much lies outside of the image.

    Views of one shape then share one recording of the losses (`recorded`).
    """
    most = max((len(t.sparse_depth) for t in targets), default=0)

    def padded(target: Target) -> Target:
        missing = most - len(target.sparse_depth)
        if not missing:
            return target
        xy = torch.cat([target.sparse_xy, target.sparse_xy.new_full((missing, 2), -1.0)])
        depth = torch.cat([target.sparse_depth, target.sparse_depth.new_zeros(missing)])
        return replace(target, sparse_xy=xy, sparse_depth=depth)

    return tuple(map(padded, targets))


def _image_device(scene: Scene, config: VoxelConfig, device: torch.device) -> torch.device:
    if config.data_device != "auto":
        return torch.device(config.data_device)
    if device.type != "cuda":
        return device
    size = sum(map(_bytes, scene.views))
    return (
        device if size < IMAGE_SHARE * torch.cuda.mem_get_info(device)[0] else torch.device("cpu")
    )


def _bytes(source: SceneView) -> int:
    """Memory of a view: image, mask, prior (20 bytes a pixel), grey image for its neighbours."""
    pixels: int = source.rgb.shape[0] * source.rgb.shape[1]
    masked = pixels if source.mask is not None or source.ignored is not None else 0
    return (
        source.rgb.nbytes + masked + (20 * pixels if source.prior is not None else 0) + 4 * pixels
    )


def _target(
    index: int,
    order: int,
    scene: Scene,
    cube: Cube,
    config: VoxelConfig,
    device: torch.device,
    store: torch.device,
) -> Target:
    source = scene.views[index]
    rgb = _shared(source.rgb, store)
    mask = None if source.mask is None else _shared(source.mask, store)
    ignored = None if source.ignored is None else _shared(source.ignored, store)
    xy, depth = _sparse(index, scene)
    return Target(
        index=index,
        order=order,
        view=source.view,
        kernel=kernel_view(source.view, cube, device, config.ss),
        camera=kernel_view(source.view, cube, device).camera,
        rgb=rgb,
        mask=mask,
        ignored=ignored,
        prior=None if source.held_out else _prior(source, store),
        sparse_xy=torch.from_numpy(xy).to(device),
        sparse_depth=torch.from_numpy(depth).to(device),
    )


def _prior(source: SceneView, store: torch.device) -> Prior | None:
    """The view's depth map at the size of its image."""
    prior, view = source.prior, source.view
    if prior is None:
        return None
    if prior.depth.shape != (view.height, view.width):
        prior = resized_prior(prior, view.width, view.height)
    return _tensors(prior, store)


def _tensors(prior: DepthMap, store: torch.device) -> Prior:
    return Prior(*(_shared(a, store) for a in (prior.depth, prior.normal, prior.confidence)))


def _shared(array: np.ndarray, store: torch.device) -> Tensor:
    """The array as a tensor; on the CPU it is the same memory, which nobody writes to."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(store)


def _sparse(index: int, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and depths of the sparse points that the view observed."""
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    if scene.points is None or scene.views[index].held_out:
        return none
    seen = scene.points.seen_by(index)
    if not len(seen):
        return none
    view = scene.views[index].view
    xy, depth = view.project(scene.points.positions[seen])
    inside = (depth > 0) & (xy >= 0).all(1) & (xy < [view.width, view.height]).all(1)
    ignored = scene.views[index].ignored
    if ignored is not None:
        column, row = np.where(inside[:, None], xy, 0).astype(np.int64).T
        inside &= ~ignored[row, column]
    return xy[inside].astype(np.float32), depth[inside].astype(np.float32)
