"""Which photos with known cameras are matched."""

from __future__ import annotations

import numpy as np

from voxterra.core.camera import PinholeView
from voxterra.core.reconstruction import Image
from voxterra.imaging.panorama import FACES, face_view
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.pairs import spatial_pairs
from voxterra.sfm.known_poses import SAME_WAY, _pairs
from voxterra.testing import look_at

PLACES = np.column_stack([3.0 * np.arange(24), np.sin(np.arange(24)), np.full(24, 1.7)])


def faces() -> tuple[PinholeView, ...]:
    """144 faces of panoramas along a walk, each camera turned a little from the one before."""
    out = []
    for index, center in enumerate(PLACES):
        turn = 0.1 * index
        axes = np.array(
            [[np.cos(turn), np.sin(turn), 0], [0, 0, -1], [-np.sin(turn), np.cos(turn), 0]]
        )
        pose = np.column_stack([axes, -axes @ center])
        out += [face_view(Image(f"{index}.jpg", 1, pose), face, 600) for face in FACES]
    return tuple(out)


def test_faces_of_panoramas_are_matched_with_those_of_other_places():
    views = faces()
    pairs = _pairs(views, SfmConfig())
    place = np.repeat(np.arange(24), 6)
    first, second = place[pairs].T
    assert (first != second).all()
    axes = np.array([view.cam_from_world[2, :3] for view in views])
    assert ((axes[pairs[:, 0]] * axes[pairs[:, 1]]).sum(axis=1) > SAME_WAY).all()
    others = [len(np.unique(place[pairs[(pairs == i).any(axis=1)]])) - 1 for i in range(len(views))]
    # As far as photos that stand alone: to the 20 nearest places.
    assert min(others) >= 20
    assert len(np.unique(pairs, axis=0)) == len(pairs) and (pairs[:, 0] < pairs[:, 1]).all()


def test_photos_that_stand_alone_are_matched_with_the_nearest():
    along = np.random.default_rng(0).uniform(0, 100, 80)
    centers = np.column_stack([along, np.zeros(80), np.full(80, 9.0)])
    views = tuple(
        look_at(f"{i}.jpg", c, (c[0], 5.0, 0.0), width=64, height=48, focal_px=60)
        for i, c in enumerate(centers)
    )
    pairs = _pairs(views, SfmConfig())
    assert pairs.tolist() == spatial_pairs(centers, SfmConfig().spatial_neighbours).tolist()
