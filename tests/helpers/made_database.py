"""COLMAP databases made by hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pycolmap


def database_of(
    path: Path, features: list[int], pairs: dict[tuple[int, int], tuple[int, int]]
) -> Path:
    """Photos with so many features; pairs with so many raw matches and agreeing ones."""
    with closing(pycolmap.Database.open(path)) as database:
        camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_PINHOLE", 900.0, 1000, 800)
        database.write_camera(camera, use_camera_id=True)
        for index, count in enumerate(features, 1):
            image = pycolmap.Image(name=f"{index}.jpg", camera_id=1, image_id=index)
            database.write_image(image, use_image_id=True)
            database.write_keypoints(index, np.zeros((count, 2), np.float32))
        for (a, b), (raw, agreeing) in pairs.items():
            matches = np.tile(np.arange(raw, dtype=np.uint32)[:, None], 2)
            database.write_matches(a + 1, b + 1, matches)
            geometry = pycolmap.TwoViewGeometry()
            geometry.inlier_matches = matches[:agreeing]
            database.write_two_view_geometry(a + 1, b + 1, geometry)
    return path
