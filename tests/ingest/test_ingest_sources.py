from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxterra.core.photos import PhotoSet
from voxterra.errors import FormatError, InputError, NoPhotosError, UsageError
from voxterra.ingest.config import IngestConfig
from voxterra.ingest.ingest import ingest_photos
from voxterra.ingest.sources import files_read


def ids(photos: PhotoSet) -> list[str]:
    return [photo.id for photo in photos.photos]


def zip_folder(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def test_folder_with_subfolders_and_names_in_any_script(make_photo, tmp_path: Path) -> None:
    names = ["b.jpg", 'a b/it\'s "q".jpg', "写真/Ünï.png", "x/y/z.tif", "100%.JPG"]
    for name in names:
        make_photo(f"in/{name}")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path / "work")
    assert ids(photos) == sorted(names)
    assert photos.root == tmp_path / "in"
    assert all(photo.path == photos.root / photo.id for photo in photos.photos)
    assert not (tmp_path / "work").exists()


def test_hidden_and_foreign_files_are_not_photos(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg")
    make_photo("in/.thumbs/b.jpg")
    make_photo("in/__MACOSX/c.jpg")
    make_photo("in/.d.jpg")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    (tmp_path / "in" / "raw.DNG").write_bytes(b"raw")
    (tmp_path / "in" / "clip.mp4").write_bytes(b"video")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert ids(photos) == ["a.jpg"]
    reasons = {file.name: file.reason for file in photos.rejected}
    assert sorted(reasons) == ["clip.mp4", "raw.DNG"]
    assert "RAW" in reasons["raw.DNG"] and "video" in reasons["clip.mp4"]


def test_images_folder_with_table_and_masks_beside_it(make_photo, tmp_path: Path) -> None:
    make_photo("in/images/a.jpg")
    make_photo("in/images/sub/b.jpg")
    make_photo("in/masks/a.png")
    make_photo("in/masks/sub/b.jpg.png")
    make_photo("in/truth/dsm.tif")
    (tmp_path / "in" / "meta.csv").write_text(
        "filename,lat,lon,alt\na.jpg,1,2,3\nsub/b.jpg,4,5,6\n"
    )
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert ids(photos) == ["a.jpg", "sub/b.jpg"]
    assert photos.root == tmp_path / "in" / "images"
    assert [p.gps.source for p in photos.photos if p.gps] == ["meta.csv", "meta.csv"]
    masks = [p.mask_path for p in photos.photos]
    assert masks == [tmp_path / "in" / "masks" / n for n in ("a.png", "sub/b.jpg.png")]
    assert all(
        p.mask_path is None
        for p in ingest_photos(
            tmp_path / "in", IngestConfig(use_masks=False), work_dir=tmp_path
        ).photos
    )


def test_table_and_masks_given_by_hand(make_photo, tmp_path: Path) -> None:
    photo = make_photo("in/a.jpg")
    make_photo("elsewhere/a.png")
    (tmp_path / "positions.csv").write_text("filename,lat,lon\na,10,20\n")
    config = IngestConfig(meta_csv=tmp_path / "positions.csv", masks=tmp_path / "elsewhere")
    (one,) = ingest_photos([photo], config, work_dir=tmp_path).photos
    assert one.gps is not None and one.gps.lat == 10.0
    assert one.mask_path == tmp_path / "elsewhere" / "a.png"
    with pytest.raises(UsageError, match="folder"):
        ingest_photos([photo], IngestConfig(masks=photo), work_dir=tmp_path)


@pytest.mark.parametrize("prefix", ["", "my project/", "a/b/"])
def test_zip_also_with_a_folder_around_everything(make_photo, tmp_path: Path, prefix: str) -> None:
    make_photo("in/images/ä 1.jpg")
    make_photo("in/images/b.jpg")
    (tmp_path / "in" / "meta.csv").write_text("filename,lat,lon\nä 1.jpg,1,2\n")
    archive = zip_folder(tmp_path / "in", tmp_path / "photos.ZIP", prefix)
    photos = ingest_photos(archive, work_dir=tmp_path / "work")
    assert ids(photos) == ["b.jpg", "ä 1.jpg"]
    assert photos.photos[1].gps is not None
    assert photos.root.is_relative_to(tmp_path / "work" / "unpacked")
    again = ingest_photos(archive, work_dir=tmp_path / "work")
    assert again == photos


def test_hostile_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as out:
        out.writestr("../../evil.jpg", b"x")
    with pytest.raises(FormatError, match="outside the folder"):
        ingest_photos(tmp_path / "evil.zip", work_dir=tmp_path / "work")


def test_list_of_files_and_folders(make_photo, tmp_path: Path) -> None:
    first = make_photo("in/one/a.jpg")
    make_photo("in/two/b.jpg")
    make_photo("in/three/not-listed.jpg")
    photos = ingest_photos([first, str(tmp_path / "in" / "two"), first], work_dir=tmp_path)
    assert ids(photos) == ["one/a.jpg", "two/b.jpg"]
    (single,) = ingest_photos(first, work_dir=tmp_path).photos
    assert single.id == "a.jpg"


def test_linked_folders_are_followed_but_not_round_in_circles(make_photo, tmp_path: Path) -> None:
    make_photo("card/a.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "card").symlink_to(tmp_path / "card")
    (tmp_path / "card" / "loop").symlink_to(tmp_path / "card")
    assert ids(ingest_photos(tmp_path / "in", work_dir=tmp_path)) == ["card/a.jpg"]


def test_missing_source_names_what_is_near(make_photo, tmp_path: Path) -> None:
    make_photo("Photos_2024/a.jpg")
    with pytest.raises(InputError) as caught:
        ingest_photos(tmp_path / "photos-2024" / "deep", work_dir=tmp_path)
    assert "'Photos_2024'" in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        ingest_photos([tmp_path / "nothing.jpg"], work_dir=tmp_path)
    with pytest.raises(InputError):
        ingest_photos("a\0b", work_dir=tmp_path)


def test_no_photos(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(NoPhotosError, match="There are no photos"):
        ingest_photos(tmp_path / "in", work_dir=tmp_path)
    (tmp_path / "in" / "x.cr2").write_bytes(b"raw")
    with pytest.raises(NoPhotosError, match="RAW photos are not read"):
        ingest_photos(tmp_path / "in", work_dir=tmp_path)
    with pytest.raises(NoPhotosError):
        ingest_photos([], work_dir=tmp_path)
    (tmp_path / "list.txt").write_text("hello")
    with pytest.raises(NoPhotosError, match=r"list\.txt is left out: not a photo"):
        ingest_photos(tmp_path / "list.txt", work_dir=tmp_path)


def test_names_that_no_product_could_carry(make_photo, tmp_path: Path) -> None:
    good = make_photo("in/good.jpg")
    os.link(good, os.fsencode(tmp_path / "in") + b"/\xff\xfe.jpg")
    os.link(good, tmp_path / "in" / "line\nbreak.jpg")
    photos = ingest_photos(tmp_path / "in", work_dir=tmp_path)
    assert ids(photos) == ["good.jpg"]
    assert {f.reason.split(":")[0] for f in photos.rejected} == {
        "its name is not valid UTF-8",
        "its name has control characters",
    }
    for file in photos.rejected:
        file.name.encode("utf-8")


def test_listed_photos_take_table_and_masks_from_their_common_folder(
    make_photo, tmp_path: Path
) -> None:
    photos = [make_photo(f"in/images/{name}.jpg") for name in "ab"]
    make_photo("in/images/c.jpg")
    for name in "abc":
        make_photo(f"in/masks/{name}.png")
    (tmp_path / "in/meta.csv").write_text("filename,lat,lon\na.jpg,1,2\nb.jpg,3,4\nc.jpg,5,6\n")
    found = ingest_photos(photos, work_dir=tmp_path)
    assert [p.gps.lat for p in found.photos if p.gps] == [1.0, 3.0]
    assert [p.mask_path.name for p in found.photos if p.mask_path] == ["a.png", "b.png"]
    assert not [w for w in found.warnings if "c.jpg" in w or "c.png" in w]
    (tmp_path / "in/images/meta.csv").write_text("filename,lat,lon\na.jpg,7,8\n")
    assert set(files_read(photos)) == {
        *photos, tmp_path / "in/meta.csv", *(tmp_path / f"in/masks/{n}.png" for n in "abc")
    }  # fmt: skip


def test_tables_and_masks_of_several_folders_are_named_as_not_read(
    make_photo, tmp_path: Path
) -> None:
    make_photo("in/one/a.jpg")
    make_photo("in/two/b.jpg")
    make_photo("in/two/masks/b.png")
    (tmp_path / "in/one/meta.csv").write_text("filename,lat,lon\na.jpg,1,2\n")
    folders = [tmp_path / "in/one", tmp_path / "in/two"]
    found = ingest_photos(folders, work_dir=tmp_path)
    told = [w for w in found.warnings if "is not read" in w]
    assert len(told) == 2
    assert told[0].startswith("one/meta.csv") and "--ingest.meta-csv" in told[0]
    assert told[1].startswith("two/masks") and "into in," in told[1]
    (tmp_path / "in/meta.csv").write_text("filename,lat,lon\none/a.jpg,1,2\nb.jpg,3,4\n")
    config = IngestConfig(use_masks=False, meta_csv=tmp_path / "in/meta.csv")
    found = ingest_photos(folders, config, work_dir=tmp_path)
    assert [p.gps.lat for p in found.photos if p.gps] == [1.0, 3.0]
    assert not [w for w in found.warnings if "is not read" in w]


def test_one_zip_at_a_time(make_photo, tmp_path: Path) -> None:
    make_photo("in/a.jpg")
    zips = [zip_folder(tmp_path / "in", tmp_path / name) for name in ("1.zip", "2.zip")]
    for source in (zips, [tmp_path / "in", zips[1]]):
        with pytest.raises(UsageError, match="A zip must be the only input") as caught:
            ingest_photos(source, work_dir=tmp_path / "work")
        assert caught.value.where == str(zips[1]) and caught.value.next_step
    assert len(ingest_photos(zips[:1], work_dir=tmp_path / "work")) == 1


@pytest.fixture
def four_photos(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg", "east/c.jpg", "east/d.jpg"):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (200, 300, 3), np.uint8)).save(path)
    rows = [f"{n},51.5,9.{i},100" for i, n in enumerate(("a.jpg", "b.jpg", "c.jpg", "d.jpg"))]
    (photos / "meta.csv").write_text("\n".join(["filename,lat,lon,alt", *rows]))
    return photos


def listed(four_photos: Path, tmp_path: Path, text: str | bytes) -> PhotoSet:
    path = tmp_path / "component_2.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return ingest_photos(four_photos, IngestConfig(only=path), work_dir=tmp_path / "work")


def test_only_the_photos_of_the_list_with_their_table(four_photos: Path, tmp_path: Path) -> None:
    found = listed(four_photos, tmp_path, "east/d.jpg\n\neast/c.jpg\neast/c.jpg\n")
    assert [p.id for p in found.photos] == ["east/c.jpg", "east/d.jpg"]
    assert [p.gps.lon for p in found.photos] == [9.2, 9.3]
    assert not any("a.jpg" in w for w in found.warnings) and found.rejected == ()


def test_a_missing_name_is_reported_with_the_nearest(four_photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"not exist: east/x.jpg and 1 more; did you mean"):
        listed(four_photos, tmp_path, "a.jpg\neast/x.jpg\ny.jpg\n")


def test_unusable_lists(four_photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="names no photo"):
        listed(four_photos, tmp_path, "\n \n")
    config = IngestConfig(only=tmp_path / "none.txt")
    with pytest.raises(InputError, match="cannot be read"):
        ingest_photos(four_photos, config, work_dir=tmp_path / "work")

    with pytest.raises(FormatError, match="not UTF-8 text"):
        listed(four_photos, tmp_path, b"\xff\xd8\xff\xe0\x00")
