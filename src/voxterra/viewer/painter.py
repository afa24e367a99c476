"""Pictures of sparse voxels for the viewer: colour, depth, normals, levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.geo import GeoFrame
from voxterra.core.voxels import VoxelModel

SHOWS = ("colour", "depth", "normal", "level")
_EMPTY = (34, 34, 38)
_TOLD_FROM_PX = 400
"""Width from which on a picture of depths shows their range as text."""
_SMALL = Camera("PINHOLE", 32, 24, (32.0, 32.0, 0.0, 0.0))

Pixels = NDArray[np.uint8]


class Painter:
    """Draws views of a model, on a GPU or a CPU."""

    def __init__(self, model: VoxelModel, device: str = "auto"):
        """Put the model on its device.

        Raises:
            UsageError, MissingPartError: there is no such device, or nothing to render with.
        """
        from voxterra.surface.voxels.config import VoxelConfig
        from voxterra.surface.voxels.device import choose_device
        from voxterra.surface.voxels.model.render import to_device
        from voxterra.surface.voxels.octree.query import crossing

        chosen = choose_device(VoxelConfig(device=device))  # type: ignore[arg-type]
        self.voxels = to_device(model, chosen)
        frame = model.metadata.get("frame")
        self._unit = GeoFrame.from_dict(frame).unit if frame else "world units"
        self.full_px = 1600 if chosen.type == "cuda" else 800
        at_surface = crossing(self.voxels.octree, self.voxels.sdf)
        levels = self.voxels.octree.level[at_surface if bool(at_surface.any()) else slice(None)]
        self.levels = int(levels.min()), int(levels.max())  # of the octree, where the surface is
        # Kernels are compiled when they are first used: before a browser waits for them.
        self.draw(PinholeView("", np.diag([32.0, 32, 1]), np.eye(3, 4), 32, 24, _SMALL), "level")

    def draw(self, view: PinholeView, show: str = "colour") -> Pixels:
        """(H, W, 3) uint8 picture of `view`; `show` is one of `SHOWS`.

        Depth is bright where near, and large pictures show its range; normals are (n + 1) / 2 of
        their direction in world; levels go from blue (coarse voxels) to red (fine ones). Where
        there is nothing, colour has the model's background and the others are dark.
        """
        import torch

        from voxterra.surface.voxels.model.pictures import depth_picture, to_bytes
        from voxterra.surface.voxels.model.render import render_view

        with torch.no_grad():
            seen = render_view(self.voxels, view)
            if show == "colour":
                return to_bytes(seen.color)
            limits = None
            if show == "depth":
                (picture, limits), there = depth_picture(seen.depth), seen.depth > 0
            elif show == "normal":
                picture = to_bytes(0.5 + 0.5 * seen.normal)
                there = seen.normal.abs().sum(2) > 0
            else:
                level = self._level(view, seen.median_depth)
                picture, there = self._level_picture(view, level, seen.normal), level >= 0
        picture = np.where(there.cpu().numpy()[..., None], picture, np.array(_EMPTY, np.uint8))
        if limits is None or view.width < _TOLD_FROM_PX:
            return picture
        near, far = limits
        return with_text(picture, f"bright: {near:.3g}   dark: {far:.3g} {self._unit}")

    def _level(self, view: PinholeView, depth: Any) -> Any:
        """(H, W) octree level of the voxel at the median depth, -1 where none."""
        import torch

        from voxterra.surface.voxels.octree.query import locate

        rows, columns = np.indices((view.height, view.width)).reshape(2, -1) + 0.5
        distance = depth.flatten().double().cpu().numpy()
        points = view.unproject(np.column_stack([columns, rows]), distance)
        leaf = locate(self.voxels.octree, torch.from_numpy(points).to(depth.device))
        known = (leaf >= 0) & (depth.flatten() > 0)
        level = self.voxels.octree.level[leaf.clamp(min=0)].long()
        return torch.where(known, level, -1).reshape(depth.shape)

    def _level_picture(self, view: PinholeView, level: Any, normal: Any) -> Pixels:
        low, high = self.levels
        share = np.clip((level.cpu().numpy() - low) / max(1, high - low), 0, 1)
        shade = 0.55 + 0.45 * np.abs(normal.cpu().numpy() @ view.cam_from_world[2, :3])
        return np.asarray(np.rint(255 * ramp(share) * shade[..., None]), np.uint8)

    def legend(self) -> str:
        """What the colours of the levels mean, as Markdown."""
        low, high = self.levels
        outside = self.voxels.octree.cube.outside_level
        edge = self.voxels.octree.cube.inside_edge
        rows = []
        for level in range(low, high + 1):
            rgb = np.rint(255 * ramp(np.array((level - low) / max(1, high - low)))).astype(int)
            size = edge * 2.0 ** (outside - level)
            color = f"rgb({rgb[0]},{rgb[1]},{rgb[2]})"
            rows.append(f'<span style="color:{color}">■</span> level {level}: {size:.3g}')
        return "Edges of voxels:<br/>" + "<br/>".join(rows)


def failure_picture(view: PinholeView, why: str) -> Pixels:
    """(H, W, 3) picture for a view that cannot be drawn, with the reason."""
    empty = np.full((view.height, view.width, 3), _EMPTY, np.uint8)
    return with_text(empty, f"Voxels cannot be drawn: {why}")


def with_text(picture: Pixels, text: str) -> Pixels:
    """The picture with a line of text in its lower left corner."""
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=15)
    at = (12, image.height - 14)
    left, top, right, bottom = draw.textbbox(at, text, font, anchor="ls")
    draw.rectangle((left - 6, top - 5, right + 6, bottom + 5), fill=_EMPTY)
    draw.text(at, text, fill=(235, 235, 235), font=font, anchor="ls")
    return np.asarray(image)


def ramp(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) RGB in [0, 1] from blue over green to red for `share` from 0 to 1."""
    stops = np.array([[0.16, 0.3, 0.85], [0.1, 0.7, 0.75], [0.3, 0.75, 0.25],
                      [0.95, 0.75, 0.15], [0.85, 0.2, 0.15]])  # fmt: skip
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(share, at, stops[:, c]) for c in range(3)], axis=-1)
