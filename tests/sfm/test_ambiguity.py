"""Look-alike places: merged before, split now; and what must stay one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
import repeating_facade as facade
import two_rooms
from made_model import flight
from scipy.sparse import csr_array

from voxterra.core.photos import Gps, PhotoSet
from voxterra.core.registration import Registration
from voxterra.core.transforms import fit_similarity
from voxterra.errors import Cancelled
from voxterra.sfm.ambiguity import shared_points, split
from voxterra.sfm.ambiguity.look_alikes import LookAlikes, _far, _pairs_of_parts, _parts
from voxterra.sfm.ambiguity.patches import _best_correlation, _read_grey
from voxterra.sfm.ambiguity.shared_points import (
    AlikeViews,
    Sharing,
    _steepest,
    alike_views,
    sharing_of,
)
from voxterra.sfm.ambiguity.split import gps_says_one
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import PairCounts
from voxterra.sfm.reconstruct import reconstruct

BuildSet = Callable[..., PhotoSet]
CONFIG = SfmConfig(max_image_size=480, max_features=3000, threads=1, deterministic=True)
WALK = [8.0, 9.5, 11.0, 12.5, 14.0]
AWAY_M = 8 * facade.BAY_M


def errors_m(found: Registration, centers: dict[str, np.ndarray]) -> list[float]:
    """Largest error of a camera in each component after a similarity fit."""
    out = []
    for component in found.components:
        true = np.array([centers[image.name] for image in component.images])
        mine = component.centers_in_world()
        off = fit_similarity(mine, true).apply(mine) - true
        out.append(float(np.linalg.norm(off, axis=1).max()))
    return out


def with_gps(photos: PhotoSet, centers: dict[str, np.ndarray], away_m: float) -> PhotoSet:
    """The photos with positions, as if the second part lay so far from the first."""
    placed = []
    for photo in photos.photos:
        x = centers[photo.id][0]
        x -= (AWAY_M - away_m) if x > AWAY_M else 0
        placed.append(replace(photo, gps=Gps(15.0 + x / 65_540, 54.0, height_m=2.0)))
    return replace(photos, photos=tuple(placed))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Photos of two far parts of a facade that repeats by 65 %."""
    root = tmp_path_factory.mktemp("facade")
    xs = [*WALK, *(x + AWAY_M for x in WALK)]
    return root, facade.write_walk(root, facade.build(0.35), xs)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features and matches are found once."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def two(walk: tuple[Path, dict[str, np.ndarray]], photo_set: BuildSet, work: Path) -> Registration:
    """What becomes of them."""
    return reconstruct(photo_set(walk[0], focal_px=facade.FOCAL_PX), CONFIG, work_dir=work)


@pytest.mark.slow
def test_two_parts_that_look_alike_are_two(
    walk: tuple[Path, dict[str, np.ndarray]], two: Registration
) -> None:
    centers = walk[1]
    names = [{image.name for image in c.images} for c in two.components]
    assert sorted(map(sorted, names)) == [
        [f"{i:03d}.png" for i in range(5)], [f"{i:03d}.png" for i in range(5, 10)]
    ]  # fmt: skip
    assert max(errors_m(two, centers)) < 0.15
    (told,) = [w for w in two.warnings if "look like" in w]
    assert told.startswith("5 photos (000.png") and "--sfm.split-lookalikes never" in told


@pytest.mark.slow
def test_places_side_by_side_by_gps_stay_one(
    walk: tuple[Path, dict[str, np.ndarray]],
    photo_set: BuildSet,
    work: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, centers = walk
    photos = photo_set(root, focal_px=facade.FOCAL_PX)
    near = with_gps(photos, centers, 0.5)
    with caplog.at_level(logging.INFO):
        found = reconstruct(near, CONFIG, work_dir=work)
    assert len(found.components) == 1 and not any("look like" in w for w in found.warnings)
    assert any("show look-alike places" in r.getMessage() for r in caplog.records)


def test_places_that_cannot_be_split_are_reported(
    walk: tuple[Path, dict[str, np.ndarray]],
    photo_set: BuildSet,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = split.map_attempt

    def lost(*args):
        return replace(usual(*args), models=())

    monkeypatch.setattr(split, "map_attempt", lost)
    photos = photo_set(walk[0], focal_px=facade.FOCAL_PX)
    found = reconstruct(photos, CONFIG, work_dir=work)
    assert [len(c.images) for c in found.components] == [10]
    assert any("may be two places merged into one" in w for w in found.warnings)


@pytest.mark.slow
def test_a_stopped_split_resumes_to_the_same(
    walk: tuple[Path, dict[str, np.ndarray]],
    photo_set: BuildSet,
    work: Path,
    two: Registration,
    tmp_path: Path,
) -> None:
    root, _ = walk
    photos = photo_set(root, focal_px=facade.FOCAL_PX)
    stopped = tmp_path / "work"
    stopped.mkdir()
    (database,) = (p for p in work.glob("database-*.db") if p.name.count(".db") == 1)
    (stopped / database.name).write_bytes(database.read_bytes())

    def stop(fraction: float, message: str = "") -> None:
        if any(stopped.glob("*.apart-*.db")):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        reconstruct(photos, CONFIG, work_dir=stopped, progress=stop)
    again = reconstruct(photos, CONFIG, work_dir=stopped)
    assert again.warnings == two.warnings
    for a, b in zip(again.components, two.components, strict=True):
        np.testing.assert_array_equal(a.centers_in_world(), b.centers_in_world())


@pytest.mark.slow
def test_one_place_at_two_times_stays_one(photo_set: BuildSet, tmp_path: Path) -> None:
    """Other shadows, contrast and colours are no other place."""
    wall, root = facade.build(0.35), tmp_path / "photos"
    centers = facade.write_walk(root, wall, WALK[:4])
    later = facade.at_another_time(wall)
    centers |= facade.write_walk(root, later, [x + 0.7 for x in WALK[:4]], seed=2, first=4)
    photos = photo_set(root, focal_px=facade.FOCAL_PX)
    found = reconstruct(photos, CONFIG, work_dir=tmp_path / "work")
    assert len(found.components) == 1 and errors_m(found, centers)[0] < 0.15
    assert not any("look like" in w for w in found.warnings)


@pytest.mark.slow
def test_rooms_on_both_sides_of_a_door_stay_one(photo_set: BuildSet, tmp_path: Path) -> None:
    """Before the door a wall hides most of what is seen behind it: hidden is not another place."""
    root = tmp_path / "photos"
    walk = [(0.25 * (-1) ** i, -6.0 + i) for i in range(11)]
    centers = two_rooms.write_photos(root, walk)
    photos = photo_set(root, focal_px=two_rooms.FOCAL_PX)
    found = reconstruct(photos, replace(CONFIG, max_image_size=640), work_dir=tmp_path / "work")
    assert [len(c.images) for c in found.components] == [11]
    assert errors_m(found, centers)[0] < 0.15
    assert not any("look like" in w for w in found.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "offsets"),
    [(0.2, (0, 8)), (0.6, (0, 8)), (0.35, (0, 5, 10)), (0.35, (0, 8.175))],
    ids=["80 % alike", "40 % alike", "three places", "no whole number of bays"],
)
def test_more_facades(
    photo_set: BuildSet, tmp_path: Path, own: float, offsets: tuple[float, ...]
) -> None:
    root = tmp_path / "photos"
    xs = [x + n * facade.BAY_M for n in offsets for x in (*WALK, 15.5)]
    centers = facade.write_walk(root, facade.build(own), xs)
    photos = photo_set(root, focal_px=facade.FOCAL_PX)
    found = reconstruct(photos, SfmConfig(deterministic=True), work_dir=tmp_path / "work")
    assert [len(c.images) for c in found.components] == [6] * len(offsets)
    assert max(errors_m(found, centers)) < 0.5


@pytest.mark.slow
def test_if_never_split_they_lie_over_each_other(
    walk: tuple[Path, dict[str, np.ndarray]], photo_set: BuildSet, work: Path
) -> None:
    """Else the tests here test nothing."""
    photos = photo_set(walk[0], focal_px=facade.FOCAL_PX)
    one = reconstruct(photos, replace(CONFIG, split_lookalikes="never"), work_dir=work)
    assert len(one.components) == 1 and errors_m(one, walk[1])[0] > 5


@pytest.mark.slow
def test_where_gps_has_them_apart_they_are_two(
    walk: tuple[Path, dict[str, np.ndarray]], photo_set: BuildSet, work: Path
) -> None:
    root, centers = walk
    true = with_gps(photo_set(root, focal_px=facade.FOCAL_PX), centers, AWAY_M)
    assert len(reconstruct(true, CONFIG, work_dir=work).components) == 2


@pytest.mark.slow
def test_where_a_tenth_differs_gps_tells(photo_set: BuildSet, tmp_path: Path) -> None:
    """Without it that is too little: one part lies over the other, and nothing is told.

    (A photo may still be a bay off within its part: that is not what is looked for here.)
    """
    root = tmp_path / "photos"
    xs = [*WALK, *(x + AWAY_M for x in WALK)]
    centers = facade.write_walk(root, facade.build(0.1), xs)
    photos = photo_set(root, focal_px=facade.FOCAL_PX)
    assert len(reconstruct(photos, CONFIG, work_dir=tmp_path / "work").components) == 1
    photos = with_gps(photos, centers, AWAY_M)
    found = reconstruct(photos, CONFIG, work_dir=tmp_path / "work")
    names = sorted(sorted(image.name for image in c.images) for c in found.components)
    assert names == [[f"{i:03d}.png" for i in range(5)], [f"{i:03d}.png" for i in range(5, 10)]]


@pytest.mark.slow
def test_a_whole_walk_along_it_is_one(photo_set: BuildSet, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    centers = facade.write_walk(root, facade.build(0.35), list(np.arange(8, 56, 1.5)))
    photos = photo_set(root, focal_px=facade.FOCAL_PX)
    found = reconstruct(photos, replace(CONFIG, deterministic=False), work_dir=tmp_path / "work")
    assert [len(c.images) for c in found.components] == [32]
    assert errors_m(found, centers)[0] < 0.5


def test_gps_says_one_only_where_it_is_near() -> None:
    parts = (frozenset({1, 2, 3}), frozenset({4, 5, 6}))
    overlaid = LookAlikes(parts, np.array([[1, 4], [2, 5], [3, 6]]), 0.3)
    first = np.array([[0.0, 0, 0], [2, 0, 0], [4, 0, 0]])

    def says(step: float, sigma_m: float = 3.0) -> bool:
        places = np.concatenate([first, first + np.array([step, 0, 0])])
        return gps_says_one(overlaid, places, sigma_m)

    assert says(0.5) and says(5.9) and not says(6.5) and not says(32.0)
    assert says(3.9, 0.02) and not says(4.1, 0.02)  # twice the distance of neighbours
    assert not gps_says_one(overlaid, np.full((6, 3), np.nan), 3.0)


def test_far_by_gps_is_beyond_its_noise_and_all_that_agree() -> None:
    places = np.zeros((5, 2, 2))
    places[:, 1, 0] = [2, 6, 11, 13, np.nan]
    agree = np.array([True, True, False, False, False])
    assert _far(places, agree, 0.5).tolist() == [False, False, False, True, False]
    assert not _far(places, agree, 4.0).any()
    assert not _far(places, ~agree & False, 0.5).any()


def test_leftovers_go_to_the_part_they_match_most() -> None:
    ids = np.arange(1, 9)
    sharing = Sharing(ids, *(np.empty(0),) * 6)  # type: ignore[arg-type]
    agree = np.array([[0, 1], [1, 2], [3, 4], [4, 5]])
    pairs = np.array([[6, 0], [5, 6], [6, 7], [2, 7]])
    related = PairCounts(np.sort(pairs, axis=1), np.array([90, 200, 80, 70]))
    part = _parts(sharing, agree, related)
    assert part[6] == part[5] == part[7] != part[0] == part[2]


def test_two_places_differ_both_ways() -> None:
    """Also where the parts come in another order in some pairs."""
    sharing = Sharing(np.arange(1, 7), *(np.empty(0),) * 6)  # type: ignore[arg-type]
    part = np.array([0, 1, 0, 1, 0, 1])
    alike = AlikeViews(np.array([[0, 1], [1, 2], [2, 3], [4, 5]]), np.full(4, 0.3))
    both = np.array([[0.3, 0.2], [0.2, 0.3], [0.3, 0.2], [np.nan, np.nan]])
    near, far = np.zeros(len(both), bool), np.ones(len(both), bool)
    (found,) = _pairs_of_parts(sharing, alike, part, both, near)
    assert found.differing == pytest.approx(0.3) and len(found.pairs) == 3
    assert set(found.parts) == {frozenset({1, 3, 5}), frozenset({2, 4, 6})}
    hidden = np.array([[0.3, 0.0], [0.01, 0.4], [0.3, 0.02], [0.4, 0.0]])
    assert not _pairs_of_parts(sharing, alike, part, hidden, near)
    assert not _pairs_of_parts(sharing, alike, part, both / 3, near)
    assert _pairs_of_parts(sharing, alike, part, both / 3, far)  # GPS says so too


def test_patches_are_found_where_they_are() -> None:
    rng = np.random.default_rng(0)
    large = rng.random((50, 25, 25)).astype(np.float32)
    inside = 40 + 3 * large[:, 5:22, 2:19]  # other light
    assert _best_correlation(inside, large).min() > 0.999
    assert np.median(_best_correlation(rng.random((50, 17, 17)).astype(np.float32), large)) < 0.3


def test_what_alike_views_share() -> None:
    """Three images of 100 points in a row; the third is far, and the second has few features."""
    points = np.column_stack([np.linspace(-1, 1, 100), np.zeros(100), np.full(100, 4.0)])
    centers = np.array([[0.0, 0, 0], [0.2, 0, 0], [0, 0, -4]])
    seen = np.ones((3, 100), bool)
    seen[1, 40:] = False
    sharing = Sharing(
        np.array([1, 2, 3]), points, centers, np.tile([0, 0, 1 / 500], (3, 1)),
        csr_array(seen.astype(np.int32)), csr_array(np.ones((3, 100), np.int32)),
        np.array([500, 80, 500]),
    )  # fmt: skip
    found = alike_views(sharing)
    assert found.pairs.tolist() == [[0, 1]]  # the third sees all at half the size
    assert found.shared[0] == pytest.approx(40 / 80)
    np.testing.assert_allclose(sharing.pixel_sizes(2, np.array([0, 50])), 8 / 500)


def test_of_many_points_each_photo_keeps_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What photos share does not depend on how many photos there are beside them."""
    model = flight(10.0, points=4000)
    whole = sharing_of(model, seed=0)
    monkeypatch.setattr(shared_points, "_MOST_POINTS", 100)
    monkeypatch.setattr(shared_points, "_POINTS_OF_PHOTO", 150)
    some = sharing_of(model, seed=0)
    assert len(some.points) < 0.6 * len(whole.points)
    kept, there = np.diff(some.seen.indptr), np.diff(whole.seen.indptr)
    assert (kept >= np.minimum(there, 150)).all()
    shares = []
    for sharing in (whole, some):
        could = (sharing.seen @ sharing.framed.T).toarray()
        both = (sharing.seen @ sharing.seen.T).toarray()
        shares.append(np.where(could > 60, both / np.maximum(could, 1), np.nan))
    off = np.abs(shares[0] - shares[1])
    assert np.isfinite(off).sum() > 40 and np.nanmedian(off) < 0.1


def test_what_is_masked_is_compared_with_nothing(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((1200, 3200), 255, np.uint8))
    mask = np.full((1200, 3200), 255, np.uint8)
    mask[:, 1000:2000] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    grey = _read_grey(tmp_path / "a.png", tmp_path / "mask.png")
    assert grey.shape == (600, 1600)
    np.testing.assert_array_equal(np.flatnonzero(grey[300] < 0), np.arange(500, 1000))
    x = np.array([[499.03]], np.float32)  # blended with 3 % of what is masked
    assert cv2.remap(grey, x, np.full_like(x, 300), cv2.INTER_LINEAR)[0, 0] < 0
    assert (_read_grey(tmp_path / "a.png", None) >= 0).all()


def test_what_a_wide_lens_folds_back_is_not_in_the_frame() -> None:
    wide = pycolmap.Camera(
        model="SIMPLE_RADIAL", width=640, height=480, params=[500.0, 320.0, 240.0, -0.2]
    )
    folded = np.array([[2.0, 0.0, 1.0]])
    assert 0 < wide.img_from_cam(folded)[0, 0] < 640, "else this tests nothing"
    corner = np.linalg.norm(wide.cam_from_img(np.array([[0.0, 0.0]]))[0, :2])
    assert corner <= _steepest(wide) < 1.05 * corner < 2.0
    fisheye = pycolmap.Camera(
        model="OPENCV_FISHEYE", width=640, height=480, params=[200, 200, 320, 240, 0, 0, 0, 0]
    )
    assert _steepest(fisheye) > 5
