"""Faces that benchmarks leave out: outside of the masks of the photos, or seen by no camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxterra.core.progress import Progress, no_progress
from voxterra.core.transforms import Similarity
from voxterra.errors import InputError
from voxterra.evaluate.geometry import Geometry
from voxterra.io.idr import read_idr_cameras
from voxterra.io.images import open_image, read_mask
from voxterra.kernels.raster.zbuffer import rasterize_depth

Float = NDArray[np.float64]
DILATION_PX = 24
_CAMERA_FILES = ("cameras_sphere.npz", "cameras.npz")
_MASK_FOLDERS = ("mask", "masks")
# What is this much farther than the nearest surface, as a share of the depth, is still seen:
# rounding of the depth map.
_SEEN_SLACK = 1e-3


@dataclass(frozen=True)
class MaskedCameras:
    """Photos of an object with their masks.

    Attributes:
        K: (N, 3, 3) pinhole matrices [px], first pixel centre at (0.5, 0.5).
        cam_from_world: (N, 3, 4) rigid.
        masks: N of (H, W) bool, True = object.
        world_from_sphere: from the unit sphere that methods train in to the world, or None.
    """

    K: Float
    cam_from_world: Float
    masks: tuple[NDArray[np.bool_], ...]
    world_from_sphere: Similarity | None = None


def read_masked_cameras(folder: Path) -> MaskedCameras:
    """Cameras and masks of a scene that the authors of IDR prepared.

    Args:
        folder: holds `cameras_sphere.npz` (or `cameras.npz`) and `mask/` (or `masks/`), whose
            files, sorted, are those of the cameras.

    Raises:
        InputError: a file is missing, or masks and cameras are not as many.
        FormatError: a file is damaged.
    """
    folder = Path(folder)
    file = next((folder / n for n in _CAMERA_FILES if (folder / n).is_file()), None)
    masks = next((folder / n for n in _MASK_FOLDERS if (folder / n).is_dir()), None)
    if file is None or masks is None:
        what = " and ".join(
            name for name, there in (("cameras_sphere.npz", file), ("mask/", masks)) if not there
        )
        raise InputError(
            f"There is no {what} to cull the mesh with.",
            where=str(folder),
            next_step="Give the folder of the scan that was trained on, or --cull none.",
        )
    cameras = read_idr_cameras(file)
    files = sorted(p for p in masks.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if len(files) != len(cameras):
        raise InputError(
            f"There are {len(files)} masks, but {len(cameras)} cameras.",
            where=str(masks),
            next_step="Put one mask for each camera there, sorted as the cameras are.",
        )
    sizes = []
    for path in files:
        with open_image(path) as image:
            sizes.append(image.size)
    sphere = None
    if cameras.center is not None and cameras.radius is not None:
        sphere = Similarity(cameras.radius, np.eye(3), cameras.center)
    read = tuple(read_mask(path, *size) for path, size in zip(files, sizes))
    return MaskedCameras(cameras.K, cameras.cam_from_world, read, sphere)


def inside_masks(
    geometry: Geometry,
    cameras: MaskedCameras,
    dilation_px: float = DILATION_PX,
    *,
    progress: Progress = no_progress,
) -> Geometry:
    """Remove the parts outside of the object in some photo.

    A vertex goes when a photo shows its place and the mask there, grown by a disk of
    `dilation_px`, is off, or when no photo shows its place at all; a face goes with any of its
    vertices. This is how surfaces that were trained with more than the object in view are made
    comparable on DTU.
    """
    keep = np.ones(len(geometry.vertices), bool)
    shown = np.zeros(len(geometry.vertices), bool)
    for i, mask in enumerate(cameras.masks):
        pixels, _, inside = _pixels(geometry.vertices, cameras, i)
        shown |= inside
        grown = _grown(mask, dilation_px)
        keep[inside] &= grown[pixels[inside, 1], pixels[inside, 0]]
        progress((i + 1) / len(cameras.masks), f"mask {i + 1}/{len(cameras.masks)}")
    return _without(geometry, keep & shown, every_vertex=True)


def seen(
    geometry: Geometry, cameras: MaskedCameras, *, progress: Progress = no_progress
) -> Geometry:
    """Without the faces of a mesh that others hide from every camera."""
    if geometry.faces is None:
        raise InputError(
            "A point cloud hides nothing, so it is unknown which of its points are seen.",
            next_step="Give a mesh, or cull by masks alone: --cull masks.",
        )
    visible = np.zeros(len(geometry.vertices), bool)
    for i, mask in enumerate(cameras.masks):
        pixels, in_cam, inside = _pixels(geometry.vertices, cameras, i)
        height, width = mask.shape
        depth, _ = rasterize_depth(in_cam, geometry.faces, cameras.K[i], width, height)
        farthest = _largest_around(depth)[pixels[inside, 1], pixels[inside, 0]]
        z = in_cam[inside, 2]
        # A vertex on the rim of the mesh may be outside all pixels that its faces cover.
        visible[inside] |= (z <= farthest * (1.0 + _SEEN_SLACK)) | (farthest == 0)
        progress((i + 1) / len(cameras.masks), f"view {i + 1}/{len(cameras.masks)}")
    return _without(geometry, visible, every_vertex=False)


def _pixels(
    vertices: Float, cameras: MaskedCameras, index: int
) -> tuple[NDArray[np.int64], Float, NDArray[np.bool_]]:
    """(V, 2) column and row of each vertex, (V, 3) in camera, (V,) whether the photo shows it."""
    pose, K = cameras.cam_from_world[index], cameras.K[index]
    in_cam = vertices @ pose[:, :3].T + pose[:, 3]
    z = np.where(in_cam[:, 2] > 1e-9, in_cam[:, 2], 1.0)
    xy = in_cam[:, :2] / z[:, None] * (K[0, 0], K[1, 1]) + K[:2, 2]
    height, width = cameras.masks[index].shape
    inside = (in_cam[:, 2] > 1e-9) & ((xy >= 0) & (xy < (width, height))).all(axis=1)
    return np.where(inside[:, None], np.floor(xy), 0).astype(np.int64), in_cam, inside


def _grown(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The mask dilated by a disk."""
    from scipy.ndimage import distance_transform_edt

    if radius <= 0 or mask.all() or not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= radius)


def _largest_around(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(depth, size=3))


def _without(geometry: Geometry, keep: NDArray[np.bool_], *, every_vertex: bool) -> Geometry:
    if geometry.faces is None:
        return Geometry(geometry.vertices[keep], None)
    corners = keep[geometry.faces]
    faces = geometry.faces[corners.all(axis=1) if every_vertex else corners.any(axis=1)]
    return Geometry(geometry.vertices, faces)
