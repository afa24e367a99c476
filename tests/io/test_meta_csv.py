from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxterra.errors import FormatError, InputError
from voxterra.io.meta_csv import MetaRow, parse_meta_csv, read_meta_csv


def test_all_columns() -> None:
    text = "filename,lat,lon,alt,yaw,pitch,roll,accuracy\na.jpg,-33.5,151.25,12.5,90,-89,1.5,0.03\n"
    assert parse_meta_csv(text) == (
        MetaRow("a.jpg", 2, 151.25, -33.5, 12.5, "unknown", 90.0, -89.0, 1.5, 0.03, 0.03),
    )


@pytest.mark.parametrize(
    "header",
    [
        "FileName,Latitude,Longitude,Altitude",
        "image,LAT,lng,height [m]",
        " name , Lat , Long , Alt (m)",
    ],
)
def test_aliases_in_any_case(header: str) -> None:
    (row,) = parse_meta_csv(f"{header}\n a.jpg , 1 , 2 , 3 \n")
    assert (row.filename, row.lat, row.lon, row.height_m) == ("a.jpg", 1.0, 2.0, 3.0)


def test_unknown_columns_and_missing_cells_are_fine() -> None:
    rows = parse_meta_csv("camera,filename,lat,lon,note\nA,a.jpg,1,2,hi\n,b.jpg,,,\n\nB,c.jpg\n")
    assert [(r.filename, r.lat, r.line) for r in rows] == [
        ("a.jpg", 1.0, 2),
        ("b.jpg", None, 3),
        ("c.jpg", None, 5),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_comma(delimiter: str) -> None:
    text = "filename,lat,lon,alt\na.jpg,51X5,9X9,206X74\n".replace(",", delimiter).replace("X", ",")
    (row,) = parse_meta_csv(text)
    assert (row.lat, row.lon, row.height_m) == (51.5, 9.9, 206.74)


def test_quoted_names_with_commas_quotes_and_any_script() -> None:
    text = 'filename,lat,lon\n"a, ""b"".jpg",1,2\n写真 1.jpg,3,4\nsub\\c.jpg,5,6\n'
    assert [r.filename for r in parse_meta_csv(text)] == ['a, "b".jpg', "写真 1.jpg", "sub/c.jpg"]


def test_ellipsoidal_column_and_vertical_accuracy() -> None:
    text = "name,ellipsoidal_height,accuracy,vertical_accuracy\na.jpg,48.2,0.02,0.04\n"
    (row,) = parse_meta_csv(text)
    assert (row.height_m, row.height_reference) == (48.2, "ellipsoidal")
    assert (row.sigma_horizontal_m, row.sigma_vertical_m) == (0.02, 0.04)


def test_zero_accuracy_means_not_stated() -> None:
    (row,) = parse_meta_csv("name,accuracy\na.jpg,0\n")
    assert row.sigma_horizontal_m is None


def test_longitudes_up_to_360() -> None:
    assert parse_meta_csv("name,lat,lon\na.jpg,0.5,350\n")[0].lon == -10.0


def test_errors_name_the_line() -> None:
    lines = ["filename,lat,lon", "a.jpg,x,2", "b.jpg,95,3", ",1,2", "c.jpg,1,", "d.jpg,nan,1"]
    text = "\n".join([*lines, "a.jpg,1,2", "a.jpg,1,2", ""])
    with pytest.raises(FormatError) as caught:
        parse_meta_csv(text, where="meta.csv")
    message = str(caught.value)
    for part in (
        "line 2: lat 'x' is not a number",
        "line 3: lat 95 is outside -90 .. 90",
        "line 4: no filename",
        "line 5: lat and lon must be given together",
        "line 6: lat nan is outside",
        "and 1 more",
        "where: meta.csv",
    ):
        assert part in message, message


def test_header_errors() -> None:
    with pytest.raises(FormatError, match="Is 'filename' misspelt"):
        parse_meta_csv("filname,lat,lon\na.jpg,1,2\n")
    with pytest.raises(FormatError, match="Two columns both mean 'lat'"):
        parse_meta_csv("filename,lat,latitude\na.jpg,1,2\n")
    with pytest.raises(FormatError, match="empty"):
        parse_meta_csv("\n\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_spreadsheets(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "meta.csv").write_text(
        "filename,lat,lon\r\nGöttingen.jpg,1,2\r\n", encoding=encoding
    )
    assert read_meta_csv(tmp_path / "meta.csv")[0].filename == "Göttingen.jpg"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_meta_csv(tmp_path / "meta.csv")


def test_real_table(shared_data: Callable[[str], Path]) -> None:
    rows = read_meta_csv(shared_data("synthetic_uav") / "meta.csv")
    assert len(rows) == 24
    assert rows[0] == MetaRow(
        "DJI_0001.jpg", 2, 9.915534721, 51.541034428, 206.74, "unknown", 334.54, -89.58, -1.59
    )


cell = st.one_of(
    st.floats(allow_nan=True).map(str),
    st.text(max_size=12),
    st.sampled_from(["", "1", "a.jpg", '"']),
)
header = st.lists(
    st.sampled_from(["filename", "lat", "lon", "alt", "yaw", "pitch", "roll", "accuracy", "junk"]),
    max_size=9,
)


@settings(max_examples=200, deadline=None)
@given(header, st.lists(st.lists(cell, max_size=9), max_size=5), st.sampled_from([",", ";", "\t"]))
def test_fuzz_of_tables(names: list[str], rows: list[list[str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL, escapechar="\\")
    writer.writerows([names, *rows])
    try:
        for row in parse_meta_csv(out.getvalue()):
            assert row.filename
            assert row.lat is None or -90 <= row.lat <= 90
            assert row.lon is None or -180 <= row.lon <= 180
    except FormatError:
        pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_fuzz_of_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "meta.csv"
    path.write_bytes(b"filename,lat,lon\n" + content)
    with suppress(FormatError):
        read_meta_csv(path)
