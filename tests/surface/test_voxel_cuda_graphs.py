"""Losses replayed from CUDA graphs are the losses computed step by step."""
# ruff: noqa: E402

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import pytest

torch = pytest.importorskip("torch")

import voxel_training

from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.device import choose_device
from voxterra.surface.voxels.model.render import rasterize
from voxterra.surface.voxels.octree import Cube
from voxterra.surface.voxels.start.first_state import _background as background_of
from voxterra.surface.voxels.start.first_state import start
from voxterra.surface.voxels.training.cuda_graphs import GRAPHS, Recorder, _Inputs, _tensors
from voxterra.surface.voxels.training.neighbor_terms import make_companions, neighbor_terms
from voxterra.surface.voxels.training.objective import image_loss, phase
from voxterra.surface.voxels.training.out_of_memory import Resources
from voxterra.surface.voxels.training.state import contents, state_of
from voxterra.surface.voxels.training.step import make_tables, step
from voxterra.surface.voxels.training.targets import make_targets

CONFIG = replace(
    voxel_training.SMALL, n_iter=8000, lambda_mv_ncc=0.1, lambda_mv_geo=0.02, lambda_dist=0.1,
    lambda_normal_dmean=0.01, lambda_normal_dmed=0.01, exposure=True, sparse_depth_until=8000,
)  # fmt: skip
AT = 4500
"""An iteration in which every term takes part."""


def trained_from(device):
    begun, targets, companions, config = _trained_from(device)
    state = state_of(copy.deepcopy(begun))
    # Tests here spoil what they are given.
    return state, copy.deepcopy(targets), companions, config


@cache
def _trained_from(device):
    config = replace(CONFIG, device=device)
    scene = voxel_training.scene(6, (3,))
    cube = Cube((0.0, 0.0, 0.2), 2.0, 3)
    where = choose_device(config)
    targets, _ = make_targets(scene, cube, config, where)
    state = start(scene, cube, targets, config, where, 200_000)
    state.iteration = AT
    return contents(state), targets, make_companions(targets, cube, config), config


def arguments(state, target, companions, config):
    full = rasterize(state.voxels, target.kernel)[3].pixels
    extra = neighbor_terms(state, target, companions, config)
    matrix = state.exposure.matrix[target.order]
    return full, target, state.voxels.background, config, AT, matrix, extra


def test_terms_that_ended_are_not_told_again():
    """A graph returns the same `Objective` in every iteration."""
    config = replace(voxel_training.SMALL, lambda_tv_density=1e-3, tv_until=4000, n_iter=8)
    state, targets, _, _ = trained_from("cpu")
    state.iteration, once = 0, []

    def replayed(*given):
        once.append(image_loss(*given))
        return once[0]

    tables, names = make_tables(state.voxels), []
    for _ in range(6):
        names.append(set(step(state, targets[0], tables, config, (), replayed).terms))
    assert ["tv_density" in n for n in names] == [True] * 4 + [False] * 2
    assert all("photo" in n and "ls_density" in n for n in names)


def partly_ignored(target):
    """The target with its left third looked away from."""
    ignored = torch.zeros(target.rgb.shape[:2], dtype=torch.bool, device=target.rgb.device)
    ignored[:, : ignored.shape[1] // 3] = True
    return replace(target, ignored=ignored)


def test_what_a_photo_shows_where_it_is_ignored_does_not_matter():
    state, targets, companions, config = trained_from("cpu")
    whole = targets[0]
    target = partly_ignored(whole)
    spoilt = target.rgb.clone()
    spoilt[target.ignored] = torch.tensor([255, 0, 255], dtype=torch.uint8)
    full, _, *rest = arguments(state, target, companions, config)
    one = image_loss(full, target, *rest)
    other = image_loss(full, replace(target, rgb=spoilt), *rest)
    torch.testing.assert_close(one.grad_pixels, other.grad_pixels, rtol=0, atol=0)
    assert float(one.psnr) == float(other.psnr)
    looked_at = image_loss(full, replace(whole, rgb=spoilt), *rest)
    assert float(looked_at.psnr) < float(one.psnr) - 3
    assert not torch.equal(looked_at.grad_pixels, one.grad_pixels)


def test_the_background_is_not_what_is_ignored():
    _, targets, _, config = trained_from("cpu")
    rgb = torch.full_like(targets[0].rgb, 40)
    ignored = torch.ones(rgb.shape[:2], dtype=torch.bool)
    ignored[0] = False
    rgb[ignored] = torch.tensor([255, 0, 255], dtype=torch.uint8)
    spoilt = replace(targets[0], rgb=rgb, ignored=ignored)
    got = background_of(config, (spoilt,), torch.device("cpu"))
    torch.testing.assert_close(got, torch.full((3,), 40 / 255))
    nothing = replace(spoilt, ignored=torch.ones_like(ignored))
    assert background_of(config, (nothing,), torch.device("cpu")).tolist() == [0.5] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("ignoring", [False, True], ids=["whole", "ignoring"])
def test_replayed_losses_are_those_computed_step_by_step(ignoring):
    state, targets, companions, config = trained_from("cuda")
    if ignoring:
        targets = tuple(map(partly_ignored, targets))
    recorder, compared = Recorder(), 0
    for _ in range(3):
        for target in targets:
            given = arguments(state, target, companions, config)
            wanted, got = image_loss(*given), recorder(*given)
            assert wanted.terms.keys() == got.terms.keys()
            for name, value in wanted.terms.items():
                torch.testing.assert_close(got.terms[name], value, rtol=1e-5, atol=1e-8)
            torch.testing.assert_close(got.grad_pixels, wanted.grad_pixels, rtol=1e-4, atol=1e-9)
            torch.testing.assert_close(
                got.grad_exposure, wanted.grad_exposure, rtol=1e-4, atol=1e-8
            )
            torch.testing.assert_close(got.psnr, wanted.psnr)
            compared += bool(recorder._graphs)
    assert recorder.usable and 1 <= len(recorder._graphs) <= GRAPHS
    assert compared >= 2 * len(targets) - 3


def test_without_a_gpu_nothing_is_recorded():
    state, targets, companions, config = trained_from("cpu")
    recorder = Recorder()
    for _ in range(5):
        given = arguments(state, targets[0], companions, config)
        assert float(recorder(*given).psnr) == float(image_loss(*given).psnr)
    assert not recorder._graphs
    assert not recorder.drop() and not recorder.usable


def test_copies_hold_all_that_the_losses_read_and_share_no_memory():
    state, targets, companions, config = trained_from("cpu")
    full, target, background, _, _, matrix, extra = arguments(state, targets[0], companions, config)
    inputs = _Inputs(full, background, matrix, target, extra)
    copies = inputs.copied()
    pairs = list(zip(inputs.tensors(), copies.tensors(), strict=True))
    assert len(pairs) >= 3 + 4 + sum(1 for _ in _tensors(extra[0]))
    for given, copied in pairs:
        assert torch.equal(given, copied) and given.data_ptr() != copied.data_ptr()
    here = image_loss(full, target, background, config, AT, matrix, extra)
    for tensor in inputs.tensors():  # what is spoiled here must not reach the copies
        tensor.detach().zero_()
    there = image_loss(
        copies.full, copies.target, copies.background, config, AT, copies.matrix, copies.extra
    )
    torch.testing.assert_close(there.grad_pixels, here.grad_pixels, rtol=0, atol=0)


def test_views_have_the_same_shape_whatever_they_see():
    _, targets, _, _ = trained_from("cpu")
    assert len({(t.sparse_xy.shape, t.sparse_depth.shape) for t in targets}) == 1


def test_phases_change_where_terms_come_and_go():
    config = VoxelConfig(n_iter=800, dist_from=4000, normal_from=2000, prior_until=6000)
    phases = [phase(config, i) for i in range(800)]
    changes = [i for i in range(1, 800) if phases[i] != phases[i - 1]]
    assert 200 in changes and 400 in changes and 600 in changes
    assert len(changes) <= 6


def test_full_memory_drops_recordings_first():
    room = Resources((), None, 10)
    room.losses._graphs["key"] = object()
    from voxterra.surface.voxels.training.out_of_memory import _relieve

    instead = _relieve(room, Cube((0.0, 0.0, 0.0), 1.0, 0), CONFIG)
    assert instead == "losses computed step by step"
    assert not room.losses.usable
