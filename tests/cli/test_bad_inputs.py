"""The table of bad inputs in docs/errors.md, row by row, as a user meets them.

Each ends with its exit code or as documented, says one thing with a next step, shows no traceback
and leaves nothing half-written. The long rows, on real photos to the last product, are marked slow.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from good_inputs import META_CSV, photo_bytes
from PIL import Image
from run_folders import half_written
from wording import Wording

from voxterra.cli.main import main

REPO = Path(__file__).resolve().parents[2]


def photos(folder: Path, *names: str) -> Path:
    """Photos of things that have nothing in common, with names such as a.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        (folder / name).write_bytes(photo_bytes(30 + index, size=(480, 360)))
    return folder


def packed(path: Path, entries: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def empty(at: Path) -> list[object]:
    (at / "photos").mkdir()
    return [at / "photos"]


def nowhere(at: Path) -> list[object]:
    photos(at / "photos", "a.jpg", "b.jpg")
    return [at / "phtos"]


def one(at: Path) -> list[object]:
    return [photos(at / "photos", "a.jpg")]


def no_overlap(at: Path) -> list[object]:
    return [photos(at / "photos", "a.jpg", "b.jpg")]


def copies(at: Path) -> list[object]:
    folder = photos(at / "photos", "a.jpg")
    for name in ("b.jpg", "c.jpg", "d.jpg", "e.jpg"):
        shutil.copy(folder / "a.jpg", folder / name)
    return [folder]


def saved_again(at: Path) -> list[object]:
    folder = photos(at / "photos", "a.jpg")
    with Image.open(folder / "a.jpg") as image:
        image.save(folder / "b.jpg", quality=91)
    return [folder]


def bad_files_only(at: Path) -> list[object]:
    folder = photos(at / "photos", "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:900])
    (folder / "text.jpg").write_text("hello")
    (folder / "zero.jpg").write_bytes(b"")
    return [folder]


def a_pipe(at: Path) -> list[object]:
    os.mkfifo(at / "pipe.jpg")
    return [at / "pipe.jpg"]


def a_dangling_link(at: Path) -> list[object]:
    (at / "card").symlink_to(at / "gone")
    return [at / "card"]


def no_zip(at: Path) -> list[object]:
    (at / "photos.zip").write_text("hello")
    return [at / "photos.zip"]


def cut_zip(at: Path) -> list[object]:
    archive = packed(at / "photos.zip", {"a.jpg": photo_bytes()})
    archive.write_bytes(archive.read_bytes()[:-60])
    return [archive]


def bomb(at: Path) -> list[object]:
    return [packed(at / "photos.zip", {f"{i}.jpg": bytes(80_000_000) for i in range(3)})]


def leaves_the_folder(at: Path) -> list[object]:
    return [packed(at / "photos.zip", {"a.jpg": photo_bytes(), "../../evil.jpg": b"x"})]


def absolute_path(at: Path) -> list[object]:
    return [packed(at / "photos.zip", {"/tmp/evil.jpg": photo_bytes()})]


def same_names(at: Path) -> list[object]:
    return [packed(at / "photos.zip", {"a.jpg": photo_bytes(), "A.JPG": photo_bytes(1)})]


def zip_in_a_zip(at: Path) -> list[object]:
    inner = packed(at / "inner.zip", {"a.jpg": photo_bytes()})
    return [packed(at / "photos.zip", {"inner.zip": inner.read_bytes()})]


def raw_in_a_zip(at: Path) -> list[object]:
    return [packed(at / "photos.zip", {"a.dng": b"x"})]


def out_in_photos(at: Path) -> list[object]:
    folder = photos(at / "photos", "a.jpg", "b.jpg")
    return [folder, "--out", folder / "run"]


def a_run_for_photos(at: Path) -> list[object]:
    folder = photos(at / "site", "texture.jpg", "ortho.tif")
    (folder / "voxterra.json").write_text("{}")
    return [folder]


def out_under_a_file(at: Path) -> list[object]:
    (at / "file").write_text("")
    return [photos(at / "photos", "a.jpg", "b.jpg"), "--out", at / "file" / "run"]


def out_in_use_by_others(at: Path) -> list[object]:
    (at / "home").mkdir()
    (at / "home/letter.txt").write_text("dear")
    return [photos(at / "photos", "a.jpg", "b.jpg"), "--out", at / "home"]


def with_table(text: str) -> Callable[[Path], list[object]]:
    def make(at: Path) -> list[object]:
        folder = photos(at / "photos", "a.jpg", "b.jpg")
        (folder / "meta.csv").write_text(text)
        return [folder]

    return make


def with_option(*options: str) -> Callable[[Path], list[object]]:
    return lambda at: [photos(at / "photos", "a.jpg", "b.jpg"), *options]


def with_file(option: str, name: str, content: bytes | None) -> Callable[[Path], list[object]]:
    def make(at: Path) -> list[object]:
        if content is not None:
            (at / name).write_bytes(content)
        return [photos(at / "photos", "a.jpg", "b.jpg"), option, at / name]

    return make


ROWS: dict[str, tuple[Callable[[Path], list[object]], int]] = {
    "no photos": (empty, 4),
    "no such folder": (nowhere, 4),
    "one photo": (one, 5),
    "no overlap": (no_overlap, 11),
    "all identical": (copies, 5),
    "one photo saved twice": (saved_again, 11),
    "nothing but bad files": (bad_files_only, 4),
    "a pipe": (a_pipe, 4),
    "a link that leads nowhere": (a_dangling_link, 4),
    "no zip": (no_zip, 6),
    "cut-off zip": (cut_zip, 6),
    "zip bomb": (bomb, 6),
    "zip that leaves the folder": (leaves_the_folder, 6),
    "zip with an absolute path": (absolute_path, 6),
    "zip with one name twice": (same_names, 6),
    "zip in a zip": (zip_in_a_zip, 4),
    "RAW in a zip": (raw_in_a_zip, 4),
    "--out inside the photos": (out_in_photos, 2),
    "a run folder for photos": (a_run_for_photos, 2),
    "--out under a file": (out_under_a_file, 20),
    "--out that holds something else": (out_in_use_by_others, 2),
    "table: latitude of 95": (with_table("filename,lat,lon\na.jpg,95,13\n"), 6),
    "table: half a position": (with_table("filename,lat\na.jpg,52\n"), 6),
    "table: no filename": (with_table("photo_x,lat\na.jpg,52\n"), 6),
    "CRS: unknown": (with_option("--crs", "EPSG:99999"), 12),
    "CRS: degrees": (with_option("--crs", "EPSG:4326"), 12),
    "unknown option": (with_option("--depth.max-sise", "8"), 2),
    "option out of range": (with_option("--depth.levels", "0"), 2),
    "config: unknown key": (
        with_file("--config", "my.yaml", b"report: {titel: x}"), 2),
    "config: not there": (with_file("--config", "my.yaml", None), 3),
    "config: no YAML": (with_file("--config", "my.yaml", b"depth: [1"), 6),
    "config: nested": (with_file("--config", "my.yaml", b"[" * 9000), 6),
    "config: binary": (with_file("--config", "my.yaml", b"\xff\xfe\x00"), 6),
    "area: not there": (with_file("--aoi", "a.geojson", None), 3),
    "area: no polygon": (with_file("--aoi", "a.geojson", b'{"type": "Point"}'), 6),
    "area: nested": (with_file("--aoi", "a.geojson", b"[" * 99999), 6),
    "scale bar: not there": (with_file("--scale-bar", "b.csv", None), 3),
    "scale bar: a huge cell": (with_file("--scale-bar", "b.csv", b"x" * 200_000), 6),
    "cameras: not there": (with_file("--cameras", "c.bin", None), 6),
    "cameras: 10^12 of them": (
        with_file("--cameras", "c.bin", (10**12).to_bytes(8, "little")), 6),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_bad_input_ends_in_one_message(
    row: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], wording: Wording
) -> None:
    make, code = ROWS[row]
    if row == "a pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with a name on this system")
    args = make(tmp_path)
    if "--out" not in args:
        args += ["--out", tmp_path / "out"]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    done = told("run", *args, "--preset", "preview", capfd=capfd)
    assert done.code == code, done.err
    wording(f"bad input: {row}", done.err)
    assert len(re.findall(r"^error", done.err, re.MULTILINE)) == 1
    assert len(re.findall(r"^  next:  \S.*$", done.err, re.MULTILINE)) == 1
    assert not half_written(tmp_path / "out")
    if code in (2, 12):  # seen before anything is computed
        assert not (tmp_path / "out").exists()
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(tmp_path / "out") for path in new)


@dataclass(frozen=True)
class Told:
    code: int
    out: str
    err: str


def told(*args: object, capfd: pytest.CaptureFixture[str]) -> Told:
    """The program, in this process."""
    capfd.readouterr()
    try:
        code = main([str(arg) for arg in args])
    except SystemExit as leaving:  # tyro's own
        code = int(leaving.code or 0)
    done = Told(code, *capfd.readouterr())
    assert "Traceback" not in done.out + done.err
    assert "Internal error" not in done.out + done.err
    return done


ODD = (
    "Привет мир.jpg",
    "صورة 'a'.jpg",
    '写真 "b".jpg',
    "[bold]x[-]$HOME;`ls` {0} %s.jpg",
    "-v.jpg",
)


COPY = "鏡 copy.jpg"  # sorts behind all others: of equal files the first is kept


def bad_files_among(folder: Path, good: Path) -> dict[str, str]:
    """Put one file of every bad or unusual kind beside good photos; why those left out are."""
    content = good.read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("I am no photo\n")
    shutil.copy(good, folder / COPY)
    (folder / "video.mp4").write_bytes(b"x")
    left_out = {
        "cut.jpg": "truncated",
        "zero.jpg": "not a JPEG",
        "text.jpg": "not a JPEG",
        COPY: "the same file as",
        "video.mp4": "export frames",
    }
    if sys.platform != "win32":
        (folder / "dangling.jpg").symlink_to("/nowhere/x.jpg")
        (folder / "loop").symlink_to(folder, target_is_directory=True)
        os.mkfifo(folder / "pipe.jpg")
        left_out |= {"dangling.jpg": "leads nowhere", "pipe.jpg": "a pipe or a device"}
    with Image.open(good) as image:
        rgb = image.convert("RGB")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    gray = np.asarray(rgb.convert("L")).astype(np.uint16) * 257
    Image.fromarray(gray).save(folder / "sixteen.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.rotate(2).save(folder / "rotated.jpg", exif=exif)
    Image.new("RGB", (1, 1)).save(folder / "one pixel.png")
    rgb.resize((20_000, 400)).save(folder / "wide.jpg")
    return left_out


KEPT = ("cmyk.jpg", "sixteen.tif", "rotated.jpg", "one pixel.png", "wide.jpg")


def test_bad_files_among_good_ones_are_left_out_by_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "sur 'le' \"toit\" [x]", *ODD)
    left_out = bad_files_among(folder, folder / ODD[0])
    done = told("inspect", folder, capfd=capfd)
    assert done.code == 0 and done.err == ""
    for name, reason in left_out.items():
        line = next(line for line in done.out.splitlines() if f"left out: {name}" in line)
        assert reason in line
    shown = re.sub(r"\s+", " ", done.out)
    for name in (*KEPT, *ODD[1:]):
        assert re.sub(r"\s+", " ", name) in shown, done.out
    assert "20000x400" in done.out and "1x1" in done.out and "turned by 90°" in shown
    done = told("run", folder, "--out", tmp_path / "ü n", "--until", "ingest", capfd=capfd)
    assert done.code == 0 and f"{len(left_out)} files left out" in done.out
    assert not half_written(tmp_path / "ü n")


def test_a_link_in_a_zip_is_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    archive = packed(tmp_path / "p.zip", {"a.jpg": photo_bytes(), link: b"/etc/passwd"})
    done = told("inspect", archive, capfd=capfd)
    assert done.code == 0 and "left out: link.jpg: a symbolic link" in done.out


def test_positions_that_contradict_each_other_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "photos", "a.jpg", "b.jpg", "c, d.jpg", "e.jpg")
    (folder / "meta.csv").write_text(META_CSV + "e.jpg,47.9,-90.9,198.0,,,,\n")
    done = told("run", folder, "--out", tmp_path / "o", "--until", "ingest", capfd=capfd)
    assert done.code == 0
    assert re.search(r"warning \(ingest\): .*e\.jpg \(its GPS position is 14\d km", done.out)


def test_what_may_not_be_read_or_written(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    (folder / "c.jpg").chmod(0)
    (folder / "locked").mkdir(mode=0)
    done = as_anybody("run", folder, "--out", tmp_path / "o", "--until", "ingest")
    assert done.code == 0 and "c.jpg (The file cannot be read: Permission denied)" in done.out
    assert "locked (a folder that cannot be listed" in done.out
    (folder / "locked").rmdir()
    (tmp_path / "full").mkdir(mode=0o555)
    done = as_anybody("run", folder, "--out", tmp_path / "full" / "o")
    assert done.code == 20 and "Permission denied" in done.err and "that you may write" in done.err


def as_anybody(*args: object) -> Told:
    """The program in a process that heeds permissions, as root's do not."""
    command = [sys.executable, "-m", "voxterra", *map(str, args)]
    if os.name != "posix":
        pytest.skip("permissions are tested on POSIX systems")
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv to give that up")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stdout + done.stderr
    return Told(done.returncode, done.stdout, done.stderr)


def test_a_failed_run_tells_its_warnings_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "photos", "a.jpg", "b.jpg")
    (folder / "text.jpg").write_text("hello")
    out = tmp_path / "o"
    done = told("run", folder, "--out", out, "--preset", "preview", capfd=capfd)
    assert done.code == 11 and "text.jpg (The image cannot be read" in done.out


def run_on_a_small_disk(photos: Path, disk: Path, size: str, script: str) -> str:
    """Run a shell script that may `run` on a file system of its own, $DISK.

    Returns what it printed. Skips where nobody may mount one.
    """
    unshare = shutil.which("unshare")
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={size} tmpfs '{disk}'"
    command = [unshare or "unshare", "-rm", "sh", "-c"]
    if unshare is None or subprocess.run([*command, mount], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small file system (unshare -rm)")
    program = """
    run() {
        "$PYTHON" -m voxterra run "$PHOTOS" --out "$DISK/run" --preset preview "$@"
    }
    """
    paths = {"DISK": str(disk), "PHOTOS": str(photos), "PYTHON": sys.executable}
    environment = os.environ | paths | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [*command, f"{mount}\n{program}\n{script}"],
        capture_output=True,
        text=True,
        env=environment,
    )
    return done.stdout + done.stderr


def demo_photos(folder: Path, count: int, px: int) -> Path:
    """Reduced photos of the demo, with their EXIF."""
    folder.mkdir()
    for path in sorted((REPO / "demo" / "photos").iterdir())[:count]:
        with Image.open(path) as image:
            exif = image.info.get("exif", b"")
            image.thumbnail((px, px))
            image.save(folder / path.name, exif=exif, quality=90)
    return folder


def test_a_full_disk(tmp_path: Path) -> None:
    folder = demo_photos(tmp_path / "photos", 3, 480)
    said = run_on_a_small_disk(
        folder,
        tmp_path / "disk",
        "15m",
        """
        run; echo "first: $?"
        run --force; echo "second: $?"
        mount -o remount,size=90m $DISK
        run --force --until sfm; echo "third: $?"
        dd if=/dev/zero of=$DISK/fill bs=1k 2>/dev/null
        run --force --until georef; echo "fourth: $?"
        rm $DISK/fill
        run --force --until georef; echo "fifth: $?"
        """,
    )
    codes = re.findall(r"^(\w+): (\d+)$", said, re.MULTILINE)
    steps = ("first", "second", "third", "fourth", "fifth")
    assert codes == list(zip(steps, ("20", "20", "0", "20", "0"))), said
    assert "Traceback" not in said
    assert "The run folder would grow by about" in said
    assert "The disk is nearly full: 50 MB must stay free" in said
    assert re.search(r"The disk is full.*\n  where: .*/disk/run.* \(0 kB free\)", said), said
    assert said.count("  next:  Make space") == 3


@pytest.mark.slow
def test_a_whole_run_goes_on_without_the_bad_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = demo_photos(tmp_path / "Über 'das' [Dach]", 4, 800)
    for path, name in zip(sorted(folder.iterdir()), ODD):
        path.rename(folder / name)
    left_out = bad_files_among(folder, folder / ODD[1])
    out = tmp_path / "ру н"
    done = told("run", folder, "--out", out, "--preset", "preview", capfd=capfd)
    assert done.code == 0, done.err
    assert f"{len(left_out)} files left out" in done.out and "scene.glb" in done.out
    assert "one pixel.png (it shows too little detail" in done.out
    assert not half_written(out)
    far = told(
        "run", folder, "--out", out, "--preset", "preview", "--crs", "EPSG:2056", capfd=capfd
    )
    assert far.code == 12 and "is made for" in far.err and "Leave --crs out" in far.err


@pytest.mark.slow
def test_products_are_whole_or_not_there_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    folder = demo_photos(tmp_path / "photos", 3, 480)
    said = run_on_a_small_disk(
        folder,
        tmp_path / "disk",
        "120m",
        """
        run --force --until mesh >/dev/null; echo "mesh: $?"
        for left in 16 40 64 96 128 160 200 260 320 400 500 700 1000 2000; do
            free=$(df --output=avail -B1024 $DISK | tail -1)
            dd if=/dev/zero of=$DISK/fill bs=1k count=$((free - left)) 2>/dev/null
            run --force --until products --products.only dsm,ortho >/dev/null
            echo "left $left: $?"
            rm $DISK/fill
            for file in dsm ortho; do
                test -e $DISK/run/products/$file.tif || continue
                "$PYTHON" - <<END
import rasterio
with rasterio.open("$DISK/run/products/$file.tif") as raster:
    print("read", raster.read().shape)
END
            done
            rm -rf $DISK/run/products $DISK/run/stages/*products*
        done
        """,
    )
    codes = re.findall(r"^left (\d+): (\d+)$", said, re.MULTILINE)
    assert len(codes) == 14 and {code for _, code in codes} == {"0", "20"}, said
    assert codes == sorted(codes, key=lambda c: (c[1] != "20", int(c[0]))), said
    assert "Traceback" not in said and said.count("read (") == 2 * sum(c == "0" for _, c in codes)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("verb", ["inspect", "run"])
def test_output_that_goes_to_a_full_disk(verb: str, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a.jpg", "b.jpg")
    options = ["--out", tmp_path / "o", "--until", "ingest"] if verb == "run" else []
    command = [sys.executable, "-m", "voxterra", verb, folder, *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    assert done.returncode == 20, done.stderr
    assert done.stderr.startswith("error: What Voxterra prints cannot be written: No space left")
    assert len(done.stderr.splitlines()) == 3 and not half_written(tmp_path / "o")


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a POSIX shell does")
def test_a_program_started_without_stdout_works_all_the_same(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a.jpg", "b.jpg")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = '"$0" -m voxterra run "$1" --out "$2" --until ingest >&- 2>&-'
    command = ["sh", "-c", script, sys.executable, folder, tmp_path / "o"]
    assert subprocess.run(command, env=environment).returncode == 0
    assert (tmp_path / "o/stages/ingest/photos.json").is_file()
