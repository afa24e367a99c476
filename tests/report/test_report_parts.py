"""Parts of the report against what is known by other means."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from xml.etree.ElementTree import tostring

import numpy as np
import pytest
from known_scene import BLUE_TOP, GEO, inputs, on_map
from report_scene import second_component, with_points

import voxterra as vt
from voxterra.core.footprint import ground_points
from voxterra.core.geo import GeoFrame
from voxterra.products import metadata
from voxterra.report.charts import columns, histogram, number, round_down, ticks
from voxterra.report.coverage import Coverage, survey
from voxterra.report.map_data import map_data_of
from voxterra.report.markup import document, el, table
from voxterra.report.overview import subtitle
from voxterra.report.pictures import shaded
from voxterra.report.render import overview, render
from voxterra.report.residuals import gaps, reprojection
from voxterra.testing import look_at, plane_mesh


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    mesh, _, maps, _, _ = inputs(GeoFrame.local())
    return survey(mesh, maps, GeoFrame.local())


def at(coverage: Coverage, x: float, y: float) -> tuple[int, float]:
    """Photos that show a place of the local map, and its height."""
    above = coverage.above
    grid = above.grid
    cell = int((grid.top - y) / grid.cell_size), int((x - grid.left) / grid.cell_size)
    return int(above.counts[cell]), float(above.heights[cell])


@pytest.mark.parametrize(
    ("place", "photos"),
    [
        # Photos are 45.7 m wide and 34.3 m high on the ground around (0, 0), (-8, -8), (9, -7),
        # (8, 9) and (-9, 8).
        ((-15, -15), 2),
        ((0, 0), 5),
        ((18, 18), 1),
        # Behind the blue box, 5 m high to x = 14: hidden from the first, out of the frames of two.
        ((15, 0), 2),
    ],
)
def test_photos_are_counted_where_they_see(coverage, place, photos):
    assert at(coverage, *place)[0] == photos


def test_heights_and_shares_of_the_surface(coverage):
    assert at(coverage, 12, 0)[1] == pytest.approx(BLUE_TOP, abs=1e-3)
    above = coverage.above
    shares = [above.share(n, n) for n in range(6)]
    assert sum(shares) == pytest.approx(1.0) and above.share(0) == 1.0
    assert above.share(2) == pytest.approx(sum(shares[2:]))


def test_depth_of_each_photo(coverage):
    view = coverage.views[0]
    assert (view.name, view.confidence) == ("0.jpg", 1.0)
    # 40 m of ground in a photo 45.7 m wide; it is cut at the sides only.
    assert view.known == pytest.approx(40 / 45.7, abs=0.01)
    assert view.pixel == pytest.approx(40 / 280, rel=0.01)


def test_reprojection_errors_are_found_again():
    _, _, _, georeference, _ = inputs(GEO)
    component = with_points(georeference.components[0], 0.75)
    fits = reprojection(component, 4)
    assert [f.name for f in fits] == [i.name for i in component.images]
    assert all(f.component == 4 and len(f.errors_px) == 40 for f in fits)
    np.testing.assert_allclose(np.concatenate([f.errors_px for f in fits]), 0.75, atol=1e-9)
    distorted = with_points(second_component(0.0), 0.25)
    np.testing.assert_allclose(reprojection(distorted, 0)[1].errors_px, 0.25, atol=1e-6)


def test_gaps_only_between_components_with_a_place():
    _, _, _, georeference, _ = inputs(GEO)
    placements = georeference.placements * 2
    two = replace(
        georeference,
        components=(*georeference.components, second_component(100.0)),
        placements=placements,
    )
    first, second = gaps(two)
    assert (first.component, first.other, first.photo, first.other_photo) == (
        0, 1, "2.jpg", "far_0.jpg",
    )  # fmt: skip
    assert first.distance == pytest.approx(np.hypot(91, 7)) == second.distance
    lost = replace(placements[1], placed=False)
    assert gaps(replace(two, placements=(placements[0], lost))) == ()


def test_cameras_and_failed_photos_on_the_map():
    mesh, _, maps, georeference, photos = inputs(GEO)
    site = map_data_of(georeference, photos, maps.views, ground_points(mesh, georeference))
    assert [name for name, _ in site.failed] == ["left_out.jpg"]
    camera = site.cameras[0]
    assert camera.xy == pytest.approx(on_map(0, 0, 40)[:2], abs=1e-3)
    assert camera.heading is None and camera.footprint is not None
    size = np.linalg.norm(camera.footprint[1] - camera.footprint[0])
    assert 320 / 280 * 35 < size < 320 / 280 * 41  # at a level between ground and roofs
    assert site.failed[0][1] == pytest.approx(camera.xy, abs=0.01)  # both at the origin
    left, bottom, right, top = site.bounds(None)
    assert left < camera.xy[0] < right and bottom < camera.xy[1] < top


def test_a_picture_of_the_mesh_shows_all_of_it_in_its_colours():
    mesh, *_ = inputs(GEO)
    view = overview(mesh, [look_at("down", (0, 0, 40), (0, 0, 0))], 400, 240)
    picture, shown = render(mesh, view)
    edges = (shown[0].any(), shown[-1].any(), shown[:, 0].any(), shown[:, -1].any())
    assert shown.mean() > 0.25 and not any(edges)
    red = (picture[..., 0] > 2 * picture[..., 1].astype(int)) & shown
    blue = (picture[..., 2] > 2 * picture[..., 1].astype(int)) & shown
    assert red.sum() > 50 and blue.sum() > 50
    assert np.argwhere(red)[:, 0].mean() < np.argwhere(blue)[:, 0].mean()  # north is farther: above
    plain, _ = render(replace(mesh, colors=None), view)
    assert plain[shown].min() >= 70


def test_from_where_photos_look_across_the_mesh_is_shown_from_there():
    mesh = plane_mesh()
    across = [look_at(f"{x}", (x, -30, 2), (x, 0, 2)) for x in (-1, 0, 1)]
    view = overview(mesh, across, 400, 240)
    assert view.cam_from_world[2, 1] > 0.99  # forward is north, as theirs


def test_shading_is_lit_from_the_north_west():
    step = np.linspace(0, 1, 41)
    roof = 20 * np.minimum(step, 1 - step)
    west_east = shaded(np.tile(roof, (41, 1)), 1.0).astype(float).sum(-1)
    assert west_east[20, 10] > west_east[20, 30] + 60  # west slope bright, east slope dark
    north_south = shaded(np.tile(roof[:, None], (1, 41)), 1.0).astype(float).sum(-1)
    assert north_south[10, 20] > north_south[30, 20] + 60
    assert (shaded(np.full((3, 3), np.nan), 1.0) == 255).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 97, [0, 20, 40, 60, 80]), (3, 3, [3])],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_numbers_are_short():
    shown = [number(v) for v in (0, 0.01234, 1.234, 12.34, 123.4, 123456, 2.0)]
    assert shown == ["0", "0.0123", "1.23", "12.3", "123", "123,456", "2"]
    assert [round_down(v) for v in (0.73, 1.0, 4.9, 60)] == [0.5, 1.0, 2.0, 50.0]


def test_charts_hold_every_value():
    chart = histogram([0.1] * 30 + [0.9] * 70, x_title="x", y_title="y", bins=10)
    heights = [float(r.get("height", 0)) for r in chart.iter("rect")]
    assert len(heights) == 10 and heights[1] / heights[9] == pytest.approx(30 / 70, rel=0.01)
    row = columns(["a", "b & <c>", "d"], [1.0, None, 2.0], y_title="px")
    assert [t.text for t in row.iter("title")] == ["a: 1", "d: 2"]
    columns([], [], y_title="px")
    histogram([0.0, 0.0], x_title="x", y_title="y")


def test_a_source_tree_that_was_never_installed_has_a_version(monkeypatch):
    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    assert subtitle({"software": metadata.software_versions()}) == f"Voxterra {vt.__version__}"
    assert subtitle({"software": {"voxterra": None}}) == "Voxterra"  # as earlier versions wrote it


def test_text_is_escaped_where_it_is_written():
    page = document([], [el("p", "<b>", el("i", "&"), " a\x00b", title='"><x>')], title="</title>")
    assert '<p title="&quot;&gt;' in page or '<p title="&quot;><x>"' in page
    assert "&lt;b&gt;<i>&amp;</i> a�b" in page and "&lt;/title&gt;" in page
    assert b"None." in tostring(table(("a",), []))
