"""Panoramas in a scene: each becomes the six views of a cube's faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PANORAMA, PinholeView, require_whole_sphere
from voxterra.errors import FormatError
from voxterra.imaging.panorama import (
    FACES,
    cut_faces,
    face_view,
    faces_seeing,
)
from voxterra.surface.voxels.scene.photo_files import PhotoFile
from voxterra.surface.voxels.scene.scene import ScenePoints, SceneView

Pixels = NDArray[np.uint8]


def is_panorama(photo: PhotoFile) -> bool:
    """Whether a photo shows the whole sphere."""
    return photo.camera.model == PANORAMA


def stretched(photos: Sequence[PhotoFile]) -> list[str]:
    """A warning where panoramas are not twice as wide as high; empty where all are."""
    odd = [p for p in photos if is_panorama(p) and abs(p.camera.width / p.camera.height - 2) > 0.02]
    if not odd:
        return []
    camera = odd[0].camera
    return [
        f"panoramas are twice as wide as high, but {len(odd)} are not ({odd[0].image.name} first: "
        f"{camera.width} x {camera.height}): a cropped one shows things in wrong directions, and "
        "so were its cameras found; give the whole ones"
    ]


def cut_panorama(
    photo: PhotoFile, rgb: Pixels, mask: Pixels | None
) -> Iterator[tuple[PinholeView, Pixels, Pixels | None]]:
    """View, (S, S, 3) pixels and (S, S) mask of each face of (H, W, 3) and (H, W), one by one.

    Raises:
        FormatError: the camera is not of the whole sphere.
    """
    require_whole_sphere(photo.camera, photo.path)
    views = [face_view(photo.image, face, rgb.shape[1]) for face in FACES]
    side = views[0].width
    masks = repeat(None) if mask is None else cut_faces(mask, side, is_mask=True)
    yield from zip(views, cut_faces(rgb, side), masks)


def points_by_view(points: ScenePoints, photos: Sequence[PhotoFile]) -> ScenePoints:
    """The points with each panorama's observations given to the faces that show them.

    Args:
        points: of the photos, in their order.
        photos: those that are panoramas have a view for each of `FACES`, in that order.
    """
    seen: list[NDArray[np.int64]] = []
    for index, photo in enumerate(photos):
        mine = points.seen_by(index)
        if not is_panorama(photo):
            seen.append(mine)
            continue
        pose = photo.image.cam_from_world
        face = faces_seeing(points.positions[mine] @ pose[:, :3].T + pose[:, 3])
        seen += [mine[face == number] for number in range(len(FACES))]
    return points.of_views(seen)


def check_names(views: Sequence[SceneView], source: str) -> None:
    """Raises FormatError where a photo has the name that a panorama's face gets."""
    names: set[str] = set()
    for view in views:
        if view.view.name in names:
            raise FormatError(
                f"Two views are named {view.view.name}: a photo, and a face of a panorama.",
                where=source,
                next_step="Rename the panorama, here and in the file of its camera.",
            )
        names.add(view.view.name)
