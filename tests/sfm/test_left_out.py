"""Photos that were left out: real wide baselines, what is taken and refused, and stopped runs."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pycolmap
import pytest
from killed_sfm import killed_while
from made_database import database_of

from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import no_progress
from voxterra.core.registration import Registration
from voxterra.core.transforms import fit_similarity
from voxterra.errors import Cancelled, NoOverlapError
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features import features, matching
from voxterra.sfm.mapping.attempts import Attempt
from voxterra.sfm.mapping.candidates import Candidate, MappingTask
from voxterra.sfm.reconstruct import reconstruct
from voxterra.sfm.retry import left_out
from voxterra.sfm.retry.rematch import joined, largest

BuildSet = Callable[..., PhotoSet]
FindData = Callable[[str], Path]
CONFIG = SfmConfig(max_image_size=640, threads=1, deterministic=True)


def every(photos: PhotoSet, start: int, step: int) -> PhotoSet:
    return replace(photos, photos=photos.photos[start::step])


def errors_m(found: Registration, root: Path) -> np.ndarray:
    """Distances of the largest component's cameras from those of the Kinect."""
    component = found.components[0]
    poses = [image.name.replace("color.jpg", "pose.txt") for image in component.images]
    true = np.array([np.loadtxt(root / "poses" / name)[:3, 3] for name in poses])
    centers = component.centers_in_world()
    return np.linalg.norm(fit_similarity(centers, true).apply(centers) - true, axis=1)


@dataclass(frozen=True)
class Kitchen:
    """Every eighth photo of a kitchen, of which two come to the others by matching again.

    Attributes:
        root: of the data set.
        photos: five.
        work: the folder of that run.
        found: its result.
        left_out: photos that each result of the mapper left out when it was looked at.
    """

    root: Path
    photos: PhotoSet
    work: Path
    found: Registration
    left_out: list[int]

    def matched(self, folder: Path) -> Path:
        """A folder with its features and matches, as before mapping."""
        folder.mkdir(exist_ok=True)
        (database,) = (p for p in self.work.glob("database-*.db") if p.name.count(".db") == 1)
        shutil.copy(database, folder / database.name)
        return folder


@pytest.fixture(scope="module")
def kitchen(
    shared_data: FindData, photo_set: BuildSet, tmp_path_factory: pytest.TempPathFactory
) -> Kitchen:
    root = shared_data("indoor_rgbd_7scenes")
    photos = every(photo_set(root / "images", focal_px=520.0), 0, 8)
    counts: list[int] = []
    usual = left_out.photos_left_out

    def spy(*args):
        found = usual(*args)
        counts.append(len(found))
        return found

    work = tmp_path_factory.mktemp("kitchen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(left_out, "photos_left_out", spy)
        found = reconstruct(photos, CONFIG, work_dir=work)
    return Kitchen(root, photos, work, found, counts)


def test_every_eighth_photo_of_a_kitchen(kitchen: Kitchen) -> None:
    found = kitchen.found
    assert kitchen.left_out[0] == 2  # as many as the mapper alone leaves out
    assert len(found.components[0].images) == 5 and not found.unregistered
    # All 40 photos come to 0.029 m on average, 0.063 m at most: what the Kinect's poses are worth.
    assert errors_m(found, kitchen.root).max() < 0.08
    (told,) = [w for w in found.warnings if "registered with the others only by" in w]
    assert told.startswith("2 photos (frame-")


def test_a_stopped_retry_resumes_to_the_same(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, whole = kitchen.matched(tmp_path / "stopped"), kitchen.found
    guided: list[int] = []
    usual = pycolmap.match_image_pairs

    def counted(*args, **options):
        guided.append(options["matching_options"].guided_matching)
        return usual(*args, **options)

    monkeypatch.setattr(matching.pycolmap, "match_image_pairs", counted)

    def stop(fraction: float, message: str = "") -> None:
        if sum(guided) and message.startswith("matched"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        reconstruct(kitchen.photos, CONFIG, work_dir=work, progress=stop)
    resumed = reconstruct(kitchen.photos, CONFIG, work_dir=work)
    assert resumed.warnings == whole.warnings
    np.testing.assert_array_equal(
        resumed.components[0].centers_in_world(), whole.components[0].centers_in_world()
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_while_hardened_it_resumes_to_the_same(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = every(photo_set(shared_data("indoor_rgbd_7scenes") / "images", focal_px=520.0), 3, 6)
    config = replace(CONFIG, max_features=1500)
    whole = reconstruct(photos, config, work_dir=tmp_path / "whole")
    assert any("fainter features" in told for told in whole.warnings)

    def count(path: Path) -> int:
        with closing(pycolmap.Database.open(path)) as database:
            return sum(database.exists_keypoints(i + 1) for i in range(len(photos)))

    def left() -> tuple[int, int]:
        (path,) = (tmp_path / "killed").glob("*.hardened-*.features.db")
        with closing(pycolmap.Database.open(path)) as database:
            return count(path), database.num_matched_image_pairs()

    assert killed_while("features in", photos, config, tmp_path / "killed") == -signal.SIGKILL
    with_features, matched = left()
    assert 0 < with_features < len(photos) and not matched
    assert killed_while("matched", photos, config, tmp_path / "killed") == -signal.SIGKILL
    assert left()[0] == len(photos) and left()[1] > 0
    extracted: list[str] = []
    usual = pycolmap.extract_features

    def counted(database, *args, **options):
        before = count(database)
        usual(database, *args, **options)
        extracted.extend([str(database)] * (count(database) - before))

    monkeypatch.setattr(features.pycolmap, "extract_features", counted)
    messages: list[str] = []
    found = reconstruct(
        photos, config, work_dir=tmp_path / "killed", progress=lambda _, m="": messages.append(m)
    )
    assert not extracted and not any(m.startswith("matched 0/") for m in messages)
    assert found.warnings == whole.warnings and found.unregistered == whole.unregistered
    for one, other in zip(found.components, whole.components, strict=True):
        assert [i.name for i in one.images] == [i.name for i in other.images]
        np.testing.assert_array_equal(one.centers_in_world(), other.centers_in_world())
        np.testing.assert_array_equal(
            one.points.positions_in_world, other.points.positions_in_world
        )


def test_too_much_work_is_skipped_and_reported(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, work = kitchen.photos, kitchen.matched(tmp_path)
    monkeypatch.setattr(left_out, "_ALWAYS", 0.0)
    monkeypatch.setattr(left_out, "_TIMES", 0.01)
    found = reconstruct(photos, CONFIG, work_dir=work)
    assert len(found.components[0].images) == 3
    (told,) = [w for w in found.warnings if "--sfm.rematch always" in w]
    assert told.startswith("2 photos (frame-")
    always = reconstruct(photos, replace(CONFIG, rematch="always"), work_dir=work)
    assert len(always.components[0].images) == 5
    assert not any("--sfm.rematch" in w for w in always.warnings)


def test_without_any_model_skipped_photos_are_reported_too(
    shared_data: FindData,
    photo_set: BuildSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    photos = every(photo_set(shared_data("fountain_p11") / "images", focal_px=1380.0), 0, 5)
    monkeypatch.setattr(left_out, "_ALWAYS", 0.0)
    monkeypatch.setattr(left_out, "_TIMES", 0.01)
    with pytest.raises(NoOverlapError):
        reconstruct(photos, replace(CONFIG, max_image_size=768), work_dir=tmp_path)
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert told.startswith("3 photos (0000.jpg") and "--sfm.rematch always" in told


def test_of_many_photos_those_are_reported_that_could_register(
    photo: Callable[..., Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a blank photo, nor a model that nothing connects to the first."""
    monkeypatch.setattr(left_out, "MANY_PHOTOS", 20)
    model = {(a, a + 1): (200, 150) for a in range(36)}
    other = {(37, 38): (200, 150)}
    database = database_of(tmp_path / "made.db", [4000] * 41, model | other | {(0, 39): (60, 20)})
    photos = tuple(photo(i) for i in range(41))
    task = MappingTask(database, photos, None, (), CONFIG, False)  # type: ignore[arg-type]
    models = [SimpleNamespace(reg_image_ids=lambda s=s: s) for s in (range(1, 38), (38, 39))]
    best = Candidate(Attempt(), tuple(models), True, None)  # type: ignore[arg-type]
    same, unchanged, told = left_out.register_left_out(task, best, no_progress)
    assert same is task and unchanged is best
    assert [line.split(" could")[0] for line in told] == ["1 photo (0039.jpg)"]


@pytest.mark.parametrize("kind", ["", ".features.db"])
def test_a_damaged_database_of_it_is_made_again(
    kitchen: Kitchen, tmp_path: Path, kind: str
) -> None:
    work = shutil.copytree(kitchen.work, tmp_path / "work")
    (path,) = work.glob("*.guided-*.db")
    damaged = path.with_name(path.name + kind)
    path.rename(damaged)
    damaged.write_bytes(damaged.read_bytes()[:5000] + b"x" * 20000)
    after = reconstruct(kitchen.photos, CONFIG, work_dir=work)
    assert after.warnings == kitchen.found.warnings and path.is_file()
    assert not list(work.glob("*.features.db*"))


def test_never(kitchen: Kitchen, tmp_path: Path) -> None:
    config, work = replace(CONFIG, rematch="never"), kitchen.matched(tmp_path)
    found = reconstruct(kitchen.photos, config, work_dir=work)
    assert len(found.components[0].images) == 3 and len(found.unregistered) == 2
    assert not any("rematch" in w or "only by" in w for w in found.warnings)
    assert not list(tmp_path.glob("*.guided-*"))


def test_without_a_model_before_there_are_no_others(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path
) -> None:
    photos = every(photo_set(shared_data("fountain_p11") / "images", focal_px=1380.0), 0, 5)
    found = reconstruct(photos, replace(CONFIG, max_image_size=768), work_dir=tmp_path)
    assert len(found.components[0].images) == 3
    (told,) = [w for w in found.warnings if "only by" in w]
    assert told.startswith("3 photos (0000.jpg, 0005.jpg, 0010.jpg) were registered only by")
    assert "others" not in told


@pytest.mark.slow
def test_new_doubts_keep_the_result_before(
    kitchen: Kitchen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """New photos that are moved after mapping contradict their matches."""
    usual = left_out.map_attempt

    def spoilt(*args):
        tried = usual(*args)
        for model in tried.models:
            size = np.ptp([i.projection_center() for i in model.images.values()], axis=0).max()
            for image_id in {2, 3} & set(model.reg_image_ids()):
                frame = model.image(image_id).frame
                pose = frame.rig_from_world
                frame.rig_from_world = pycolmap.Rigid3d(
                    pose.rotation, pose.translation + np.array([0.0, 0.5 * size, 0.0])
                )
        return tried

    monkeypatch.setattr(left_out, "map_attempt", spoilt)
    with caplog.at_level(logging.INFO):
        found = reconstruct(kitchen.photos, CONFIG, work_dir=kitchen.matched(tmp_path))
    assert len(found.components[0].images) == 3
    assert any("Result with more photos not used" in r.getMessage() for r in caplog.records)
    assert not any("registered with the others" in w for w in found.warnings)


def test_joined_features_keep_their_rows() -> None:
    old = np.array([[10, 10, 2, 0, 0, 2], [50, 20, 3, 0, 0, 3]], np.float32)
    new = np.array([[50.4, 20, 1, 0], [30, 30, 1, 0], [30, 30, 1, 2]], np.float32)
    row, table = joined(old, new, 1.0)
    np.testing.assert_array_equal(table[:2], old)
    assert row.tolist() == [1, 2, 2] and len(table) == 3
    np.testing.assert_array_equal(table[2, :2], [30, 30])


def test_largest_features_stay_in_order() -> None:
    round_ = np.array([[0, 0, 2, 0], [1, 0, 5, 0], [2, 0, 1, 0], [3, 0, 5, 0]], np.float32)
    assert largest(round_, 3).tolist() == [0, 1, 3]
    affine = np.array([[0, 0, 4, 0, 0, 1], [0, 0, 0, -3, 3, 0], [0, 0, 1, 0, 0, 1]], np.float32)
    assert largest(affine, 2).tolist() == [0, 1]
    assert largest(affine, 1).tolist() == [1]


@pytest.mark.slow
@pytest.mark.parametrize(("start", "step", "placed"), [(3, 6, 7), (1, 6, 7), (3, 7, 6), (1, 9, 5)])
def test_more_of_the_kitchen(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, start: int, step: int, placed: int
) -> None:
    root = shared_data("indoor_rgbd_7scenes")
    photos = every(photo_set(root / "images", focal_px=520.0), start, step)
    found = reconstruct(photos, CONFIG, work_dir=tmp_path)
    assert len(found.components[0].images) >= placed
    assert errors_m(found, root).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 6])
def test_a_facade_that_repeats(
    shared_data: FindData, photo_set: BuildSet, tmp_path: Path, step: int
) -> None:
    """Two components and a photo left out before; now one, within 2 % of the cameras' extent."""
    root = shared_data("dtu_scan24")
    photos = every(photo_set(root / "images", focal_px=2890.0), 0, step)
    found = reconstruct(photos, replace(CONFIG, max_image_size=800), work_dir=tmp_path)
    component = found.components[0]
    assert len(component.images) == len(photos)
    matrices = np.load(root / "cameras_sphere.npz")
    true = []
    for image in component.images:
        p = matrices[f"world_mat_{int(Path(image.name).stem)}"][:3]
        true.append(-np.linalg.solve(p[:, :3], p[:, 3]))
    centers = component.centers_in_world()
    off = np.linalg.norm(fit_similarity(centers, np.array(true)).apply(centers) - true, axis=1)
    assert off.max() < 0.02 * np.linalg.norm(np.ptp(true, axis=0))
