"""Models that no photos were needed for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pycolmap


def flight(
    tilt_deg: float, camera_of: Sequence[int] = (0,) * 16, points: int = 400
) -> pycolmap.Reconstruction:
    """A 4 x 4 grid of photos from height 1 over hilly ground, every other one tilted."""
    rng = np.random.default_rng(0)
    model = pycolmap.Reconstruction()
    for number in sorted(set(camera_of)):
        camera = pycolmap.Camera.create_from_model_name(
            number + 1, "SIMPLE_RADIAL", 900.0, 1000, 800
        )
        camera.has_prior_focal_length = True
        model.add_camera_with_trivial_rig(camera)
    ground = np.column_stack([rng.uniform(-1.2, 1.2, (points, 2)), rng.uniform(0, 0.1, points)])
    tracks = [pycolmap.Track() for _ in ground]
    for index in range(16):
        center = np.array([index % 4 - 1.5, index // 4 - 1.5, 0.0]) * 0.4 + [0, 0, 1]
        tilt = np.radians(tilt_deg) * (index % 2) * (1 if index % 4 == 1 else -1)
        c, s = np.cos(tilt), np.sin(tilt)
        rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.diag([1.0, -1, -1])
        in_cam = (ground - center) @ rotation.T
        xy = 900.0 * in_cam[:, :2] / in_cam[:, 2:] + [500, 400] + rng.normal(0, 0.3, (points, 2))
        seen = np.flatnonzero(((xy > 0) & (xy < [1000, 800])).all(axis=1))
        image = pycolmap.Image(f"{index}.jpg", xy[seen], camera_of[index] + 1, index + 1)
        pose = np.hstack([rotation, (-rotation @ center)[:, None]])
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
        for keypoint, point in enumerate(seen):
            tracks[point].add_element(index + 1, keypoint)
    for position, track in zip(ground, tracks, strict=True):
        if track.length() >= 2:
            model.add_point3D(position, track)
    return model
