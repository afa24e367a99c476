"""What structure from motion finds: cameras, registered images, sparse points with tracks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import Camera
from voxterra.core.transforms import Similarity, camera_center

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Image:
    """A registered photo.

    Attributes:
        name: photo id, equal to `Photo.id`.
        camera_id: key into `Reconstruction.cameras`.
        cam_from_world: (3, 4) rigid transform; "world" is the reconstruction's own frame until it
            is georeferenced, then the metric ENU frame of its GeoFrame.
    """

    name: str
    camera_id: int
    cam_from_world: Float

    @property
    def center_in_world(self) -> Float:
        return camera_center(self.cam_from_world)


@dataclass(frozen=True)
class SparsePoints:
    """Triangulated points and the observations they came from.

    Attributes:
        positions_in_world: (N, 3) float64.
        colors: (N, 3) uint8 RGB.
        errors_px: (N,) float64 mean reprojection error [px].
        track_start: (N + 1,) int64; observations of point i are track_start[i]:track_start[i+1].
        track_image: (M,) int32 index into `Reconstruction.images`.
        track_xy: (M, 2) float64 observed pixel in the original (distorted) photo [px].
    """

    positions_in_world: Float
    colors: NDArray[np.uint8]
    errors_px: Float
    track_start: NDArray[np.int64]
    track_image: NDArray[np.int32]
    track_xy: Float

    def __len__(self) -> int:
        return len(self.positions_in_world)

    def observed_by(self, image_index: int) -> NDArray[np.int64]:
        """Indices of the points that image `image_index` observes."""
        starts, points = self._points_by_image
        if not 0 <= image_index < len(starts) - 1:  # it observes none
            return points[:0]
        return points[starts[image_index] : starts[image_index + 1]]

    @cached_property
    def _points_by_image(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Start of each image's points, and the points image by image, ascending, each once.

        One sort for all images: a search for each would go through all observations.
        """
        point = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.track_start))
        order = np.lexsort((point, self.track_image))
        image, point = self.track_image[order].astype(np.int64), point[order]
        first = np.ones(len(point), bool)
        first[1:] = (np.diff(image) != 0) | (np.diff(point) != 0)
        image, point = image[first], point[first]
        count = np.bincount(image, minlength=int(image.max(initial=-1)) + 1)
        point.flags.writeable = False
        return np.concatenate([[0], np.cumsum(count)]), point


@dataclass(frozen=True)
class Reconstruction:
    """One component: a connected set of images with its sparse points.

    Attributes:
        cameras: intrinsics by id.
        images: registered images, sorted by name.
        points: sparse points.
    """

    cameras: dict[int, Camera]
    images: tuple[Image, ...]
    points: SparsePoints

    def camera_of(self, image: Image) -> Camera:
        return self.cameras[image.camera_id]

    def centers_in_world(self) -> Float:
        """(len(images), 3) camera centres."""
        return np.array([image.center_in_world for image in self.images]).reshape(-1, 3)

    def with_images(self, kept: NDArray[np.bool_]) -> Reconstruction:
        """The same with the images of a (len(images),) mask only, and the points they observe."""
        points = self.points
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        observed = np.asarray(kept)[points.track_image]
        point_of = np.repeat(np.arange(len(points)), np.diff(points.track_start))[observed]
        left, count = np.unique(point_of, return_counts=True)
        return replace(
            self,
            images=tuple(image for image, keep in zip(self.images, kept, strict=True) if keep),
            points=SparsePoints(
                points.positions_in_world[left],
                points.colors[left],
                points.errors_px[left],
                np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
                number[points.track_image[observed]].astype(np.int32),
                points.track_xy[observed],
            ),
        )

    def transformed(self, target_from_world: Similarity) -> Reconstruction:
        """The same reconstruction in another frame."""
        images = tuple(
            replace(i, cam_from_world=target_from_world.apply_to_cam_from_source(i.cam_from_world))
            for i in self.images
        )
        points = replace(
            self.points,
            positions_in_world=target_from_world.apply(self.points.positions_in_world),
        )
        return replace(self, images=images, points=points)
