"""What the CPU kernels promise beyond agreeing with their twins."""

import importlib
import os
import pkgutil
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch
from numba import njit
from voxel_scene import CAMERAS, intrinsics, look_at, voxel_scene
from voxel_scene import __file__ as voxel_scene_file

from voxterra.kernels.voxels import cpu, math, ops, resample, sh, train_math
from voxterra.kernels.voxels.cpu.lanes import exp, tally
from voxterra.kernels.voxels.reference.raster import octants, rasterize, ray_directions

WIDTH, HEIGHT = 45, 35


def view_of(name, width=WIDTH, height=HEIGHT):
    room, eye, target, focal = CAMERAS[name]
    view = ops.make_view(
        intrinsics(width, height, focal), look_at(eye, target), width, height, 0.05
    )
    return voxel_scene(1, room=room), view


def prepared(scene, view):
    record, rect = ops.prepare(
        scene.lo_size, scene.level, scene.corner_index, scene.sdf, scene.sh0, scene.shs,
        scene.sharpness, view, 3,
    )  # fmt: skip
    return record, rect, ops.bin_voxels(rect, scene.rank_order, view)


def iteration(scene, view, grad):
    record, rect, bins = prepared(scene, view)
    image = ops.rasterize_forward(record, rect, bins, view, max_weight=True)
    grad_record = ops.rasterize_backward(record, rect, bins, view, image, grad)
    grads = ops.prepare_backward(
        grad_record, record, scene.lo_size, scene.corner_index, scene.corner_start,
        scene.corner_slot, scene.sdf,
    )  # fmt: skip
    return (image.pixels, image.last, image.max_weight, grad_record, *grads)


def some_gradient(width=WIDTH, height=HEIGHT):
    return torch.randn((height, width, 12), generator=torch.Generator().manual_seed(0))


@njit
def exps(x):
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = exp(x[i])
    return out


def test_the_exponential_is_good_to_two_units_of_float32():
    x = np.linspace(-60, 60, 300_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(exps(x) / exact - 1).max() < 2 * np.finfo(np.float32).eps


@pytest.mark.parametrize("name", CAMERAS)
def test_every_pixel_finds_the_bucket_of_its_octant(name):
    _, view = view_of(name)
    octant = octants(ray_directions(view.camera, WIDTH, HEIGHT)).reshape(HEIGHT, WIDTH).numpy()
    rows, columns = np.indices((HEIGHT, WIDTH)) // 16
    bucket = view.plan.bucket_of[rows * view.plan.tiles_x + columns, octant]
    assert bucket.min() >= 0
    assert np.array_equal(view.plan.bucket_octant[bucket], octant)
    assert np.array_equal(view.plan.bucket_tile[bucket], rows * view.plan.tiles_x + columns)


@pytest.mark.parametrize("name", CAMERAS)
def test_buckets_list_every_voxel_that_touches_them_front_to_back(name):
    scene, view = view_of(name)
    _, rect, bins = prepared(scene, view)
    rect, plan, entry = rect.numpy(), view.plan, bins.entry.numpy()
    for b, (tile, octant) in enumerate(zip(plan.bucket_tile, plan.bucket_octant)):
        x, y = 16 * (tile % plan.tiles_x), 16 * (tile // plan.tiles_x)
        touches = (rect[:, 0] < x + 16) & (rect[:, 2] > x) & (rect[:, 1] < y + 16)
        touches &= (rect[:, 3] > y) & (rect[:, 2] > rect[:, 0])
        order = scene.rank_order[int(octant)].numpy()
        assert np.array_equal(
            entry[bins.bucket_start[b] : bins.bucket_start[b + 1]], order[touches[order]]
        )
    assert np.array_equal(np.sort(bins.slot.numpy()), np.arange(len(entry)))
    owner = np.repeat(np.arange(len(rect)), np.diff(bins.slot_start.numpy()))
    assert np.array_equal(owner[bins.slot.numpy()], entry)


@pytest.mark.parametrize("name", CAMERAS)
def test_no_voxel_is_left_out_of_a_pixel_that_its_rectangle_excludes(name):
    """With rectangles of the whole image the picture stays the same."""
    scene, view = view_of(name)
    record, rect, bins = prepared(scene, view)
    image = ops.rasterize_forward(record, rect, bins, view)
    whole = torch.tensor([0, 0, WIDTH, HEIGHT], dtype=torch.int16).repeat(len(rect), 1)
    whole[rect[:, 2] <= rect[:, 0]] = 0
    again = ops.rasterize_forward(
        record, whole, ops.bin_voxels(whole, scene.rank_order, view), view
    )
    assert torch.equal(image.pixels, again.pixels)
    assert image.pixels[..., 3].min() < 0.5


def test_what_a_view_does_not_see_has_no_pixel_in_it():
    scene, view = view_of("in a room")
    camera, rect = view.camera.numpy(), prepared(scene, view)[1].numpy()
    centre = (scene.lo_size[:, :3] + scene.lo_size[:, 3:] / 2).numpy() - camera[9:12]
    depth = centre @ camera[:9].reshape(3, 3)[:, 2]
    empty = rect[:, 2] <= rect[:, 0]
    behind = depth < -scene.lo_size[:, 3].numpy()
    assert behind.any() and empty[behind].all() and not empty.all()


@pytest.mark.parametrize("name", ["oblique", "in a room"])
def test_results_repeat_bit_for_bit_with_any_number_of_threads(name):
    scene, view = view_of(name)
    grad, before = some_gradient(), numba.get_num_threads()
    several = iteration(scene, view, grad)
    try:
        numba.set_num_threads(1)
        one = iteration(scene, view, grad)
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(several, one))
    assert several[4].abs().max() > 0


@pytest.mark.parametrize("width, height", [(1, 1), (16, 16), (17, 33), (9, 40)])
def test_images_of_any_size_agree_with_the_twin(width, height):
    scene, view = view_of("in the grid", width, height)
    record, rect, bins = prepared(scene, view)
    image = ops.rasterize_forward(record, rect, bins, view)
    seen = rect[:, 2] > rect[:, 0]
    twin = rasterize(record[seen].double(), scene.path[seen], view.camera.double(), width, height)
    assert (image.pixels - twin.pixels).abs().max() < 1e-5


def test_a_scene_behind_the_camera_leaves_empty_pixels_and_no_gradient():
    scene = voxel_scene(0)
    view = ops.make_view(
        intrinsics(20, 20, 15.0), look_at((5.0, 0.0, 0.0), (9.0, 0.0, 0.0)), 20, 20, 0.1
    )
    pixels, last, weight, *grads = iteration(scene, view, some_gradient(20, 20))
    expected = torch.zeros(12)
    expected[3] = 1
    assert torch.equal(pixels, expected.expand(20, 20, 12))
    assert (last == -1).all() and (weight == 0).all()
    assert all((g == 0).all() for g in grads)


def test_the_wrong_type_or_shape_is_named():
    scene, view = view_of("oblique")
    record, rect, bins = prepared(scene, view)
    with pytest.raises(TypeError, match="rect must be contiguous"):
        ops.bin_voxels(rect.int(), scene.rank_order, view)
    with pytest.raises(ValueError, match="grad_pixels must be"):
        image = ops.rasterize_forward(record, rect, bins, view)
        ops.rasterize_backward(record, rect, bins, view, image, torch.zeros(3, 3, 12))
    with pytest.raises(ValueError, match="degree 3 needs 15 rows"):
        ops.prepare(
            scene.lo_size, scene.level, scene.corner_index, scene.sdf, scene.sh0,
            scene.shs[:, :8].contiguous(), scene.sharpness, view, 3,
        )  # fmt: skip


def test_no_kernel_lets_the_compiler_round_otherwise():
    """A function comes out of the compiler more than once: in the process that compiles it another
    copy may run than in those that load it from the cache."""
    modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(
        cpu.__path__, f"{cpu.__name__}.")]  # fmt: skip
    kernels = {}
    for module in (*modules, math, resample, sh, train_math):
        for name, value in vars(module).items():
            if isinstance(value, numba.core.dispatcher.Dispatcher) and value is not tally:
                kernels[module.__name__, name] = value.targetoptions.get("fastmath", False)
    assert len(kernels) > 60
    assert not [k for k, flags in kernels.items() if flags and not set(flags) <= math.EXACT]


IN_A_PROCESS = """
import hashlib, sys
sys.path[:0] = sys.argv[1:3]
import test_voxel_cpu as t
from voxterra.kernels.voxels.cpu import forward
digest = hashlib.sha256()
for name in t.CAMERAS:
    scene, view = t.view_of(name)
    for result in t.iteration(scene, view, t.some_gradient()):
        digest.update(result.numpy().tobytes())
print(digest.hexdigest(), len(forward.render.stats.cache_hits))
"""


@pytest.mark.slow
def test_the_process_that_compiles_gets_what_those_get_that_load(tmp_path):
    folders = [os.path.dirname(file) for file in (__file__, voxel_scene_file)]
    told = [
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, *folders],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert [hits for _, hits in told] == ["0", "1"]
    assert told[0][0] == told[1][0]
