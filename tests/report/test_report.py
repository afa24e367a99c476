"""The report as a file: what it says, that it fetches nothing, that names stay names."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from known_scene import AUSTRALIA, GEO
from pyproj import Geod
from report_scene import HOSTILE, make_report

from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Lag
from voxterra.errors import UsageError
from voxterra.report.config import ReportConfig, check


class Reader(HTMLParser):
    """Text, tags and addresses of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]

    def handle_data(self, data):
        self.words.append(data)


def test_it_tells_what_is_known_of_the_run(tmp_path):
    read = Reader(make_report(tmp_path, GEO))
    for told in (
        "5 of 6 photos in the model",
        "EPSG:25832",
        "EGM96 height (EPSG:5773)",
        "position 1.2 m horizontal, 15 m vertical",  # as the products state it
        "0.22 m horizontal; 1 set aside",
        "left_out.jpg not registered No texture on it. Take it nearer.",
        "bad.txt left out not a photo",
        "200 observations of 40 sparse points: median 0.50 px, RMS 0.50 px, 100% below one pixel",
        "5 depth maps",
        "dsm.tif",
        "sfm: mind this",
        "61 s, 1.0 GB",
    ):
        assert told in read.text, told
    # 1,600 m2 of ground, as the surface model counts them.
    area = re.search(r"([\d,]+) m² measured from above", read.text)
    assert area and float(area[1].replace(",", "")) == pytest.approx(1600, rel=0.02)


@pytest.mark.parametrize(
    ("frame", "compression"),
    [(GEO, "deflate"), (GeoFrame.local(), "jpeg")],
    ids=["map", "local, orthophoto as JPEG"],
)
def test_it_is_one_small_file_that_fetches_nothing(tmp_path, frame, compression):
    path = make_report(tmp_path, frame, compression=compression)
    read = Reader(path)
    assert path.stat().st_size < 3e6
    assert "script" not in read.tags and "link" not in read.tags and read.tags.count("img") >= 5
    beside = {p.name for p in tmp_path.iterdir()}
    for address in read.addresses:
        assert address.startswith(("data:image/", "#")) or address in beside, address[:80]
    assert not re.search(r"@import|url\((?!#)|https?://", path.read_text(encoding="utf-8"))


def test_without_gps_it_says_that_place_and_scale_are_unknown(tmp_path):
    text = Reader(make_report(tmp_path, GeoFrame.local())).text
    assert "none: a local frame" in text and "not known to be a metre" in text
    assert "model units" in text and "no GPS" in text
    assert "recorded GPS position" not in text and not re.search(r"\d m²", text)


def test_without_rasters_the_surface_itself_is_the_map(tmp_path):
    read = Reader(make_report(tmp_path, GEO, rasters=False))
    assert "True orthophoto" not in read.text and "Where the photos" in read.text
    assert "measured from above" not in read.text and "Surface model, coloured" in read.text


def test_without_a_mesh_the_rest_is_there(tmp_path):
    read = Reader(make_report(tmp_path, GEO, rasters=False, with_mesh=False))
    assert "5 of 6 photos in the model" in read.text and "Mesh none" in read.text
    assert "Where the photos" in read.text and "Its depth" in read.text
    for absent in ("The mesh.", "Photos that show each place", "in 3 or more", "Surface model, c"):
        assert absent not in read.text, absent
    # Footprints end on the sparse points.
    assert read.tags.count("polygon") == 5


def test_components_are_named_with_the_gap_between_them(tmp_path):
    text = Reader(make_report(tmp_path, GEO, far_m=100.0)).text
    # From the cameras at (9, -7) and (8, 9) to those at (100, 0) and (100, 5).
    assert "Component 1 is 91.3 m from component 2" in text
    assert "from 2.jpg to far_0.jpg" in text and "7 of 8 photos" in text
    assert "All components, and the gaps" not in text
    far = Reader(make_report(tmp_path, GEO, far_m=4000.0)).text
    assert "Component 1 is 3.99 km from component 2" in far and far.count("km from") == 1
    assert "All components, and the gaps" in far and "of component 2 were taken" in far


def test_a_component_without_a_place_is_told_to_be_apart(tmp_path):
    text = Reader(make_report(tmp_path, GEO, far_m=100.0, placed=False)).text
    assert "apart: in component_2" in text and "m from component" not in text
    assert "The position of component 2 is unknown:" in text


def test_components_apart_are_shown_with_place_distance_pictures_and_files(tmp_path):
    read = Reader(make_report(tmp_path, GEO, apart=True))
    text = read.text
    assert "Other sites" in text and "apart: in component_2" in text
    assert "32.0569° S, 115.7439° E" in text
    far = Geod(ellps="WGS84").inv(GEO.lon, GEO.lat, AUSTRALIA.lon, AUSTRALIA.lat)[2] / 1000
    assert text.count(f"{far:,.0f} km") == 3  # in a sentence, on the map, in the table
    own = json.loads((tmp_path / "component_2/metadata.json").read_text())
    assert f"Accuracy {own['accuracy']['statement']}" in text
    assert "Its mesh." in text and "Its true orthophoto." in text
    linked = [a for a in read.addresses if a.startswith("component_2/")]
    assert {"component_2/report.html", "component_2/ortho.tif"} <= set(linked)
    assert all((tmp_path / a).is_file() for a in linked if "report" not in a)
    assert "Component 3" in text and "Not made No two photos agree." in text
    assert "The position of component 3 is unknown:" in text
    assert "All components, and the gaps" not in text  # the map of the world is of its own alone


def test_late_positions_are_told_where_their_residuals_are(tmp_path):
    text = Reader(make_report(tmp_path / "late", GEO, lag=Lag(2.76, 0.22, 0.31, 4.15, 1.72))).text
    for figure in ("2.76 ± 0.22 m", "0.3 s", "4.15 m", "1.72 m"):
        assert figure in text, figure
    assert "The lag of the positions is in these lines" in text
    assert "after the lag of the positions was taken off" in text
    early = Reader(make_report(tmp_path / "early", GEO, lag=Lag(-1.5, 0.1, None, 3.0, 1.0))).text
    assert "recorded early, 1.50 ± 0.10 m" in early
    assert "lag of the positions" not in Reader(make_report(tmp_path / "no", GEO)).text


def test_names_of_files_are_shown_and_never_become_markup(tmp_path):
    path = make_report(tmp_path, GEO, names=HOSTILE)
    read = Reader(path)
    assert "script" not in read.tags and "bold" not in read.tags
    assert not [a for a in read.addresses if "nowhere" in a]
    for name in HOSTILE:
        shown = " ".join(re.sub("[\x00-\x1f\ud800-\udfff]", "�", name).split())
        assert shown in read.text, name


def test_pictures_have_a_sensible_size():
    for size in (0, 50, 10_000):
        with pytest.raises(UsageError, match="picture-px"):
            check(ReportConfig(picture_px=size))
