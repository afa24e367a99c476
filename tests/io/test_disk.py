from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from voxterra.errors import OutputError, exit_code
from voxterra.io.files import disk
from voxterra.io.files.atomic import atomic_path


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_folder_and_what_is_free(tmp_path: Path, number: int) -> None:
    error = disk.cannot_write(refused(number), tmp_path / "mesh.npz")
    assert error.what == "The disk is full: 'mesh.npz' cannot be written."
    assert error.where is not None and error.where.startswith(f"{tmp_path} (")
    assert error.where.endswith("B free)")
    assert error.next_step is not None and "same command again" in error.next_step
    assert exit_code(error) == 20


def test_what_may_not_be_written_is_no_full_disk(tmp_path: Path) -> None:
    error = disk.cannot_write(refused(errno.EACCES), tmp_path / "a")
    assert "Permission denied" in error.what and "full" not in str(error)


def test_libraries_without_a_number_are_judged_by_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = OSError("TIFFAppendToStrip: write error")
    assert "write error" in disk.cannot_write(silent, tmp_path / "a.tif").what
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: 4096)
    assert disk.is_full(tmp_path)
    assert "The disk is full: 'a.tif'" in disk.cannot_write(silent, tmp_path / "a.tif").what
    assert "free space" not in str(disk.disk_full(tmp_path))
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: None)
    assert not disk.is_full(tmp_path)
    disk.require_space(tmp_path)  # unknown is not full


def test_space_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: 60_000_000)
    disk.require_space(tmp_path)
    with pytest.raises(OutputError, match="70 MB must stay free") as caught:
        disk.require_space(tmp_path, 70_000_000)
    assert "(60 MB free)" in str(caught.value.where)


def test_a_file_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="disk is full"), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")
        raise refused(errno.ENOSPC)
    assert not list(tmp_path.iterdir())
