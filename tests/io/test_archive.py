from __future__ import annotations

import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxterra.errors import Cancelled, FormatError, InputError
from voxterra.io.archive import LeftOut, extract_zip

SUFFIXES = frozenset({".jpg", ".csv"})


def pack(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as out:
        for name, content in entries.items():
            out.writestr(name, content)
    return path


def unpack(archive: Path, folder: Path, max_bytes: int = 10**9) -> LeftOut:
    return extract_zip(archive, folder, SUFFIXES, max_bytes=max_bytes)


def everything(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_wanted_files_are_unpacked_with_their_folders(tmp_path: Path) -> None:
    entries = {"a b/é'\".jpg": b"1", "meta.csv": b"2", "run.sh": b"3", "sub/写真.JPG": b"4"}
    archive = pack(tmp_path / "a.zip", entries)
    assert unpack(archive, tmp_path / "out") == LeftOut(others=("run.sh",))
    assert everything(tmp_path / "out") == {k: v for k, v in entries.items() if k != "run.sh"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "a/../../evil.jpg",
        "/etc/evil.jpg",
        "..\\evil.jpg",
        "C:\\evil.jpg",
        "C:evil.jpg",
    ],
)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "a.zip", {"good.jpg": b"x", name: b"y"})
    with pytest.raises(FormatError, match="outside the folder"):
        unpack(archive, tmp_path / "deep" / "out")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.zip"]


def test_symbolic_links_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("good.jpg", b"x")
        info = zipfile.ZipInfo("link.jpg")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    assert unpack(tmp_path / "a.zip", tmp_path / "out") == LeftOut(links=("link.jpg",))
    assert everything(tmp_path / "out") == {"good.jpg": b"x"}


def test_bomb_by_ratio_and_by_size(tmp_path: Path) -> None:
    bomb = pack(tmp_path / "bomb.zip", {f"{i}.jpg": bytes(70_000_000) for i in range(3)})
    with pytest.raises(FormatError, match="no photos") as caught:
        unpack(bomb, tmp_path / "out")
    assert "Do not unpack" in (caught.value.next_step or "")
    with pytest.raises(FormatError, match=r"more than 0\.1 GB") as caught:
        unpack(bomb, tmp_path / "out", max_bytes=100_000_000)
    assert "--ingest.max-unpacked-gb" in (caught.value.next_step or "")
    assert not (tmp_path / "out").exists()


def test_stated_sizes_are_not_trusted(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": bytes(5_000_000)})
    data = archive.read_bytes()
    lie = data.replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != data
    archive.write_bytes(lie)
    with pytest.raises(FormatError):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": b"1", "A.JPG": b"2"})
    with pytest.raises(FormatError, match="two entries"):
        unpack(archive, tmp_path / "out")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": b"1", "a.jpg/b.jpg": b"2"})
    with pytest.raises(FormatError, match="both a file and a folder"):
        unpack(archive, tmp_path / "out")


def test_not_a_zip_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip at all")
    with pytest.raises(FormatError, match="no zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(InputError):
        unpack(tmp_path / "absent.zip", tmp_path / "out")


def test_encrypted(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": b"12345"}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # flag of the local header
    data[data.find(b"PK\x01\x02") + 8] |= 1  # and of the directory
    archive.write_bytes(bytes(data))
    with pytest.raises(FormatError, match="encrypted"):
        unpack(archive, tmp_path / "out")


def test_an_earlier_folder_is_replaced_whole(tmp_path: Path) -> None:
    unpack(pack(tmp_path / "a.zip", {"old.jpg": b"1"}), tmp_path / "out")
    unpack(pack(tmp_path / "b.zip", {"new.jpg": b"2"}), tmp_path / "out")
    assert everything(tmp_path / "out") == {"new.jpg": b"2"}


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    def stop(fraction: float, message: str = "") -> None:
        raise Cancelled("stopped")

    archive = pack(tmp_path / "a.zip", {"a.jpg": b"1"})
    with pytest.raises(Cancelled):
        extract_zip(archive, tmp_path / "out", SUFFIXES, max_bytes=100, progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 60),
)
def test_mutated_archives_unpack_or_give_a_format_error(
    tmp_path: Path, edits: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(
        pack(tmp_path / "m.zip", {"a/b.jpg": b"x" * 300, "meta.csv": b"y" * 50}).read_bytes()
    )
    for position, value in edits:
        data[position % len(data)] = value
    (tmp_path / "m.zip").write_bytes(bytes(data[: len(data) - cut // 10]))
    with suppress(FormatError):
        unpack(tmp_path / "m.zip", tmp_path / "out", max_bytes=10_000)
    inside = {p.name for p in tmp_path.iterdir()}
    assert inside <= {"m.zip", "out"}
