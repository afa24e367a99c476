"""A model of COLMAP's own, with the matches that lead to it."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pycolmap


def synthetic(path: Path, photos: int = 10) -> pycolmap.Reconstruction:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, photos, 300
    options.camera_has_prior_focal_length = True
    pycolmap.set_random_seed(0)
    with closing(pycolmap.Database.open(path)) as database:
        truth = pycolmap.synthesize_dataset(options, database)
        noise = pycolmap.SyntheticNoiseOptions()
        noise.point2D_stddev = 0.2
        pycolmap.synthesize_noise(noise, truth, database)
    return truth


def centers(model: pycolmap.Reconstruction) -> dict[int, np.ndarray]:
    return {i: model.image(i).projection_center() for i in model.reg_image_ids()}
