"""A picture of a mesh: textured, coloured by vertex, or shaded grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.mesh import TriMesh
from voxterra.kernels.raster.zbuffer import rasterize_depth

Float = NDArray[np.float64]

_STEEP = 0.8  # photos that look down more than this (cosine) are drawn from the side instead
_TILT = np.radians(38.0)


def render_textured(
    mesh: TriMesh, view: PinholeView
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(H, W, 3) RGB picture of a textured mesh and (H, W) where it shows the mesh.

    Texels are interpolated bilinearly, as a graphics card does without mip-maps.

    Raises:
        ValueError: the mesh has no texture.
    """
    if mesh.texture is None:
        raise ValueError("the mesh has no texture")
    return render(mesh, view)


def render(mesh: TriMesh, view: PinholeView) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(H, W, 3) RGB picture of a mesh and (H, W) where it shows the mesh.

    Colours are those of the texture (bilinear, without mip-maps), else of the vertices, else grey
    by how much a face looks towards the camera.
    """
    in_cam = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
    depth, face = rasterize_depth(in_cam, mesh.faces, view.K, view.width, view.height)
    rows, columns = np.nonzero(face >= 0)
    pixels = np.column_stack([columns, rows]).astype(np.float64) + 0.5
    points = view.unproject(pixels, depth[rows, columns].astype(np.float64))
    picture = np.zeros((view.height, view.width, 3), np.uint8)
    picture[rows, columns] = _colors(mesh, face[rows, columns], points, view)
    return picture, face >= 0


def _colors(
    mesh: TriMesh, chosen: NDArray[np.int32], points: Float, view: PinholeView
) -> NDArray[np.uint8]:
    """(N, 3) colours of `points` (N, 3) on the faces `chosen` (N,)."""
    a, b, c = mesh.vertices[mesh.faces[chosen]].astype(np.float64).swapaxes(0, 1)
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(axis=1), 1e-300)
    if mesh.texture is None and mesh.colors is None:
        towards = normal @ view.cam_from_world[2, :3] / np.sqrt(area)
        return np.repeat((70 + 150 * np.abs(towards)).astype(np.uint8)[:, None], 3, axis=1)
    second = (np.cross(points - a, c - a) * normal).sum(axis=1) / area
    third = (np.cross(b - a, points - a) * normal).sum(axis=1) / area
    weights = np.clip(np.stack([1 - second - third, second, third], axis=1), 0, 1)
    if mesh.texture is not None:
        uv = np.einsum("nk,nkc->nc", weights, mesh.texture.uv[chosen])
        return sample_texture(mesh.texture.image, uv)
    assert mesh.colors is not None  # one of the two is there, see above
    mixed = np.einsum("nk,nkc->nc", weights, mesh.colors[mesh.faces[chosen]].astype(np.float64))
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def sample_texture(image: NDArray[np.uint8], uv: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(N, 3) bilinear colours of an (H, W, 3) atlas at (N, 2) coordinates, v up."""
    height, width = image.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    s, t = (x - column)[:, None], (y - row)[:, None]
    top = (1 - s) * image[row, column] + s * image[row, right]
    bottom = (1 - s) * image[below, column] + s * image[below, right]
    return np.asarray(np.rint((1 - t) * top + t * bottom), np.uint8)


def overview(mesh: TriMesh, views: Sequence[PinholeView], width: int, height: int) -> PinholeView:
    """A view of the whole mesh.

    From where most photos look; obliquely from the south where they look down or all around.
    """
    low, high = np.quantile(mesh.vertices, [0.02, 0.98], axis=0).astype(np.float64)
    middle, size = (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0
    forward = np.mean([v.cam_from_world[2, :3] for v in views], axis=0) if views else np.zeros(3)
    length = float(np.linalg.norm(forward))
    if length < 0.5 or -forward[2] > _STEEP * length:
        forward = np.array([-0.25, np.cos(_TILT), -np.sin(_TILT)])
    away = -forward / np.linalg.norm(forward)
    view = _look(middle + 1.3 * size * away, middle, width, height, focal_px=float(width))
    return _zoomed(view, mesh)


def _zoomed(view: PinholeView, mesh: TriMesh) -> PinholeView:
    """The same view with the mesh, but for strays, filling the picture."""
    step = max(1, len(mesh.vertices) // 20_000)
    pixels, depth = view.project(mesh.vertices[::step].astype(np.float64))
    low, high = np.quantile(pixels[depth > 0], [0.005, 0.995], axis=0)
    room = np.array([view.width, view.height], np.float64)
    scale = float((0.96 * room / np.maximum(high - low, 1e-9)).min())
    K = view.K.copy()
    K[[0, 1], [0, 1]] *= scale
    K[:2, 2] = room / 2 - scale * ((low + high) / 2 - view.K[:2, 2])
    return replace(view, K=K)


def _look(center: Float, target: Float, width: int, height: int, *, focal_px: float) -> PinholeView:
    """A pinhole view at `center` towards `target`, with z up in the picture."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) < 1e-6:
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    K = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])
    camera = Camera("PINHOLE", width, height, (focal_px, focal_px, width / 2, height / 2))
    pose = np.column_stack([rotation, -rotation @ center])
    return PinholeView("overview", K, pose, width, height, camera)
