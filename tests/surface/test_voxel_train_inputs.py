"""What a training says to input it cannot use, and that it continues with what it can."""

from __future__ import annotations

import errno
import gc
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import voxel_training

torch = pytest.importorskip("torch")

from voxterra.core.progress import no_progress  # noqa: E402
from voxterra.errors import (  # noqa: E402
    InputError,
    ReconstructionError,
    TooFewPhotosError,
    UsageError,
    is_out_of_memory,
)
from voxterra.surface.voxels import train as training  # noqa: E402
from voxterra.surface.voxels.scene.scene import (  # noqa: E402
    ScenePoints,
    finished_scene,
    usable_scene,
)
from voxterra.surface.voxels.training.state import load_state  # noqa: E402

CONFIG = replace(voxel_training.SMALL, n_iter=6, max_level=5, max_voxels=4000)
COUNT = 6


@pytest.fixture(scope="module")
def scene():
    return voxel_training.scene(COUNT, ())


@pytest.fixture(scope="module")
def bare(scene):
    """Photos alone; they start from a sphere, which takes little time."""
    return replace(voxel_training.without_priors(scene), points=None)


@pytest.fixture(scope="module")
def undisturbed(bare):
    """Function from options to what a training on `bare` comes to; each is done once."""
    return cache(lambda **options: train(bare, **options))


def changed(scene, which, **values):
    views = (replace(v, **values) if i in which else v for i, v in enumerate(scene.views))
    return replace(scene, views=tuple(views))


def prior_of(scene, **values):
    return replace(scene.views[0].prior, **values)


def spoilt(array, value, rows=slice(5, 9)):
    out = array.copy()
    out[rows] = value
    return out


def train(scene, **options):
    model = training.train(scene, replace(CONFIG, **options))
    for name in ("sdf", "sh0", "shs", "sharpness"):
        assert np.isfinite(getattr(model, name)).all()
    return model


def test_an_empty_cloud_starts_from_a_sphere_and_says_so(bare, caplog):
    none = ScenePoints(np.zeros((0, 3)), np.zeros(COUNT + 1, np.int64), np.zeros(0, np.int64))
    train(replace(bare, points=none))
    assert "starting from a sphere" in caplog.text and "--stereo" in caplog.text
    with pytest.raises(UsageError, match="no sparse points"):
        train(replace(bare, points=none), bound=None, bound_mode="pcd")
    with pytest.raises(InputError, match="too few to start from"):
        train(replace(bare, points=none), init="points")


def test_no_start_has_more_voxels_than_there_may_be(bare, caplog):
    for most, levels in ((4000, 3), (200, 2)):
        caplog.clear()
        model = train(bare, init="sphere", n_iter=1, max_voxels=most)
        assert model.n_voxels <= most
        messages = [r.message for r in caplog.records if "--max_voxels" in r.message]
        assert len(messages) == 1  # and nothing else about it
        assert f"{levels} levels" in messages[0] and "instead of 4" in messages[0]
    caplog.clear()
    train(bare, init="sphere", n_iter=1, max_voxels=6000)
    assert "--max_voxels" not in caplog.text
    with pytest.raises(UsageError, match="the 8 there may be"):
        train(bare, init="sphere", n_iter=1, max_voxels=8)


def test_points_at_no_place_are_left_out(scene, bare, caplog):
    known = scene.points
    some = replace(known, positions=spoilt(known.positions, np.nan, slice(None, None, 7)))
    cleaned = usable_scene(replace(scene, points=some)).points
    left = np.isfinite(some.positions).all(1)
    assert len(cleaned) == left.sum() < len(known)
    for view in range(COUNT):
        seen = known.seen_by(view)
        np.testing.assert_array_equal(
            cleaned.positions[cleaned.seen_by(view)], known.positions[seen[left[seen]]]
        )
    assert "sparse points are at no place" in caplog.text
    all_lost = replace(known, positions=np.full_like(known.positions, np.nan))
    train(replace(bare, points=all_lost))
    assert "starting from a sphere" in caplog.text


def test_too_few_views(scene):
    for kept in (scene.views[:1], (), (scene.views[0], replace(scene.views[1], held_out=True))):
        with pytest.raises(TooFewPhotosError) as error:
            train(replace(scene, views=kept))
        assert "--test_every" in error.value.next_step


def test_black_photos_are_survived(bare):
    black = np.zeros_like(bare.views[0].rgb)
    model = train(changed(bare, [2], rgb=black))
    assert np.ptp(model.sh0) > 0.1
    dark = train(changed(bare, range(COUNT), rgb=black))
    assert dark.background.max() == 0


def test_masks_that_hold_everything_or_nothing(bare, caplog):
    full = np.full(bare.views[0].rgb.shape[:2], 255, np.uint8)
    train(changed(bare, range(COUNT), mask=full))
    assert "starting from a sphere" in caplog.text
    with pytest.raises(InputError, match="no two masks with an object"):
        train(changed(bare, range(COUNT), mask=full), init="masks")
    with pytest.raises(InputError, match="all are black") as error:
        train(changed(bare, range(COUNT), mask=np.zeros_like(full)))
    assert "invert" in error.value.next_step
    one = changed(changed(bare, range(COUNT), mask=full), [1], mask=np.zeros_like(full))
    warned = len(caplog.records)
    with caplog.at_level("INFO"):
        train(one)
    assert "not used for the first surface: 1.png" in caplog.text
    # The scene's own warnings say it, once.
    messages = [
        record.message for record in caplog.records[warned:] if record.levelname == "WARNING"
    ]
    assert messages and not any("mask of" in text or "without object" in text for text in messages)
    (warning,) = finished_scene(one, CONFIG).warnings
    assert "mask of 1.png is empty" in warning and "take the photo away" in warning


def test_a_bound_that_misses_the_scene(scene, bare):
    with pytest.raises(UsageError, match="No photo sees the bound"):
        train(bare, bound=(50.0, 50.0, 50.0, 51.0, 51.0, 51.0))
    with pytest.raises(UsageError, match="lies in the bound") as error:
        train(scene, bound=(-0.1, -0.1, 0.9, 0.1, 0.1, 1.1))
    assert error.value.where == "--bound"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("depth", np.nan),
        ("depth", np.inf),
        ("depth", -1),
        ("normal", np.nan),
        ("confidence", np.nan),
    ],
)
def test_what_is_no_number_in_a_depth_map_is_unknown(scene, caplog, part, value):
    prior = prior_of(scene, **{part: spoilt(getattr(scene.views[0].prior, part), value)})
    used = usable_scene(changed(scene, [0], prior=prior)).views[0].prior
    known = scene.views[0].prior.depth.copy()
    known[5:9] = 0
    np.testing.assert_array_equal(used.depth, known)
    assert np.isfinite(used.normal).all() and np.isfinite(used.confidence).all()
    assert "depth map of 0.png: " in caplog.text and "taken as unknown" in caplog.text


def test_depth_maps_with_holes_or_nothing_at_all(scene, caplog):
    depth = spoilt(scene.views[0].prior.depth, np.nan)
    train(changed(scene, range(COUNT), prior=prior_of(scene, depth=depth * 0)), lambda_ssim=0.0)
    assert "starting from a sphere" not in caplog.text  # sparse points are there
    nothing = prior_of(scene, depth=np.full_like(depth, np.nan))
    with pytest.raises(InputError, match="No value of this depth map is a number"):
        train(changed(scene, [0], prior=nothing))


def test_a_camera_or_image_that_does_not_fit(bare):
    view = bare.views[0]
    pose = view.view.cam_from_world.copy()
    pose[0, 3] = np.nan
    with pytest.raises(InputError, match="is no number") as error:
        train(changed(bare, [0], view=replace(view.view, cam_from_world=pose)))
    assert error.value.where == "0.png"
    with pytest.raises(InputError, match="The photo is 48 x 20 pixels"):
        train(changed(bare, [0], rgb=view.rgb[:20]))
    with pytest.raises(InputError, match="The mask is 48 x 20 pixels"):
        train(changed(bare, [0], mask=np.zeros((20, 48), np.uint8)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"geo_lr": 1e6}, "--geo_lr"),
        ({"sh0_lr": 1e6}, "--sh0_lr"),
        ({"shs_lr": 1e6}, "--shs_lr"),
        ({"exposure_lr": 1e6, "exposure": True, "max_voxels": 6000}, "--exposure_lr"),
    ],
)
def test_a_training_that_diverges_is_stopped(bare, options, message):
    with pytest.raises(ReconstructionError, match="at iteration 6:") as error:
        train(bare, **options)
    assert error.value.where.startswith("photo ") and error.value.where.endswith(".png")
    assert message in error.value.next_step


def test_no_checkpoint_is_written_of_a_diverged_training(bare, tmp_path):
    good = replace(CONFIG, save_every=2)
    training.train(bare, good, out=tmp_path)
    last = tmp_path / "checkpoints" / "last.pt"
    before = last.read_bytes()
    with pytest.raises(ReconstructionError, match="iteration 8:"):
        training.train(bare, replace(good, geo_lr=1e6, n_iter=10), out=tmp_path, resume=True)
    assert last.read_bytes() == before
    assert np.isfinite(
        training.train(bare, replace(good, n_iter=8), out=tmp_path, resume=True).sdf
    ).all()


def test_a_nan_is_told_with_its_photo(bare, monkeypatch):
    real = training.step

    def step(state, target, *args):
        objective = real(state, target, *args)
        if state.iteration == 6:
            state.voxels.sdf[3] = torch.nan
        return objective

    monkeypatch.setattr(training, "step", step)
    with pytest.raises(ReconstructionError, match="iteration 6: distances left"):
        train(bare)


# --- memory -------------------------------------------------------------------------------------


def test_images_and_depth_maps_lie_in_memory_once(bare):
    from voxterra.surface.voxels.start.bounds import main_bound
    from voxterra.surface.voxels.training.targets import make_targets

    shots = tuple(voxel_training.photographed(v) for v in voxel_training.views(3))
    for array in (shots[0].rgb, shots[0].prior.depth):
        array.flags.writeable = False  # as of a file that is mapped: copied, without a warning
    scene = replace(bare, views=shots)
    targets, _ = make_targets(scene, main_bound(scene, CONFIG), CONFIG, torch.device("cpu"))
    prior = shots[1].prior
    pairs = [(targets[1].rgb, shots[1].rgb), (targets[1].prior.depth, prior.depth)]
    pairs += [(targets[1].prior.normal, prior.normal)]
    pairs += [(targets[1].prior.confidence, prior.confidence)]
    assert all(tensor.data_ptr() == array.ctypes.data for tensor, array in pairs)
    assert np.array_equal(targets[0].rgb.numpy(), shots[0].rgb)


def test_what_a_machine_without_memory_raises_is_known_by_it():
    too_many = 1 << 55
    for work in (lambda: np.empty(too_many, np.uint8), lambda: torch.empty(too_many)):
        with pytest.raises(Exception) as error:
            work()
        assert is_out_of_memory(error.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory\nSearch for ..."))
    for code in ("ALLOC_FAILED", "NOT_INITIALIZED"):
        text = f"CUDA error: CUBLAS_STATUS_{code} when calling `cublasCreate(handle)`"
        assert is_out_of_memory(RuntimeError(text))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert is_out_of_memory(ImportError("libm.so: failed to map segment from shared object"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ImportError("No module named torch"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_a_start_that_does_not_fit_has_fewer_voxels(bare, monkeypatch, caplog):
    def too_many(self, scene, cube, targets, config, device, most, progress):
        return most > 10_000

    monkeypatch.setattr(training, "start", Failing(training.start, too_many))
    model = train(bare, max_voxels=16_000)
    assert 1000 < model.n_voxels <= 8000
    assert "memory is full at the start" in caplog.text and "8000 voxels" in caplog.text


@pytest.mark.parametrize("evidence", ["sphere", "depth"])
def test_memory_too_small_for_the_coarsest_start_is_told_as_that(scene, monkeypatch, evidence):
    monkeypatch.setattr(training, "fitting_voxels", lambda *args: 9)
    with pytest.raises(ReconstructionError, match=r"memory is too small .* fit") as error:
        train(scene, init=evidence)
    assert "--res_downscale" in error.value.next_step


def test_voxels_are_no_more_than_the_machine_has_memory_for(monkeypatch, caplog):
    from voxterra.surface.voxels import device

    monkeypatch.setattr(device, "available_bytes", lambda: 10**9)
    cpu, config = torch.device("cpu"), replace(CONFIG, sh_degree=3, max_voxels=2_000_000)
    fits = device.fitting_voxels(config, cpu)
    assert 300_000 < fits < 600_000 and "1.0 GB of this machine's memory" in caplog.text
    more = 100_000 * device.state_bytes(3) / device.voxel_bytes(3, cpu)
    assert device.fitting_voxels(config, cpu, 100_000) == pytest.approx(fits + more, abs=2)
    assert device.fitting_voxels(config, cpu, 900_000) == 900_000
    assert device.fitting_voxels(replace(config, max_voxels=5000), cpu) == 5000
    monkeypatch.setattr(device, "available_bytes", lambda: None)
    assert device.fitting_voxels(config, cpu) == 2_000_000


def test_renders_count_on_any_device_and_what_torch_keeps_is_free(monkeypatch):
    from voxterra.surface.voxels import device
    from voxterra.surface.voxels.training import out_of_memory as memory

    config = replace(CONFIG, sh_degree=3, max_voxels=10_000_000)
    monkeypatch.setattr(device, "available_bytes", lambda: 4 * 10**9)
    cpu, cuda, pixels = torch.device("cpu"), torch.device("cuda"), 600_000_000
    fewer = device.fitting_voxels(config, cpu) - device.fitting_voxels(config, cpu, 0, pixels)
    assert fewer == pytest.approx(pixels / device.voxel_bytes(3, cpu), abs=2)
    # On a GPU, of which torch keeps half of what is free for later.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda at: (2 * 10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda at: 3 * 10**9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda at: 10**9)
    fits = device.fitting_voxels(config, cuda, 0, pixels)
    left = 0.8 * (4 * 10**9 - device.LIBRARY_BYTES) - 2 * pixels  # one recording
    assert fits == pytest.approx(left / device.voxel_bytes(3, cuda), abs=2)

    class State:
        class voxels:
            device, degree = cuda, 3

            def __len__(self):
                return 50_000

        voxels = voxels()

    class Target:
        rgb = np.zeros((500, 1000, 3), np.uint8)

        class kernel:
            width, height = 1000, 1000

    def tight(voxels):
        return memory.tight(State, memory.Resources((Target,), None, voxels))

    there = 50_000 * device.state_bytes(3) - 300 * 500_000 - 100 * 10**6
    most = int((0.5 * 4 * 10**9 + there) / device.voxel_bytes(3, cuda))
    assert tight(most + 10) and not tight(most - 10)
    State.voxels.device = cpu
    assert not tight(most + 10)


def test_all_that_a_training_keeps_is_there_when_its_voxels_are_counted(scene, monkeypatch):
    """Greys of the neighbours' views are; of the photos held out only the one that is shown."""
    held = changed(scene, [1, 3, 5], held_out=True)
    order, kept = [], []

    def counted(*args):
        gc.collect()
        order.append("voxels")
        kept.append([image() is not None for image in images])
        return real_fitting(*args)

    def companions(*args):
        order.append("companions")
        return real_companions(*args)

    def targets(*args):
        trained, others = real_targets(*args)
        others = tuple(replace(t, rgb=t.rgb.clone()) for t in others)
        images.extend(weakref.ref(t.rgb) for t in others)
        return trained, others

    images = []
    real_fitting, real_targets = training.fitting_voxels, training.make_targets
    real_companions = training.make_companions
    monkeypatch.setattr(training, "fitting_voxels", counted)
    monkeypatch.setattr(training, "make_companions", companions)
    monkeypatch.setattr(training, "make_targets", targets)
    train(held, lambda_mv_geo=0.1, mv_from=0)
    assert order == ["companions", "voxels"] and kept == [[True, False, False]]


def test_a_dense_start_is_coarser_where_memory_has_no_room(bare, monkeypatch, caplog):
    from voxterra.surface.voxels.start import first_state as start

    dense = Failing(start.graded, lambda self, cube, levels, *args: levels > 3)
    options = {"init": "sphere", "init_level": 4, "max_voxels": 8000, "n_iter": 1}
    whole = train(bare, **options)
    assert "instead of" not in caplog.text
    # By failing: half as many voxels as there may be are fewer than a start of 4 levels has.
    with monkeypatch.context() as patch:
        patch.setattr(start, "graded", dense)
        coarse = train(bare, **options)
    assert coarse.n_voxels < 0.3 * whole.n_voxels
    assert "The start has 3 levels inside the bound instead of 4." in caplog.text
    # By what is free, and not as an error of an option that nobody gave.
    monkeypatch.setattr(training, "fitting_voxels", lambda *args: 4000)
    assert voxel_training.same(train(bare, **options), coarse)


LIMITED = """
import logging, resource, sys
from dataclasses import replace
sys.path.insert(0, {helpers!r})
import voxel_training as small
from voxterra.errors import ReconstructionError
from voxterra.surface.voxels import device
from voxterra.surface.voxels.scene.scene import Scene
from voxterra.surface.voxels.train import train
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
scene = Scene(tuple(small.photographed(view) for view in small.views(3, 160, 120)))
config = replace(small.SMALL, n_iter=2, init_pixels=0.5, max_level=10, sh_degree=3)
train(scene, config)  # compiles, and starts its threads
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {room}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
if not {known}:
    device.available_bytes = lambda: None
try:
    print("voxels", train(scene, replace(config, max_voxels=1_500_000)).n_voxels)
except ReconstructionError as error:
    print("error", error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's here")
@pytest.mark.parametrize("known", [True, False])
def test_a_training_in_a_process_whose_memory_is_limited(known):
    helpers = str(Path(voxel_training.__file__).parent)
    program = LIMITED.format(helpers=helpers, room=600_000_000, known=known)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    if known:
        assert "of this machine's memory are free: at most" in done.stdout
        assert 50_000 < int(done.stdout.split("voxels ")[-1]) < 500_000
    else:  # it finds out by failing: with fewer voxels to the end, or an error that says what to do
        assert "memory is full" in done.stdout or "memory is too small" in done.stdout
        assert "voxels " in done.stdout and "Traceback" not in done.stdout + done.stderr


# --- a GPU without memory ------------------------------------------------------------------------


class Failing:
    """Raises what a full GPU does at the calls that are named, then does the real thing."""

    def __init__(self, real, fails):
        self.real, self.fails, self.calls = real, fails, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.fails(self, *args, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return self.real(*args, **kwargs)


def test_memory_that_is_full_once_is_freed(bare, undisturbed, monkeypatch, caplog):
    expected = undisturbed()
    caplog.clear()
    step = Failing(training.step, lambda self, *args: self.calls == 3)
    monkeypatch.setattr(training, "step", step)
    model = train(bare)
    assert step.calls == CONFIG.n_iter + 1 and "memory" not in caplog.text
    assert voxel_training.same(model, expected)


def test_renders_become_as_small_as_the_images(bare, monkeypatch, caplog):
    def large(self, state, target, *args):
        return target.kernel.width > target.view.width

    step = Failing(training.step, large)
    monkeypatch.setattr(training, "step", step)
    train(bare, ss=1.5, lambda_mv_geo=0.1, mv_from=0)
    assert step.calls == CONFIG.n_iter + 2
    (message,) = (r.message for r in caplog.records if "memory is full" in r.message)
    assert "iteration 0" in message and "--ss 1" in message


@pytest.mark.slow
def test_images_become_half_as_large(scene, monkeypatch, caplog):
    """After renders have become as small as they; with depth maps, points and neighbours."""
    from voxterra.surface.voxels.training import out_of_memory as memory

    def large(self, state, target, *args):
        return state.iteration >= 4 and target.kernel.width > 30

    monkeypatch.setattr(memory, "_SMALLEST_SIDE", 15)
    monkeypatch.setattr(training, "step", Failing(training.step, large))
    model = train(scene, ss=1.5, lambda_mv_geo=0.1, lambda_sparse_depth=0.1, mv_from=0, n_iter=8)
    assert model.metadata["iterations"] == 8
    assert "24x18" in caplog.text


def test_halved_targets_show_the_same(scene):
    """Colours are means, depths samples, points at the same places of the picture."""
    from voxterra.surface.voxels.start.bounds import main_bound
    from voxterra.surface.voxels.training.targets import halved, make_targets

    mask = np.zeros(scene.views[0].rgb.shape[:2], np.uint8)
    mask[:, 20:] = 255
    cube, cpu = main_bound(scene, CONFIG), torch.device("cpu")
    targets, _ = make_targets(changed(scene, [0], mask=mask), cube, CONFIG, cpu)
    whole, half = targets[0], halved(targets[0], cube)
    height, width = whole.rgb.shape[0] // 2, whole.rgb.shape[1] // 2
    assert (half.kernel.height, half.kernel.width) == (height, width) == half.rgb.shape[:2]
    blocks = whole.rgb.reshape(height, 2, width, 2, 3).float().mean((1, 3))
    assert (half.rgb.float() - blocks).abs().max() <= 0.5
    assert torch.equal(half.mask, whole.mask[::2, ::2])
    # Each the sample beside the centre, carried there; the normal says which way.
    torch.testing.assert_close(half.prior.depth, whole.prior.depth[1::2, 1::2], rtol=0.05, atol=0)
    assert torch.equal(half.prior.normal, whole.prior.normal[1::2, 1::2])
    known = whole.sparse_depth > 0
    assert torch.equal(half.sparse_xy[known], whole.sparse_xy[known] / 2)
    assert torch.equal(half.sparse_xy[~known], whole.sparse_xy[~known])
    at = scene.points.positions[scene.points.seen_by(0)]
    np.testing.assert_allclose(half.view.project(at)[0], whole.view.project(at)[0] / 2, atol=1e-4)


def test_images_move_to_the_cpu_first(bare):
    """On a device that is not there: `meta` has no memory at all."""
    from voxterra.surface.voxels.start.bounds import main_bound
    from voxterra.surface.voxels.training import out_of_memory as memory
    from voxterra.surface.voxels.training.targets import make_targets

    cube = main_bound(bare, CONFIG)
    targets, _ = make_targets(bare, cube, replace(CONFIG, ss=2.0), torch.device("cpu"))

    class Elsewhere:
        device = torch.device("meta")

        def __init__(self, tensor):
            self.tensor = tensor

        def cpu(self):
            return self.tensor

    away = tuple(replace(t, rgb=Elsewhere(t.rgb)) for t in targets)
    room = memory.Resources(away, None, 100)
    tried = []

    def work():
        tried.append((type(room.targets[0].rgb), room.targets[0].kernel.width))
        if len(tried) < 4:
            raise torch.OutOfMemoryError("full")
        return "done"

    assert memory.within_memory(work, room, cube, CONFIG, "iteration 1") == "done"
    width = targets[0].view.width
    assert tried == [
        (Elsewhere, 2 * width), (Elsewhere, 2 * width), (torch.Tensor, 2 * width),
        (torch.Tensor, width),
    ]  # fmt: skip


def test_when_nothing_helps_it_is_told(bare, monkeypatch):
    monkeypatch.setattr(training, "step", Failing(training.step, lambda *args: True))
    with pytest.raises(ReconstructionError, match="memory is too small") as error:
        train(bare)
    assert error.value.where == "iteration 0" and "Tried to allocate 2.00 GiB." in error.value.what
    assert "--res_downscale 2" in error.value.next_step
    monkeypatch.setattr(training, "start", Failing(training.start, lambda *args: True))
    with pytest.raises(ReconstructionError, match="memory is too small"):
        train(bare)


ADAPTS = {"adapt_every": 2000, "n_iter": 8}  # after 2, 4 and 6


@pytest.mark.parametrize("name", ["make_tables", "clear_free_space"])
def test_memory_that_is_full_after_a_split_or_at_the_end_is_freed(
    bare, undisturbed, monkeypatch, name
):
    expected = undisturbed(**ADAPTS)
    failing = Failing(getattr(training, name), lambda self, *args: self.calls % 2 == 1)
    monkeypatch.setattr(training, name, failing)
    assert voxel_training.same(train(bare, **ADAPTS), expected)
    assert failing.calls == (8 if name == "make_tables" else 2)


def test_a_split_that_does_not_fit_is_smaller(bare, monkeypatch, caplog):
    def too_many(self, state, kernels, views, config, most):
        return most > 10_000

    adapt = Failing(training.adapt, too_many)
    monkeypatch.setattr(training, "adapt", adapt)
    model = train(bare, **ADAPTS, max_voxels=12_000)
    assert 5500 < model.n_voxels <= 10_000 and model.metadata["iterations"] == 8
    assert "continues with at most" in caplog.text


def test_a_training_goes_on_without_adaptations_that_cannot_be(bare, monkeypatch, caplog):
    monkeypatch.setattr(training, "adapt", Failing(training.adapt, lambda *args: True))
    model = train(bare, **ADAPTS)
    assert model.metadata["iterations"] == 8
    assert "neither split nor pruned at iteration 2" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("copied", [True, False])
def test_an_adaptation_that_fails_halfway_is_taken_back(bare, undisturbed, monkeypatch, copied):
    from voxterra.surface.voxels.training import out_of_memory as memory

    def half(state, *args):
        state.moments["sdf"] = tuple(m[:-5] for m in state.moments["sdf"])
        state.voxels.sh0 = state.voxels.sh0[:-5]
        raise torch.OutOfMemoryError("CUDA out of memory.")

    expected = undisturbed(adapt_every=8000) if copied else None
    monkeypatch.setattr(memory, "tight", lambda *args: copied)
    monkeypatch.setattr(training, "adapt", half)
    if not copied:
        with pytest.raises(ReconstructionError, match="memory is too small"):
            train(bare)
        return
    assert voxel_training.same(train(bare), expected)


def test_an_adaptation_may_do_without_a_copy(bare, undisturbed, monkeypatch):
    from voxterra.surface.voxels.training import out_of_memory as memory

    expected = undisturbed(**ADAPTS)
    monkeypatch.setattr(memory, "tight", lambda *args: True)
    monkeypatch.setattr(memory, "_copied", Failing(memory._copied, lambda *args: True))
    assert voxel_training.same(train(bare, **ADAPTS), expected)


def test_a_picture_that_does_not_fit_is_left_out(bare, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(training, "render_view", Failing(training.render_view, lambda *args: True))
    training.train(bare, CONFIG, out=tmp_path, progress=no_progress)
    assert "no room for the picture" in caplog.text
    assert load_state(tmp_path / "checkpoints" / "last.pt", torch.device("cpu")).iteration == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU here")
def test_images_on_a_gpu_that_is_not_there(bare):
    with pytest.raises(UsageError, match="no NVIDIA GPU") as caught:
        train(bare, data_device="cuda")
    assert caught.value.where == "--data_device cuda"


def test_a_dense_start_of_too_many_voxels_is_refused(bare):
    with pytest.raises(UsageError, match="8 levels"):
        train(bare, init="sphere", init_level=8, outside_level=3)
