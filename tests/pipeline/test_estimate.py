"""The estimate before a run: true to what was measured, and to what is asked for."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxterra.core.options import with_values
from voxterra.errors import OutputError, VoxterraError, exit_code
from voxterra.pipeline import events as ev
from voxterra.pipeline import machine
from voxterra.pipeline.costs import forecast
from voxterra.pipeline.costs.estimate import PhotoSizes, estimate, photo_sizes
from voxterra.pipeline.recipe.presets import preset
from voxterra.pipeline.recipe.stages import STAGE_NAMES
from voxterra.pipeline.run import run

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SURVEY = PhotoSizes(100, 5472, 3648)


def config(name: str = "standard", **options):
    return with_values(replace(preset(name), backend="fusion"), options, where="test")


@pytest.fixture
def measured(monkeypatch):
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not in this copy")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run_cost

    yield list(run_cost.compared())
    for name in ("run_cost", "sets", "measure"):
        sys.modules.pop(name, None)


def test_it_is_true_to_the_runs_that_were_measured(measured):
    assert len(measured) >= 5
    for run_ in measured:
        compiling = 30.0 if run_.cold else 0.0
        ratio = (run_.estimated.seconds + compiling) / run_.seconds
        assert 0.45 < ratio < 2.2, f"{run_.name}: {ratio:.2f} of the time measured"
        ratio = run_.estimated.memory_bytes / run_.memory_bytes
        assert 0.6 < ratio < 2.0, f"{run_.name}: {ratio:.2f} of the memory measured"


def test_more_photos_larger_photos_and_finer_presets_cost_more():
    def cost(sizes, chosen, cores=2):
        found = estimate(sizes, chosen, cores, STAGE_NAMES)
        return np.array([found.seconds, found.memory_bytes, found.disk_bytes])

    base = cost(SURVEY, config())
    assert (cost(SURVEY, config("preview")) < base).all()
    assert (cost(SURVEY, config("high")) > base).all()
    assert (cost(replace(SURVEY, count=200), config())[[0, 2]] > 1.5 * base[[0, 2]]).all()
    assert (cost(SURVEY, config(depth={"max_size": 400})) < base).all()
    assert (cost(SURVEY, config(mesh={"max_faces": None})) >= base).all()
    assert cost(SURVEY, config(), cores=8)[0] < base[0]


def test_voxels_cost_what_their_iterations_cost():
    short, long = (
        replace(config(), backend="voxels", voxels=replace(config().voxels, n_iter=n))
        for n in (100, 1100)
    )
    a, b = (estimate(SURVEY, c, 2, ("surface",)).seconds for c in (short, long))
    assert b - a > 500
    on_gpu = replace(long, voxels=replace(long.voxels, device="cuda"))
    assert estimate(SURVEY, on_gpu, 2, ("surface",)).seconds < b


def test_other_sites_cost_what_their_photos_cost():
    late = ("depth", "surface", "mesh", "products", "report")
    near, far = replace(SURVEY, count=70), replace(SURVEY, count=30)
    both = forecast.estimate_sites(SURVEY, config(), 2, late, [(30, late)])
    a, b = (estimate(sizes, config(), 2, late) for sizes in (near, far))
    assert both.seconds == pytest.approx(a.seconds + b.seconds)
    assert both.disk_bytes == pytest.approx(a.disk_bytes + b.disk_bytes)
    assert both.memory_bytes == max(a.memory_bytes, b.memory_bytes)
    only = forecast.estimate_sites(SURVEY, config(), 2, (), [(30, ("depth",))])
    assert only.stages == estimate(far, config(), 2, ("depth",)).stages


def photo(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_photos_are_counted_and_their_size_is_seen(tmp_path):
    for i in range(3):
        photo(tmp_path / "in" / "images" / f"{i}.jpg", 160, 120)
    photo(tmp_path / "in" / "masks" / "0.png", 160, 120)
    (tmp_path / "in" / "images" / "broken.jpg").write_bytes(b"no photo")
    assert photo_sizes((tmp_path / "in",)) == PhotoSizes(4, 160, 120)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "in" / "images" / "0.jpg", "x/0.jpg")
        archive.write(tmp_path / "in" / "images" / "1.jpg", "x/1.jpg")
    assert photo_sizes((tmp_path / "a.zip",)) == PhotoSizes(2, 160, 120)
    (tmp_path / "b.zip").write_bytes(b"no zip")
    assert photo_sizes((tmp_path / "b.zip",)) is None
    assert photo_sizes((tmp_path / "nowhere",)) is None
    assert PhotoSizes(1, 4000, 3000).megapixels(2000) == pytest.approx(3.0)
    assert PhotoSizes(1, 4000, 3000).megapixels(0) == pytest.approx(12.0)


def told(memory_gb: float, disk_gb: float, **there: float) -> ev.RunEstimated:
    room = {"memory_free_bytes": 4e9, "memory_total_bytes": 8e9, "disk_free_bytes": 20e9} | there
    return ev.RunEstimated(
        STAGE_NAMES, 100, 20.0, 600.0, int(memory_gb * 1e9), int(disk_gb * 1e9), "mesh",
        basis="", **{k: None if v is None else int(v) for k, v in room.items()},
    )  # fmt: skip


def test_what_cannot_fit_is_refused_with_advice(wording):
    with pytest.raises(VoxterraError) as caught:
        list(forecast.require_resources(told(9, 1), config("high"), force=False))
    assert caught.value.where == "stage mesh"
    assert "--preset" in caught.value.next_step and "--force" in caught.value.next_step
    assert "9.0 GB" in caught.value.what and "8.0 GB" in caught.value.what
    with pytest.raises(OutputError, match=r"25 GB.*20 GB") as full:
        list(forecast.require_resources(told(1, 25), config(), force=False))
    assert exit_code(full.value) == 20
    wording("estimate: no room on the disk", full.value)


def test_the_advice_fits():
    need = told(9, 1)
    text = forecast._advice(need, config("high"))
    name = text.split("--preset ")[1].split(",")[0]
    smaller = estimate(PhotoSizes(100, 5164, 3873), config(name), 2, STAGE_NAMES)
    assert smaller.memory_bytes < 8e9
    tiny = told(9, 1, memory_total_bytes=0.1e9)
    assert "fewer photos" in forecast._advice(tiny, config())


def test_tight_memory_and_anyway_are_warnings():
    assert "memory is tight" in next(forecast.require_resources(told(6, 1), config(), force=False))
    both = list(forecast.require_resources(told(9, 25), config(), force=True))
    assert len(both) == 2 and "may be killed" in both[0] and "may end early" in both[1]
    unknown = told(99, 99, memory_free_bytes=None, memory_total_bytes=None, disk_free_bytes=None)
    assert list(forecast.require_resources(unknown, config(), force=False)) == []
    assert list(forecast.require_resources(told(1, 1), config(), force=False)) == []


def test_a_run_tells_before_it_starts_and_not_when_nothing_is_to_do(tmp_path):
    for name in ("a.jpg", "b.png"):
        photo(tmp_path / "photos" / name, 160, 120)
    events = list(run(tmp_path / "photos", tmp_path / "out", config(), until="ingest"))
    kinds = [type(e).__name__ for e in events]
    assert kinds.index("RunEstimated") < kinds.index("StageStarted")
    (said,) = (e for e in events if isinstance(e, ev.RunEstimated))
    assert (said.stages, said.photos, said.megapixels) == (("ingest",), 2, 0.02)
    text = forecast.describe_estimate(said)
    assert text.startswith("2 photos of 0.02 MP: about 5 s") and said.basis in text
    again = list(run(tmp_path / "photos", tmp_path / "out", config(), until="ingest"))
    assert not [e for e in again if isinstance(e, ev.RunEstimated)]


def test_a_run_without_room_does_not_start(tmp_path, monkeypatch):
    for name in ("a.jpg", "b.png"):
        photo(tmp_path / "photos" / name, 160, 120)
    monkeypatch.setattr(machine, "memory", lambda: (100_000_000, 90_000_000))
    events = run(tmp_path / "photos", tmp_path / "out", config(), until="ingest")
    with pytest.raises(VoxterraError, match="of memory"):
        list(events)
    assert not (tmp_path / "out" / "stages" / "ingest").exists()
    forced = list(run(tmp_path / "photos", tmp_path / "out", config(), until="ingest", force=True))
    assert isinstance(forced[-1], ev.RunFinished)
    assert [e for e in forced if isinstance(e, ev.StageWarning) and "may be killed" in e.message]
