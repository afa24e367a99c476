"""A training on a GPU that is full for real; by itself, as nothing else has room beside it."""

from __future__ import annotations

import gc
from contextlib import suppress
from dataclasses import replace

import full_gpu
import numpy as np
import pytest
import voxel_training

torch = pytest.importorskip("torch")

from voxterra.errors import ReconstructionError  # noqa: E402
from voxterra.surface.voxels.scene.scene import Scene  # noqa: E402
from voxterra.surface.voxels.train import train  # noqa: E402

MB = 1_000_000
CONFIG = replace(
    voxel_training.SMALL,
    device="cuda",
    n_iter=60,
    adapt_every=4000,
    init_pixels=1.0,
    max_level=10,
    max_voxels=4_000_000,
    sh_degree=3,
    ss=1.5,
    lambda_mv_geo=0.1,
    mv_from=0,
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    full_gpu.skip_without_gpu()
    shots = (voxel_training.photographed(v) for v in voxel_training.views(6, 640, 480))
    return Scene(tuple(shots))


@pytest.mark.gpu
@pytest.mark.parametrize("left", [1000 * MB, 400 * MB, 150 * MB, 50 * MB, 0])
def test_a_training_goes_on_with_less_or_tells_what_to_do(scene, caplog, left):
    train(scene, replace(CONFIG, n_iter=2, max_voxels=20_000))  # kernels are loaded
    with full_gpu.leaving(left):
        try:
            model = train(scene, CONFIG)
        except ReconstructionError as error:
            model, failed = None, error
    if model is None:
        assert left < 400 * MB, "there is room to go on"
        assert "memory is too small" in failed.what and "--device cpu" in failed.next_step
    else:
        assert model.metadata["iterations"] == CONFIG.n_iter
        assert "free: at most" in caplog.text and model.n_voxels < CONFIG.max_voxels
        assert model.n_voxels > left // 10_000, "much fewer than fit"
        for name in ("sdf", "sh0", "shs", "sharpness"):
            assert np.isfinite(getattr(model, name)).all()


@pytest.mark.gpu
def test_what_a_training_took_is_given_back(scene):
    """Also one that failed, and nothing of it shows in the next."""
    config = replace(CONFIG, n_iter=8, max_voxels=20_000, deterministic=True)
    before = train(scene, config)
    gc.collect()
    taken = torch.cuda.memory_allocated()
    with full_gpu.leaving(0), suppress(ReconstructionError):
        train(scene, CONFIG)
    assert voxel_training.same(train(scene, config), before)
    gc.collect()
    assert torch.cuda.memory_allocated() < taken + 1 * MB
