"""What a training does on a small scene: it improves, each term works, adaptation is careful."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import voxel_training
from PIL import Image

torch = pytest.importorskip("torch")

from voxterra.surface.voxels.evaluate import (  # noqa: E402
    evaluate_views,
    means,
    score_view,
    smooth_share,
)
from voxterra.surface.voxels.model import pictures as report  # noqa: E402
from voxterra.surface.voxels.model.render import (  # noqa: E402
    Rendered,
    rasterize,
    render_view,
    to_device,
    to_model,
)
from voxterra.surface.voxels.model.sharpness import set_sharpness  # noqa: E402
from voxterra.surface.voxels.octree import corner_positions, locate  # noqa: E402
from voxterra.surface.voxels.octree.query import crossing  # noqa: E402
from voxterra.surface.voxels.scene.scene import SceneView  # noqa: E402
from voxterra.surface.voxels.train import train  # noqa: E402
from voxterra.surface.voxels.training.adapt import adapt, max_weights, worth_keeping  # noqa: E402
from voxterra.surface.voxels.training.anchor import make_anchor  # noqa: E402
from voxterra.surface.voxels.training.free_space import clear_free_space  # noqa: E402
from voxterra.surface.voxels.training.neighbor_terms import make_companions, neighbor_terms  # noqa: E402
from voxterra.surface.voxels.training.objective import samples  # noqa: E402
from voxterra.surface.voxels.training.state import contents, state_of  # noqa: E402
from voxterra.surface.voxels.training.step import make_tables, step  # noqa: E402
from voxterra.surface.voxels.training.targets import make_targets  # noqa: E402

CPU = torch.device("cpu")
CONFIG = voxel_training.SMALL


@pytest.fixture(scope="module")
def scene():
    return voxel_training.scene()


@pytest.fixture(scope="module")
def trained(scene, tmp_path_factory):
    """The first model, the trained one, and the folder of a training with depth priors."""
    first, out = [], tmp_path_factory.mktemp("trained")
    model = train(
        scene,
        replace(CONFIG, n_iter=100, view_every=100),
        out=out,
        started=lambda voxels: first.append(to_model(copy.deepcopy(voxels))),
    )
    return first[0], model, out


@pytest.fixture(scope="module")
def kept(scene, trained):
    """Contents of the state at the end of that training."""
    return torch.load(trained[2] / "checkpoints" / "last.pt", weights_only=True)


def state_again(kept, iteration: int = 0):
    state = state_of(copy.deepcopy(kept))
    state.iteration = iteration
    return state


def psnr(scene, model) -> float:
    return means(evaluate_views(to_device(model, "cpu"), scene))["psnr"]


def surface_error(scene, model) -> float:
    """Mean distance of what the held-out views see from the true surface, inside of the bound."""
    voxels, off = to_device(model, "cpu"), []
    for source in scene.held_out:
        view = source.view
        depth = render_view(voxels, view).median_depth.numpy()
        rows, columns = np.nonzero(depth > 0)
        pixels = np.column_stack([columns, rows]) + 0.5
        at = view.unproject(pixels, depth[rows, columns].astype(np.float64))
        at = at[(np.abs(at[:, :2]) < 0.9).all(1)]
        assert len(at) > 300
        off.append(np.abs(voxel_training.SDF(at)).mean())
    return float(np.mean(off))


def test_training_improves_colours_and_surface(scene, trained):
    first, model, _ = trained
    assert psnr(scene, model) > psnr(scene, first) + 4
    assert surface_error(scene, model) < 0.7 * surface_error(scene, first)
    assert model.metadata == {"source": "a block on the ground", "iterations": 100}
    assert model.why_invalid() is None


# --- terms --------------------------------------------------------------------------------------

OFF = {
    name: 0.0
    for name in (
        "lambda_photo", "lambda_ssim", "lambda_mask", "lambda_ge_density", "lambda_vg_density",
        "lambda_ls_density", "lambda_normal_dmean", "lambda_normal_dmed", "lambda_prior_normal",
        "lambda_prior_depth", "lambda_R_concen", "lambda_T_concen", "lambda_T_inside",
        "lambda_dist", "lambda_tv_density", "lambda_sparse_depth", "lambda_mv_ncc",
        "lambda_mv_geo", "lambda_ascending", "lambda_start",
    )
}  # fmt: skip
ALWAYS = {
    **{name: 0 for name in ("vg_from", "normal_from", "dist_from", "mv_from")},
    **{n: 10_000 for n in ("ge_until", "prior_until", "tv_until", "sparse_depth_until")},
}


def test_all_terms_are_looked_at():
    names = {n for n in CONFIG.__dataclass_fields__ if n.startswith("lambda_")}
    assert names == set(OFF)


@pytest.mark.parametrize("name", sorted(OFF))
def test_each_term_lowers_what_it_is_named_after(scene, kept, name):
    config = replace(CONFIG, **{**OFF, **ALWAYS, name: 1.0}, n_iter=8000, geo_lr=0.01)
    state = state_again(kept)
    if name == "lambda_mask":
        mask = np.full((voxel_training.HEIGHT, voxel_training.WIDTH), 255, np.uint8)
        scene = replace(scene, views=tuple(replace(v, mask=mask) for v in scene.views))
    targets, _ = make_targets(scene, state.voxels.octree.cube, config, CPU)
    noise = torch.randn(len(state.voxels.sdf), generator=torch.Generator().manual_seed(1))
    tables = make_tables(state.voxels)
    octree = state.voxels.octree
    state.anchor = make_anchor(octree, state.voxels.sdf, torch.ones(len(octree.path)))
    state.voxels.sdf += 0.3 * noise * tables.corner_edge
    if name == "lambda_mask":  # so thin that light comes through
        state.voxels.sdf += 0.7 * tables.corner_edge
    companions = make_companions(targets, state.voxels.octree.cube, config)
    values = []
    for _ in range(12):
        state.generator.manual_seed(7)  # the same samples and halves, so that values compare
        extra = neighbor_terms(state, targets[0], companions, config)
        objective = step(state, targets[0], tables, config, extra)
        values.append(float(objective.terms[name.removeprefix("lambda_")]))
    assert np.isfinite(values).all() and values[0] > 0
    assert values[-1] < 0.97 * values[0], values


@pytest.mark.slow
def test_parts_of_voxels_move_the_mean_depth_alone(scene, kept):
    config = replace(CONFIG, **{**OFF, **ALWAYS, "lambda_photo": 1.0}, n_iter=8000)
    terms = {}
    for name in ("normal_dmean", "normal_dmed"):
        for parts in (1, 3):
            state = state_again(kept)
            more = {f"lambda_{name}": 1.0, "n_samp_per_vox": parts}
            targets, _ = make_targets(scene, state.voxels.octree.cube, config, CPU)
            tables = make_tables(state.voxels)
            objective = step(state, targets[0], tables, replace(config, **more), ())
            terms[name, parts] = float(objective.terms[name])
    assert terms["normal_dmean", 1] != terms["normal_dmean", 3]
    assert terms["normal_dmed", 1] == terms["normal_dmed", 3]
    asked = replace(config, n_samp_per_vox=3, normal_from=2000, dist_from=4000)
    assert samples(asked, 5000) == 1
    assert [samples(replace(asked, lambda_normal_dmean=1.0), i) for i in (1999, 2000)] == [1, 3]
    assert [samples(replace(asked, lambda_dist=1.0), i) for i in (3999, 4000)] == [1, 3]


# --- adaptation ---------------------------------------------------------------------------------


def views_of(scene, state, config):
    targets, _ = make_targets(scene, state.voxels.octree.cube, config, CPU)
    return [t.kernel for t in targets], [t.view for t in targets]


def test_the_progress_picture_tells_the_range_of_its_depths(monkeypatch):
    drawn = []
    real = report.ImageDraw.ImageDraw.text

    def text(self, at, words, **options):
        drawn.append(words)
        return real(self, at, words, **options)

    monkeypatch.setattr(report.ImageDraw.ImageDraw, "text", text)
    depth = torch.linspace(2.0, 8.0, 60 * 80).reshape(60, 80)
    depth[:3] = 0.0  # unknown
    image, light = torch.full((60, 80, 3), 0.5), torch.zeros(60, 80)
    panel = report.panel(Rendered(image, light, depth, depth, image), image)
    assert panel.shape == (60 + report.LEGEND, 4 * 80, 3)
    known = depth[depth > 0]
    near, far = (float(known.quantile(q)) for q in (0.02, 0.98))
    assert f"depth {near:.4g}" in drawn and f"{far:.4g} world units" in drawn
    # The scale has the very greys of the picture, nearest first.
    scale = panel[60 + report.LEGEND // 2, :, 0].astype(int)
    first, last = np.flatnonzero(scale == 30)[[0, -1]]  # its frame
    scale = scale[first + 1 : last]
    shown = panel[:60, 240:, 0]
    assert scale[0] == 255 == shown.max() and scale[-1] == shown[3:].min() == 38
    assert (np.diff(scale) < 0).all()
    empty = report.panel(Rendered(image, light, 0 * depth, 0 * depth, image), image)
    assert empty.shape == panel.shape and drawn[-1] == "no depth"


def test_a_split_shows_the_same_picture(scene, kept):
    state = state_again(kept)
    config = replace(CONFIG, max_level=8, n_iter=8000)
    kernels, views = views_of(scene, state, config)
    # One sharpness for all levels: only then parents and children are the same surface.
    state.voxels.sharpness[:] = 20.0
    before = [rasterize(state.voxels, k)[3].pixels[..., :4].clone() for k in kernels]
    count = len(state.voxels)
    state.iteration, state.start_level = 1000, 8
    fine = [v.resized(8 * v.width, 8 * v.height) for v in views]  # so that pixels are small enough
    done = adapt(state, kernels, fine, config, 10**6)
    assert done.before == count and done.split > 0.1 * count
    assert done.after == done.before - done.pruned + 7 * done.split == len(state.voxels)
    after = [rasterize(state.voxels, k)[3].pixels[..., :4] for k in kernels]
    off = torch.stack([(a - b).abs() for a, b in zip(after, before)])
    assert float(off.mean()) < 1e-3, off.mean()
    assert state_of(contents(state)) and float(state.priority.sum()) == 0


def test_crossed_voxels_are_never_pruned(scene, kept):
    state = state_again(kept)
    generator = torch.Generator().manual_seed(2)
    edge = make_tables(state.voxels).corner_edge
    state.voxels.sdf += 3 * torch.randn(len(edge), generator=generator) * edge
    config = replace(CONFIG, n_iter=8000, max_level=8)
    looks = views_of(scene, state, config)
    while bool(clear_free_space(state.voxels, looks[0]).corners.any()):
        pass  # the noise made surfaces that every view looks through
    octree = state.voxels.octree
    crossed = crossing(octree, state.voxels.sdf)
    assert 0.2 < float(crossed.float().mean()) < 1
    assert worth_keeping(state.voxels, torch.zeros(len(crossed)))[crossed].all()
    state.iteration = 1000
    adapt(state, *looks, config, 10**6)
    center = octree.lo_size[crossed, :3] + 0.5 * octree.lo_size[crossed, 3:]
    assert (locate(state.voxels.octree, center) >= 0).all()


def test_what_is_far_from_the_surface_is_pruned(kept):
    state = state_again(kept)
    octree = state.voxels.octree
    inner = corner_positions(octree).abs().amax(1) < 1.0
    state.voxels.sdf[inner] = 5.0
    stay = worth_keeping(state.voxels, torch.zeros(len(state.voxels)))
    empty = inner[octree.corner_index.long()].all(1)
    assert int(empty.sum()) > 500 and not stay[empty].any()
    assert stay[crossing(octree, state.voxels.sdf)].all()


@pytest.mark.parametrize("room", [0, 70, 700])
@pytest.mark.parametrize("at", [1000, 7000])  # by the surface, by priority
def test_no_more_voxels_than_allowed(scene, kept, room, at):
    state = state_again(kept, at)
    state.priority = torch.rand(len(state.voxels), generator=torch.Generator().manual_seed(1))
    state.start_level = 16
    config = replace(CONFIG, n_iter=8000, max_level=9, subdivide_share=0.5)
    kernels, views = views_of(scene, state, config)
    fine = [v.resized(8 * v.width, 8 * v.height) for v in views]
    stay = int(worth_keeping(state.voxels, max_weights(state.voxels, kernels)).sum())
    done = adapt(state, kernels, fine, config, stay + room)
    assert done.after <= stay + room and done.split == room // 7


def test_sharpness_belongs_to_the_size_of_voxels(kept):
    voxels = state_again(kept).voxels
    set_sharpness(voxels, 2.0)
    edge = voxels.octree.lo_size[:, 3]
    level = voxels.octree.level.long()
    torch.testing.assert_close(voxels.sharpness[level] * edge, torch.full_like(edge, 2.0))


# --- exposure, figures, pictures ----------------------------------------------------------------


def test_a_darker_photo_is_known_as_such(tmp_path):
    views = voxel_training.views(6)
    shots = [
        voxel_training.photographed(v, gain=0.8 if i == 1 else 1.0) for i, v in enumerate(views)
    ]
    scene = replace(voxel_training.scene(6, ()), views=tuple(shots))
    config = replace(CONFIG, n_iter=120, exposure=True, exposure_lr=0.02, max_level=5)
    train(scene, config, out=tmp_path)
    data = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    matrix = data["exposure"]["matrix"]
    gray = torch.tensor([0.5, 0.5, 0.5, 1.0])
    shown = (matrix @ gray).mean(1)
    others = shown[[0, 2, 3, 4, 5]]
    assert abs(float(shown[1] / others.mean()) - 0.8) < 0.05
    assert float(others.std() / others.mean()) < 0.05


def test_figures_of_a_perfect_render(scene, trained):
    source = scene.views[0]
    color = torch.from_numpy(source.rgb).float() / 255
    depth = torch.full(color.shape[:2], 2.0)
    perfect = Rendered(color, 0 * depth, depth, depth, color)
    score = score_view(source, perfect)
    assert score.psnr == 100 and score.ssim == pytest.approx(1, abs=1e-6)
    assert score.depth_smooth == 1 and score.psnr_in_mask is None
    # 10 of 255 off on the left half, and only the right half in the mask.
    half = color.shape[1] // 2
    dark = replace_color(source.rgb, half)
    mask = np.zeros(color.shape[:2], np.uint8)
    mask[:, half:] = 255
    score = score_view(replace(source, rgb=dark, mask=mask), perfect)
    assert score.psnr == pytest.approx(20 * np.log10(255 / 10) + 10 * np.log10(2), abs=1e-3)
    assert score.psnr_in_mask == 100
    nothing = score_view(replace(source, mask=np.zeros_like(mask)), perfect)
    assert nothing.psnr_in_mask is None, "no pixel is rendered as well as possible"
    # Photos of the model itself: only the rounding to 8 bits is left.
    voxels = to_device(trained[1], "cpu")
    own = []
    for view in scene.views[:2]:
        rendered = render_view(voxels, view.view).color.clamp(0, 1)
        own.append(SceneView(view.view, np.rint(255 * rendered.numpy()).astype(np.uint8)))
    scores = evaluate_views(voxels, replace(scene, views=tuple(own)), held_out=None)
    assert len(scores) == 2 and means(scores)["psnr"] > 55 and means(scores)["ssim"] > 0.999


def replace_color(rgb: np.ndarray, half: int) -> np.ndarray:
    """10 darker, or lighter where it is dark, left of `half`."""
    out = rgb.astype(int)
    left = out[:, :half]
    out[:, :half] = np.where(left >= 10, left - 10, left + 10)
    return out.astype(np.uint8)


def test_smooth_depth():
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    assert smooth_share(4 + 0.1 * x + 0.2 * y) == 1
    rough = 4 + 0.2 * ((x + y) % 2)
    assert smooth_share(rough) == 0
    assert smooth_share(torch.zeros(5, 5)) == 0


def test_curves_are_a_picture_one_can_read(tmp_path):
    path = tmp_path / "curves.png"
    falling = [(100 * i, 2.0**-i) for i in range(1, 30)]
    report.draw_curves({"photo": falling, "once": [(1, 2.0)], "nan": [(1, float("nan"))] * 3}, path)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (report.SIZE[1], report.SIZE[0], 3)
    line = (picture == report._LINE).all(-1)[: report.SIZE[1]]
    rows, columns = np.nonzero(line)
    assert len(rows) > 300
    # It falls from the left to the right.
    assert rows[columns < 150].min() < 60 and rows[columns > 800].min() > 200
    assert (picture[-35:-20] < 150).any() and (picture[-20:] < 150).any()  # numbers, a label
    report.draw_curves({}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_charts_of_a_training_have_one_scale_of_iterations(tmp_path):
    whole = [(at, float(at)) for at in range(0, 1001, 100)]
    report.draw_curves({"whole": whole, "late": whole[5:], "early": whole[:6]}, tmp_path / "c.png")
    picture = np.asarray(Image.open(tmp_path / "c.png"))
    ends = []
    for top in range(0, 3 * report.SIZE[1], report.SIZE[1]):
        line = (picture[top : top + report.SIZE[1]] == report._LINE).all(-1)
        columns = np.flatnonzero(line.any(0))
        ends.append((columns[0], columns[-1]))
    (first, last), late, early = ends
    middle = (first + last) / 2
    assert late == pytest.approx((middle, last), abs=3)
    assert early == pytest.approx((first, middle), abs=3)


@pytest.mark.parametrize(
    ("last", "step"), [(0, 1), (7, 1), (20, 2), (30, 5), (100, 10), (950, 100), (8000, 1000)]
)
def test_ticks_are_round_and_few(last, step):
    assert report._tick_step(last) == step


def test_pictures_of_the_progress(trained):
    out = trained[2]
    picture = np.asarray(Image.open(out / "pg_view" / "000100.png"))
    height = voxel_training.HEIGHT + report.LEGEND
    assert picture.shape == (height, 4 * voxel_training.WIDTH, 3)
    picture = picture[: voxel_training.HEIGHT]
    photo, render = np.split(picture.astype(int), 4, axis=1)[:2]
    assert np.abs(photo - render).mean() < 20
    assert all(part.std() > 10 for part in np.split(picture, 4, axis=1))
