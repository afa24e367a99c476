"""Files that appear whole or not at all: in which order the disk gets them, and what is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from voxterra.errors import OutputError
from voxterra.io.files import atomic
from voxterra.io.files.atomic import atomic_path, remove_leftovers, sync, sync_tree, temporary_name


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        atomic.os, "fsync", lambda fd: (order.append(os.fstat(fd).st_size), fsync(fd))[1]
    )
    monkeypatch.setattr(
        atomic.os, "replace", lambda a, b: (order.append(Path(b).name), replace(a, b))[1]
    )
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("content")
    assert order == [len("content"), "a.txt"]


def test_a_disk_that_fails_late_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)  # as on NFS, where only this tells
    with (
        pytest.raises(OutputError, match="The disk is full") as caught,
        atomic_path(path) as temporary,
    ):
        temporary.write_text("new")
    assert "Make space" in caught.value.next_step
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_file_system_without_fsync_is_no_error(tmp_path, monkeypatch):
    def unknown(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(atomic.os, "fsync", unknown)
    (tmp_path / "a").write_text("x")
    sync(tmp_path / "a")
    sync(tmp_path)


def test_sync_tree_takes_all_but_links(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c.txt").write_text("x")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    seen = []
    monkeypatch.setattr(atomic, "sync", lambda p: seen.append(p.name))
    sync_tree(tmp_path)
    assert sorted(seen) == sorted(["b", "c.txt", tmp_path.name])


def test_only_temporary_files_are_leftovers(tmp_path):
    (tmp_path / "deep").mkdir()
    left = [temporary_name(tmp_path / "x.npz"), temporary_name(tmp_path / "deep/y.tar.gz")]
    for path in (*left, tmp_path / ".hidden", tmp_path / "a.tmp", tmp_path / ".x.tmp.txt"):
        path.write_text("x")
    temporary_name(tmp_path / "model").mkdir()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", ".x.tmp.txt", "a.tmp", "deep"]
    assert len(os.listdir(tmp_path / "deep")) == 1
    remove_leftovers(tmp_path, below=True)
    assert os.listdir(tmp_path / "deep") == []
