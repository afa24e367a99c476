"""Stereo for a training whose source has cameras only."""

from __future__ import annotations

import numpy as np
import pytest

from voxterra.testing import look_at

pytest.importorskip("torch")


class _Asked(Exception):
    pass


def test_stereo_goes_where_the_training_goes(tmp_path, monkeypatch):
    from voxterra.pipeline.recipe.posed_photos import with_stereo
    from voxterra.surface.voxels.config import VoxelConfig
    from voxterra.surface.voxels.scene.scene import Scene, SceneView

    def asked(components, photos, config, **rest):
        raise _Asked(config.device, config.max_size)

    monkeypatch.setattr("voxterra.sfm.known_poses.triangulate_known", lambda *args, **rest: None)
    monkeypatch.setattr("voxterra.depth.estimate.estimate_depth", asked)
    views = tuple(
        SceneView(
            look_at(str(x), (x, 0, 5), (x, 0, 0), up=(0, 1, 0), width=32, height=24),
            np.zeros((24, 32, 3), np.uint8),
        )
        for x in (0.0, 1.0)
    )
    for device in ("auto", "cpu", "cuda"):
        with pytest.raises(_Asked) as caught:
            config = VoxelConfig(device=device, stereo_size=640)
            with_stereo(Scene(views), config, tmp_path)
        assert caught.value.args == (device, 640)
