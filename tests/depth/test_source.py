"""Depth sources that come in by the door: what is asked of them, and what becomes of their maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image as PilImage

from voxterra.core.depth import DepthMap
from voxterra.core.surface_source import SurfaceSource
from voxterra.depth.choice import chosen_sources
from voxterra.depth.config import DepthConfig
from voxterra.depth.estimate import estimate_depth, with_holes_filled
from voxterra.depth.source import DEPTH_SOURCES, FILLED_CONFIDENCE, DepthInputs
from voxterra.depth.stereo import pyramid
from voxterra.depth.stereo.source import StereoSource
from voxterra.depth.stereo.start import first_planes, planes_from_map
from voxterra.depth.tasks import plan
from voxterra.errors import Cancelled, ReconstructionError, UsageError
from voxterra.io.depth_store import DepthStore, depth_path
from voxterra.pipeline.folder.fingerprint import fingerprint
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.recipe.stages import STAGES
from voxterra.testing import check_depth_source, depth_normals, look_at

HALF = 160  # columns of a photo that the fake source measures


@dataclass(frozen=True)
class FakeOptions:
    offset: float = 0.0


class Fake:
    """Measures the left half of what a survey truly shows, and can fill the rest."""

    name, license, metric, needs_gpu, version = "fake", "MIT", False, False, 1
    options = FakeOptions

    def __init__(self, truth):
        self.truth, self.asked = truth, []

    def requires(self, options):
        pass

    def _map(self, inputs, index, options):
        view, depth = inputs.tasks[index].map_view, self.truth.depths[index] + options.offset
        return DepthMap(view, depth, depth_normals(view, depth), np.full_like(depth, 0.9))

    def estimate(self, inputs, options, progress):
        self.asked.append(inputs.todo)
        for index in inputs.todo:
            progress(0.5, "measuring")
            found = self._map(inputs, index, options)
            for values in (found.depth, found.normal, found.confidence):
                values[:, HALF:] = 0
            yield index, found

    def fill(self, inputs, maps, options, progress):
        for index in inputs.todo[1:]:
            assert (maps.load(index).depth[:, :HALF] > 0).all()
            yield index, self._map(inputs, index, options)

    start = None


@pytest.fixture
def fake(survey, monkeypatch) -> Fake:
    plugin = Fake(survey.truth)
    monkeypatch.setattr(DEPTH_SOURCES, "_registered", {})
    monkeypatch.setattr(DEPTH_SOURCES, "_loaded", {})
    DEPTH_SOURCES.register("fake", plugin)
    return plugin


def run(survey, out, *, photos=None, progress=lambda *_: None, **options) -> DepthStore:
    config = DepthConfig(**{"source": "fake", "fill": None, **options})
    return estimate_depth(
        (survey.component,), photos or survey.photos, config, out_dir=out, progress=progress,
        metric=True,
    )  # fmt: skip


def test_another_source_measures_and_masks_hold_for_it(survey, fake, tmp_path):
    mask = np.full((240, 320), 255, np.uint8)
    mask[:100] = 0
    PilImage.fromarray(mask).save(tmp_path / "mask.png")
    first, *others = survey.photos.photos
    masked = replace(
        survey.photos, photos=(replace(first, mask_path=tmp_path / "mask.png"), *others)
    )
    store = run(survey, tmp_path / "out", photos=masked)
    assert store.source_names == ("fake",) and store.shares == ()
    for i, truth in enumerate(survey.truth.depths):
        found = store.load(i)
        top = 100 if i == 0 else 0
        assert np.array_equal(found.depth[top:, :HALF], truth[top:, :HALF])
        assert not found.depth[:top].any() and not found.confidence[:top].any()
        assert not found.depth[:, HALF:].any()
        assert found.metric and not found.source.any()
    with np.load(depth_path(store.folder, 0)) as saved:
        assert sorted(saved.files) == ["confidence", "depth", "normal"]  # as in version 0.1


def test_what_is_filled_is_marked_and_measured_depths_stay(survey, fake, tmp_path):
    options = {"fake": FakeOptions(offset=1.0)}
    config = DepthConfig(source="fake", fill="fake")
    store = estimate_depth(
        (survey.component,), survey.photos, config, plugins=options, out_dir=tmp_path
    )
    assert store.source_names == ("fake", "fake")
    for i in range(6):
        found, truth = store.load(i), survey.truth.depths[i] + 1.0
        filled = found.source == 1
        assert not filled[:, :HALF].any() and np.allclose(
            found.confidence[:, :HALF], 0.9, atol=0.01
        )
        assert filled[:, HALF:].all() == (i > 0)  # the first one it did not fill
        assert (found.support[filled] == SurfaceSource.FILLED).all()
        assert (found.support[:, :HALF] == SurfaceSource.MEASURED).all()
        assert np.array_equal(found.depth[filled], truth[filled])
        assert found.confidence.max(initial=0, where=filled) <= FILLED_CONFIDENCE + 0.01
    assert store.shares == pytest.approx((0.5, 0.5 * 5 / 6))
    assert store.support_shares() == pytest.approx([0.5 / 6, 0.5, 0, 0, 0.5 * 5 / 6])
    assert not (tmp_path / "work").exists()


def test_a_source_may_say_that_it_fills_at_a_coarse_size():
    view = look_at("a", (0, 0, 5), (0, 0, 0), width=4, height=2)
    ones = np.ones((2, 4), np.float32)
    up = np.zeros((2, 4, 3), np.float32)
    support = np.array([[1, 2, 3, 4]] * 2, np.uint8)
    found = with_holes_filled(
        DepthMap(view, 0 * ones, up, 0 * ones), DepthMap(view, ones, up, ones, support=support)
    )
    assert found.support[0].tolist() == [4, 4, 3, 4]


def test_an_interrupted_source_is_asked_for_the_rest_and_another_version_for_all(
    survey, fake, tmp_path
):
    calls = []

    def stop(fraction, message=""):
        calls.append(message)
        if calls.count("measuring") == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(survey, tmp_path, progress=stop)
    run(survey, tmp_path)
    run(survey, tmp_path)
    fake.version = 2
    run(survey, tmp_path)
    everything = tuple(range(6))
    assert fake.asked == [everything, everything[2:], everything]


BAD = {
    "not finite": lambda m: replace(m, depth=np.full_like(m.depth, np.nan)),
    "below 0": lambda m: replace(m, depth=-m.depth),
    "shape": lambda m: replace(m, depth=m.depth[1:]),
    "outside 0 to 1": lambda m: replace(m, confidence=m.confidence * 2),
    "length 1": lambda m: replace(m, normal=m.normal * 2),
    "floating point": lambda m: replace(m, depth=m.depth.astype(int)),
    "not a DepthMap": lambda m: m.depth,
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_map_is_refused_by_the_name_of_its_source(fault, survey, fake, tmp_path, monkeypatch):
    good = fake._map
    monkeypatch.setattr(fake, "estimate", lambda inputs, options, progress: iter(
        [(2, BAD[fault](good(inputs, 2, options)))]
    ))  # fmt: skip
    with pytest.raises(ReconstructionError, match=f"'fake' yielded.*{fault}") as caught:
        run(survey, tmp_path)
    assert caught.value.where == "2.png" and "--depth.source" in caught.value.next_step


def test_a_source_that_fails_or_forgets_photos_is_named(
    survey, fake, tmp_path, monkeypatch, caplog
):
    def fails(inputs, options, progress):
        yield 0, fake._map(inputs, 0, options)
        raise KeyError("weights")

    monkeypatch.setattr(fake, "estimate", fails)
    with pytest.raises(ReconstructionError, match="'fake' failed: KeyError: 'weights'"):
        run(survey, tmp_path)
    monkeypatch.setattr(fake, "estimate", lambda *_: iter([]))
    store = run(survey, tmp_path)
    assert "'fake' made no depth maps of: 1.png" in caplog.text
    assert store.load(0).depth.any() and not store.load(5).depth.any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"source": "none-such"}, "no depth source 'none-such'"),
        ({"start": "fake"}, "'fake' proposes nothing"),
        ({"fill": "stereo"}, "'stereo' fills no holes"),
        ({"source": "fake", "start": "fake"}, "takes none"),
    ],
)
def test_names_that_cannot_do_it_are_refused(options, message, fake):
    with pytest.raises(UsageError, match=message):
        chosen_sources(DepthConfig(**options))


def test_stereo_starts_from_what_is_proposed(survey, fake, tmp_path, monkeypatch):
    seen: dict[int, DepthMap | None] = {}

    def solved(inputs: DepthInputs, config, progress):
        for index in inputs.todo:
            seen[index] = inputs.proposals(index)
            yield index, fake._map(inputs, index, FakeOptions())

    def start(inputs, options, progress):
        yield 1, fake._map(inputs, 1, FakeOptions())

    fake.start = start
    monkeypatch.setattr(pyramid, "solve_pyramid", solved)
    run(survey, tmp_path, source="stereo", start="fake")
    assert np.array_equal(seen[1].depth, survey.truth.depths[1])
    assert [index for index, found in seen.items() if found is None] == [0, 2, 3, 4, 5]


def test_planes_of_a_proposal_are_those_of_its_surface():
    view = look_at("a", (0, -4, 5), (0, 0, 0))
    pixels = np.stack(np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5), -1).reshape(-1, 2)
    rays = view.unproject(pixels, np.ones(len(pixels))) - view.center_in_world
    depth = (-5 / rays[:, 2]).reshape(240, 320).astype(np.float32)  # of the plane z = 0
    up = np.broadcast_to(view.cam_from_world[:, :3] @ [0, 0, 1], (240, 320, 3)).astype(np.float32)
    known = np.ones_like(depth)
    depth[:, :8] = 0
    small = view.resized(80, 60)
    planes = planes_from_map(DepthMap(view, depth, up, known), small, (0.01, 1.0))
    assert not planes[:, :2].any() and planes[:, 2:, 0].all()
    w = planes[:, 2:].astype(float)
    assert np.allclose(w[:, :-1, 0] + w[:, :-1, 1], w[:, 1:, 0], rtol=1e-4)
    assert np.allclose(w[:-1, :, 0] + w[:-1, :, 2], w[1:, :, 0], rtol=1e-4)
    assert not planes_from_map(DepthMap(view, depth, up, known), small, (0.5, 1.0)).any()


def test_what_sources_depend_on_counts_only_where_they_are_asked(fake):
    (stage,) = [stage for stage in STAGES if stage.name == "depth"]

    def of(**options) -> str:
        config = RunConfig(depth=DepthConfig(max_size=800, **options))
        return fingerprint("depth", stage.code_version, stage.options(config), {"georef": "g"})

    fake.version = 3
    alone = of()
    fake.version = 1
    assert of() == alone
    filled = of(fill="fake")
    assert filled != alone
    fake.version = 2
    assert of(fill="fake") != filled


def test_stereo_keeps_the_contract_that_authors_are_asked_to_keep():
    made = check_depth_source(StereoSource())
    assert set(made) == {"estimate"}
    assert np.mean([m.depth > 0 for m in made["estimate"]]) > 0.5


class Restless:
    """Like none of its calls before."""

    name, license, metric, needs_gpu, version, options = "restless", "MIT", False, False, 1, None
    estimate = start = None
    numbers = iter(range(100))

    def requires(self, options):
        pass

    def fill(self, inputs, maps, options, progress):
        for index in inputs.todo:
            progress(0.0)
            found = maps.load(index)
            yield index, replace(found, depth=found.depth + np.float32(next(self.numbers)))


def test_the_check_for_authors_names_what_is_wrong():
    with pytest.raises(AssertionError, match="fill: the same call repeats"):
        check_depth_source(Restless())
    Restless.fill = lambda self, inputs, maps, *_: ((i, maps.load(i)) for i in inputs.todo)
    with pytest.raises(AssertionError, match="Cancelled"):
        check_depth_source(Restless())


def test_first_planes_are_the_proposed_ones_where_there_are_any(survey, fake, tmp_path):
    tasks = plan((survey.component,), DepthConfig())
    inputs = DepthInputs(tasks, survey.truth, (1,), tmp_path)
    proposed = fake._map(inputs, 1, FakeOptions())
    proposed.depth[:, HALF:] = 0
    view = tasks[1].view.resized(80, 60)
    usual = first_planes(inputs, 1, view)
    planes = first_planes(replace(inputs, proposals=lambda index: proposed), 1, view)
    assert np.array_equal(planes[:, 40:], usual[:, 40:])
    truth = survey.truth.depths[1][2::4, 2::4]
    assert np.allclose(1 / planes[:, :40, 0], truth[:, :40], rtol=1e-5)
    assert np.abs(1 / usual[:, :40, 0] - truth[:, :40]).max() > 0.1
