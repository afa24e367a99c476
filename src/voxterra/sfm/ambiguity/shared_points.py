"""Compare the points that two photos of a model share with those they could share.

Of two photos taken side by side, nearly all points of one that are in the other's frame are found
there too. Where they are missing, the photos may not show the same place (Zach, Irschara and
Bischof, What can missing correspondences tell us about 3D structure and motion?, CVPR 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu
from scipy.spatial import KDTree

from voxterra.core.progress import Progress, no_progress

Float = NDArray[np.float64]
Ints = NDArray[np.int64]

# Points that fewer photos see are often wrong.
_MIN_TRACK = 3
# Largest model of which all points are used. Of larger ones, so many points of each photo are drawn
# at random: shares of a photo's own points do not depend on the number of other photos.
_MOST_POINTS = 100_000
_POINTS_OF_PHOTO = 400
# Views that look alike see things at similar distances: points of views like a photo are not
# further from it than this many times the distance of its own points.
_REACH = 3.0
# Pairs with fewer points that one sees and the other should are not judged.
MIN_POINTS = 30
# Points used to compare from where two images look at what they could share.
_LOOKED_AT = 100
# Largest angle between the rays of two similar views to a thing [deg], and largest ratio of its
# sizes in them.
_MOST_ANGLE_DEG, _MOST_SCALE = 20.0, 1.5


@dataclass(frozen=True)
class Sharing:
    """Points of a model and the images that see them.

    Attributes:
        ids: (N,) image ids, ascending.
        points: (P, 3) in the model's frame.
        centers: (N, 3) of projection.
        pixel_axes: (N, 3) optical axes over the focal lengths: what lies at depth d along one has
            pixels of the size d times its length.
        seen: (N, P) sparse, 1 for points of which the image has an observation.
        framed: (N, P) sparse, 1 for points in the image's frame.
        features: (N,) number in each image; scaled down where points are sampled.
    """

    ids: Ints
    points: Float
    centers: Float
    pixel_axes: Float
    seen: csr_array
    framed: csr_array
    features: Ints

    def seen_and_framed(self, a: int, b: int) -> Ints:
        """Points that image `a` (a row) sees and that are in the frame of image `b`, ascending."""
        return np.intersect1d(_columns(self.seen, a), _columns(self.framed, b)).astype(np.int64)

    def pixel_sizes(self, image: int, points: Ints) -> Float:
        """(K,) size of a pixel of an image (a row) at these points, in units of the model."""
        rays = self.points[points] - self.centers[image]
        return np.asarray(rays @ self.pixel_axes[image])


@dataclass(frozen=True)
class AlikeViews:
    """Pairs of images that look at the same points from nearly the same direction and distance.

    Attributes:
        pairs: (K, 2) rows of `Sharing.ids`, first < second.
        shared: (K,) share of the points of one in the frame of the other that the other sees too,
            the smaller of both ways.
    """

    pairs: Ints
    shared: Float


def sharing_of(model: pycolmap.Reconstruction, seed: int) -> Sharing:
    """Read which images of a model see which points."""
    ids = np.array(sorted(model.reg_image_ids()), np.int64)
    row = {int(i): k for k, i in enumerate(ids)}
    kept = [p for p in model.points3D.values() if p.track.length() >= _MIN_TRACK]
    tracks = [[row[e.image_id] for e in p.track.elements] for p in kept]
    all_near, share = len(kept) <= _MOST_POINTS, np.ones(len(ids))
    if not all_near:
        chosen = _some_of_each(tracks, len(ids), np.random.default_rng(max(seed, 0)))
        before = np.array([len(c) for c in _by_photo(tracks, len(ids))])
        kept, tracks = [kept[i] for i in chosen], [tracks[i] for i in chosen]
        share = np.array([len(c) for c in _by_photo(tracks, len(ids))]) / np.maximum(before, 1)
    points = np.array([p.xyz for p in kept]).reshape(-1, 3)
    seen = _sparse(_by_photo(tracks, len(ids)), len(points))
    tree = None if all_near else KDTree(points)
    framed: list[Ints] = []
    pixel_axes = np.zeros((len(ids), 3))
    for k, image_id in enumerate(ids):
        image = model.image(int(image_id))
        camera = model.camera(image.camera_id)
        near = np.arange(len(points))
        if tree is not None:
            near = _within_reach(tree, points, image.projection_center(), _columns(seen, k))
        in_cam = to_cam(image, points[near])
        ahead = np.flatnonzero(in_cam[:, 2] > 0)
        xy = np.asarray(camera.img_from_cam(in_cam[ahead])).reshape(-1, 2)
        inside = (xy > 0).all(axis=1) & (xy < [camera.width, camera.height]).all(axis=1)
        inside &= _slope(in_cam[ahead]) <= _steepest(camera)
        framed.append(near[ahead[inside]])
        pixel_axes[k] = image.cam_from_world().matrix()[2, :3] / camera.mean_focal_length()
    images = [model.image(int(i)) for i in ids]
    centers = np.array([image.projection_center() for image in images])
    features = np.array([image.num_points2D() for image in images])
    features = np.ceil(features * share).astype(np.int64)
    in_frame = _sparse(framed, len(points))
    return Sharing(ids, points, centers, pixel_axes, seen, in_frame, features)


def _sparse(columns_of_rows: Sequence[Ints], columns: int) -> csr_array:
    """(rows, columns) matrix with a 1 at the given columns of each row, which ascend."""
    starts = np.concatenate([[0], np.cumsum([len(c) for c in columns_of_rows])])
    indices = np.concatenate([*columns_of_rows, np.zeros(0, np.int64)])
    ones = np.ones(len(indices), np.int32)
    return csr_array((ones, indices, starts), shape=(len(columns_of_rows), columns))


def _by_photo(tracks: Sequence[Sequence[int]], photos: int) -> list[Ints]:
    """Tracks that each photo is in, ascending, each once."""
    photo = np.fromiter((r for rows in tracks for r in rows), np.int64)
    track = np.repeat(np.arange(len(tracks)), [len(rows) for rows in tracks])
    pairs = np.unique(np.column_stack([photo, track]), axis=0)
    return np.split(pairs[:, 1], np.searchsorted(pairs[:, 0], np.arange(1, photos)))


def _columns(matrix: csr_array, row: int) -> Ints:
    """Columns of a row that are not 0, ascending."""
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], np.int64)


def _some_of_each(tracks: Sequence[Sequence[int]], photos: int, rng: np.random.Generator) -> Ints:
    """Indices of points: of each photo `_POINTS_OF_PHOTO`, or all that it sees."""
    wanted = np.full(photos, _POINTS_OF_PHOTO)
    chosen = []
    for index in rng.permutation(len(tracks)):
        rows = tracks[index]
        if (wanted[rows] > 0).any():
            chosen.append(index)
            wanted[rows] -= 1
    return np.sort(np.array(chosen, np.int64))


def _within_reach(tree: KDTree, points: Float, center: Float, own: Ints) -> Ints:
    """Points near enough to a photo for photos like it to see them."""
    if not len(own):
        return np.zeros(0, np.int64)
    distance = float(np.percentile(np.linalg.norm(points[own] - center, axis=1), 95))
    return np.sort(np.array(tree.query_ball_point(center, _REACH * distance), np.int64))


def _steepest(camera: pycolmap.Camera) -> float:
    """Largest tangent of a ray of the frame to the optical axis.

    Beyond it the distortion of a wide lens can fold back, so that points far outside appear inside.
    """
    t = np.linspace(0.0, 1.0, 9)
    edges = [np.column_stack([t, np.full(9, k)]) for k in (0.0, 1.0)]
    border = np.concatenate([*edges, *(edge[:, ::-1] for edge in edges)])
    rays = np.asarray(camera.cam_from_img(border * [camera.width, camera.height]), float)
    slopes = np.linalg.norm(rays.reshape(len(border), -1)[:, :2], axis=1)
    return 1.01 * float(slopes.max()) if np.isfinite(slopes).all() else np.inf


def _slope(in_cam: Float) -> Float:
    """(P,) tangents of the rays to points before a camera to its optical axis."""
    return np.asarray(np.linalg.norm(in_cam[:, :2], axis=1) / in_cam[:, 2])


def to_cam(image: pycolmap.Image, points: Float) -> Float:
    """(P, 3) points in the camera frame of an image."""
    matrix = image.cam_from_world().matrix()
    return np.asarray(points @ matrix[:, :3].T + matrix[:, 3])


def alike_views(sharing: Sharing, progress: Progress = no_progress) -> AlikeViews:
    """Find pairs of views that look at the same points from nearly one direction and distance."""
    could = csr_array(sharing.seen @ sharing.framed.T)  # points of a in the frame of b
    both = csr_array(sharing.seen @ sharing.seen.T)
    many = could.multiply(could >= MIN_POINTS).astype(bool)
    rows, columns = triu(many.multiply(many.T), 1).nonzero()
    order = np.lexsort((columns, rows))
    enough = np.column_stack([rows, columns])[order]
    pairs, shared = [], []
    for done, (a, b) in enumerate(enough):
        if done % 100 == 0:
            progress(done / len(enough), f"looking for photos that look alike {done}/{len(enough)}")
        if not _look_alike(sharing, a, b):
            continue
        # A blurred photo cannot have more of the other's points than it has features.
        most = [min(could[i, j], sharing.features[j]) for i, j in ((a, b), (b, a))]
        pairs.append((a, b))
        shared.append(both[a, b] / max(*most, 1))
    return AlikeViews(np.array(pairs, np.int64).reshape(-1, 2), np.array(shared))


def _look_alike(sharing: Sharing, a: int, b: int) -> bool:
    """Whether two images see what they could share from nearly the same direction and distance."""
    common = np.union1d(sharing.seen_and_framed(a, b), sharing.seen_and_framed(b, a))
    common = common[:: -(-len(common) // _LOOKED_AT)]
    sizes = [sharing.pixel_sizes(k, common) for k in (a, b)]
    if not 1 / _MOST_SCALE < np.median(sizes[1] / sizes[0]) < _MOST_SCALE:
        return False
    rays = [sharing.points[common] - sharing.centers[k] for k in (a, b)]
    lengths = np.sqrt((rays[0] ** 2).sum(1) * (rays[1] ** 2).sum(1))
    return bool(
        np.median((rays[0] * rays[1]).sum(1) / lengths) >= np.cos(np.radians(_MOST_ANGLE_DEG))
    )
