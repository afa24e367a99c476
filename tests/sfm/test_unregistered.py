"""Why photos are not registered, from databases made by hand and from real photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_database import database_of
from PIL import Image as PillowImage

from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.core.registration import UnregisteredPhoto
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.reconstruct import reconstruct
from voxterra.sfm.unregistered import explain_unregistered

MakePhoto = Callable[..., Photo]
NO_POINTS = SparsePoints(
    np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), np.zeros(1, np.int64),
    np.zeros(0, np.int32), np.zeros((0, 2)),
)  # fmt: skip


def explain(
    tmp_path: Path,
    photo: MakePhoto,
    features: list[int],
    pairs: dict[tuple[int, int], tuple[int, int]],
    placed: list[int],
) -> dict[str, UnregisteredPhoto]:
    photos = tuple(photo(i) for i in range(len(features)))
    images = tuple(Image(photos[i].id, 1, np.eye(3, 4)) for i in placed)
    component = Reconstruction({}, images, NO_POINTS)
    database = database_of(tmp_path / "d.db", features, pairs)
    found = explain_unregistered(photos, [component] if placed else [], database)
    assert [p.name for p in found] == sorted(p.name for p in found)
    return {p.name.removesuffix(".jpg").lstrip("0") or "0": p for p in found}


def test_each_reason(tmp_path: Path, photo: MakePhoto) -> None:
    pairs = {
        (0, 1): (400, 300),
        (1, 2): (350, 250),
        (2, 4): (19, 0),  # by chance
        (2, 5): (80, 0),  # alike, but no common view
        (1, 5): (40, 11),
        (6, 7): (200, 120),  # two of their own
        (2, 8): (90, 33),  # tied to the model, but weakly
        (7, 8): (300, 200),
    }
    found = explain(tmp_path, photo, [900, 900, 900, 12, 900, 900, 900, 900, 900], pairs, [0, 1, 2])
    assert {name: p.kind for name, p in found.items()} == {
        "3": "few_features", "4": "no_matches", "5": "few_inliers", "6": "small_group",
        "7": "small_group", "8": "weak_ties",
    }  # fmt: skip
    assert "12 features" in found["3"].reason
    assert "19 features" in found["4"].reason and "0002.jpg" in found["4"].reason
    assert "0 of 80" in found["5"].reason and "0002.jpg" in found["5"].reason
    assert "0007.jpg" in found["6"].reason
    assert "0002.jpg (33 matches)" in found["8"].reason  # not 0007, which has more but no place
    assert all(p.advice.endswith(".") and len(p.advice) > 40 for p in found.values())


def test_a_photo_that_matches_nothing_at_all(tmp_path: Path, photo: MakePhoto) -> None:
    found = explain(tmp_path, photo, [900, 900, 500], {(0, 1): (400, 300)}, [0, 1])
    assert found["2"].kind == "no_matches" and "500 features" in found["2"].reason


def test_no_reason_where_all_are_registered(tmp_path: Path, photo: MakePhoto) -> None:
    assert explain(tmp_path, photo, [900, 900], {(0, 1): (400, 300)}, [0, 1]) == {}


def test_a_blank_and_a_foreign_photo(tmp_path: Path, photo_set: Callable[..., PhotoSet]) -> None:
    demo = photo_set(Path(__file__).resolve().parents[2] / "demo" / "photos")
    folder = tmp_path / "more"
    folder.mkdir()
    noise = (
        np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8).repeat(10, 0).repeat(10, 1)
    )
    PillowImage.fromarray(np.full((600, 800), 128, np.uint8)).convert("RGB").save(folder / "x.jpg")
    PillowImage.fromarray(noise).convert("RGB").save(folder / "y.jpg")
    more = photo_set(folder, camera_key="other")
    photos = replace(demo, photos=(*demo.photos[6:9], *more.photos))
    config = SfmConfig(max_image_size=800, max_features=2000, threads=2)
    found = reconstruct(photos, config, work_dir=tmp_path / "w")
    assert [(p.name, p.kind) for p in found.unregistered] == [
        ("x.jpg", "few_features"), ("y.jpg", "no_matches"),
    ]  # fmt: skip
    (component,) = found.components
    assert len(component.images) == 3


@pytest.mark.parametrize("missing", [True, False])
def test_written_and_read(tmp_path: Path, missing: bool) -> None:
    from voxterra.core.registration import Registration
    from voxterra.errors import FormatError
    from voxterra.io.registration import read_registration, write_registration

    path = tmp_path / "registration.json"
    why = UnregisteredPhoto("ä b.jpg", "no_matches", "it shows nothing", "Go back.")
    write_registration(Registration((), (why,), ("a warning",)), path)
    assert read_registration(path, ()) == Registration((), (why,), ("a warning",))
    path.unlink() if missing else path.write_text('{"format": "x"}')
    with pytest.raises(FormatError, match="registration"):
        read_registration(path, ())
