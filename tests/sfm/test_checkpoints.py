"""Finished models and snapshots of a stopped mapping, and what the next one does with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from synthetic_model import centers, synthetic

from voxterra.adjust import colmap_calls
from voxterra.adjust.colmap_calls import quiet_colmap
from voxterra.core.progress import no_progress
from voxterra.errors import Cancelled, OutputError
from voxterra.sfm.config import SfmConfig
from voxterra.sfm.features.database import is_damaged
from voxterra.sfm.mapping import checkpoints, mappers
from voxterra.sfm.mapping.mappers import map_photos

CONFIG = SfmConfig(threads=2)
PHOTOS = 16


def mapped(path: Path, config: SfmConfig = CONFIG, progress=no_progress, **more):
    with quiet_colmap():
        return map_photos(
            path, path.parent, PHOTOS, config, use_position_priors=False, progress=progress, **more
        )


def stop_at(photos: int):
    def report(fraction: float, message: str = "") -> None:
        if fraction * PHOTOS >= photos:
            raise Cancelled("stopped")

    return report


@pytest.fixture
def count_mappings(monkeypatch) -> list[str]:
    """The model that each call of COLMAP's mapper started from, "" for none."""
    calls: list[str] = []
    usual = pycolmap.incremental_mapping

    def counted(*args, **options):
        calls.append(str(options["input_path"]))
        return usual(*args, **options)

    monkeypatch.setattr(mappers.pycolmap, "incremental_mapping", counted)
    return calls


def test_a_finished_mapping_is_not_done_again_and_is_the_same_to_the_bit(tmp_path, count_mappings):
    synthetic(tmp_path / "a.db", PHOTOS)
    first, second = mapped(tmp_path / "a.db"), mapped(tmp_path / "a.db")
    assert count_mappings == [""]
    assert centers(first[0]).keys() == centers(second[0]).keys()
    for i, center in centers(first[0]).items():
        assert np.array_equal(center, centers(second[0])[i])
    mapped(tmp_path / "a.db", priors=("other positions",))
    mapped(tmp_path / "a.db", SfmConfig(threads=2, random_seed=5))
    assert count_mappings == ["", "", ""]


def test_a_stopped_mapping_resumes_from_its_snapshot(tmp_path, monkeypatch, count_mappings):
    monkeypatch.setattr(mappers, "SNAPSHOT_PHOTOS", 3)
    usual = colmap_calls.run_cancellable

    def looks_often(work, report, **options):
        return usual(work, report, **{**options, "poll_s": 0.001})

    monkeypatch.setattr(mappers, "run_cancellable", looks_often)
    truth = synthetic(tmp_path / "a.db", PHOTOS)
    shutil.copy(tmp_path / "a.db", tmp_path / "whole.db")
    with pytest.raises(Cancelled):
        mapped(tmp_path / "a.db", progress=stop_at(9))
    growing = next(tmp_path.glob("models-*.growing"))
    newest = sorted(growing.iterdir())[-1]
    (newest / "points3D.bin").write_bytes((newest / "points3D.bin").read_bytes()[:-7])
    before = sorted(growing.iterdir())[-2] if len(list(growing.iterdir())) > 1 else None
    result = mapped(tmp_path / "a.db")
    assert count_mappings[1] == ("" if before is None else str(before))  # never the broken one
    assert before is not None
    assert len(centers(result[0])) == PHOTOS == truth.num_reg_images()
    whole = mapped(tmp_path / "whole.db")
    assert result[0].compute_mean_reprojection_error() == pytest.approx(
        whole[0].compute_mean_reprojection_error(), rel=0.01
    )
    assert not list(tmp_path.glob("models-*.growing"))


def test_a_deterministic_mapping_starts_over(tmp_path, monkeypatch, count_mappings):
    monkeypatch.setattr(mappers, "SNAPSHOT_PHOTOS", 3)
    synthetic(tmp_path / "a.db", PHOTOS)
    mapped(tmp_path / "a.db", SfmConfig(deterministic=True))
    assert not list(tmp_path.glob("*.growing")) and count_mappings == [""]


def test_a_model_cut_short_by_the_disk_is_reported(tmp_path, monkeypatch):
    synthetic(tmp_path / "a.db", PHOTOS)
    models = mapped(tmp_path / "a.db")

    class Cut:
        """A model whose file ends early, as COLMAP leaves it on a full disk."""

        def write(self, folder: str) -> None:
            models[0].write(folder)
            path = Path(folder) / "points3D.bin"
            path.write_bytes(path.read_bytes()[:-100])

        def num_points3D(self) -> int:
            return models[0].num_points3D()

    with pytest.raises(OutputError, match="not what was written"):
        checkpoints.write_finished([Cut()], tmp_path / "models-x")
    assert not (tmp_path / "models-x").exists()


def test_damaged_databases_are_recognised(tmp_path):
    synthetic(tmp_path / "a.db", 4)
    assert not is_damaged(tmp_path / "a.db")
    content = (tmp_path / "a.db").read_bytes()
    for name, damaged in (
        ("empty", b""),
        ("cut", content[: len(content) // 2]),
        ("garbled", content[:4096] + bytes(255 - b for b in content[4096:])),
        ("other", b"something else" * 500),
    ):
        (tmp_path / name).write_bytes(damaged)
        assert is_damaged(tmp_path / name), name
