"""Maps and pictures of the products."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from voxterra.core.camera import PinholeView
from voxterra.core.mesh import TriMesh
from voxterra.core.raster import Grid
from voxterra.io.geotiff import read_preview
from voxterra.io.metadata import map_unit
from voxterra.report import maps, pictures
from voxterra.report.charts import number
from voxterra.report.findings import Findings
from voxterra.report.map_data import Bounds
from voxterra.report.markup import Content, el, figure, section
from voxterra.report.overview import length
from voxterra.report.render import overview, render

_PAPER = (244, 244, 241)  # as the ground of the maps in `style`
_FAR = 4.0  # sizes of the components from which on one map of all would show dots


def map_section(found: Findings) -> Element:
    """Footprints over the orthophoto, overlap, GPS residuals; a map a component when far apart."""
    indices = sorted({camera.component for camera in found.map_data.cameras})
    above = found.coverage.above
    whole = found.map_data.bounds(None if above is None else above.grid.bounds)
    apart = len(indices) > 1 and _size(whole) > _FAR * sum(
        _size(found.map_data.bounds(None, index)) for index in indices
    )
    parts: list[Content] = []
    if apart:
        parts.append(figure(_locator(found, whole), "All components, and the gaps between them."))
        for index in indices:
            parts += _maps_of(found, found.map_data.bounds(None, index), index)
    else:
        parts += _maps_of(found, whole, None)
    return section("Maps", el("div", parts, class_="plates"))


def _maps_of(found: Findings, bounds: Bounds, component: int | None) -> list[Content]:
    frame = found.georeference.frame
    cameras = [c for c in found.map_data.cameras if component in (None, c.component)]
    of = "" if component is None else f" of component {found.georeference.number(component)}"
    unit, name = map_unit(frame), "all" if component is None else f"c{component}"

    def blank() -> maps.Map:
        return maps.Map(bounds, unit, on_earth=not frame.is_local)

    ground = _ground(found)
    shown = blank()
    if ground is not None:
        shown.picture(pictures.inline(ground[0]), ground[1], name=f"ground-{name}")
    maps.add_footprints(shown, found.map_data, cameras)
    if component is None:
        _add_gaps(shown, found)
    legend = maps.component_legend(shown, found.map_data, cameras, found.georeference.number)
    parts: list[Content] = [
        figure(
            [shown.svg(f"prints-{name}"), legend],
            f"Where the photos{of} were taken, and what they show of the ground.",
        )
    ]
    above = found.coverage.above
    if above is not None:
        shown = blank()
        shown.picture(maps.overlap_picture(above), above.grid)
        maps.add_cameras(shown, cameras)
        counted = (
            "Photos that show each place. Two are needed for any depth, three or more to check it."
        )
        parts.append(figure([shown.svg(f"overlap-{name}"), maps.class_legend(above)], counted))
    if any(camera.gps is not None for camera in cameras):
        shown = blank()
        if ground is not None:
            shown.layers.append(el("use", href=f"#ground-{name}", opacity=0.3))
        factor = maps.add_residuals(shown, cameras)
        caption = "From the recorded GPS position (dot) to where the model has the camera"
        caption += f", {number(factor)} times as long as it is." if factor > 1 else "."
        caption += " Dashed: set aside as an outlier."
        placements = found.georeference.placements
        if any(placements[camera.component].lag is not None for camera in cameras):
            caption += (
                " The lag of the positions is in these lines; the model is placed without it."
            )
        parts.append(figure(shown.svg(f"gps-{name}"), caption))
    return parts


def _locator(found: Findings, bounds: Bounds) -> Element:
    frame = found.georeference.frame
    shown = maps.Map(bounds, map_unit(frame), on_earth=not frame.is_local)
    maps.add_cameras(shown, found.map_data.cameras)
    _add_gaps(shown, found)
    return shown.svg("locator")


def _add_gaps(shown: maps.Map, found: Findings) -> None:
    at = {camera.name: camera.xy for camera in found.map_data.cameras}
    drawn = set()
    for gap in found.gaps:
        pair = frozenset((gap.component, gap.other))
        if pair not in drawn and gap.photo in at and gap.other_photo in at:
            drawn.add(pair)
            label = length(gap.distance, found.unit)
            maps.add_gap(shown, at[gap.photo], at[gap.other_photo], label)


def _size(bounds: Bounds) -> float:
    return float(np.hypot(bounds[2] - bounds[0], bounds[3] - bounds[1]))


def _ground(found: Findings) -> tuple[NDArray[np.uint8], Grid] | None:
    """The orthophoto, else the surface model, else the surface itself from above, if any."""
    ortho = read_preview(found.facts.products / "ortho.tif", found.picture_px)
    if ortho is not None:
        bands, grid, _ = ortho
        return pictures.over(np.moveaxis(bands[:4], 0, -1).astype(np.uint8), _PAPER), grid
    known = _heights(found)
    if known is None:
        return None
    return pictures.shaded(known[0], _cell_in_height_unit(found, known[1])), known[1]


def _heights(found: Findings) -> tuple[NDArray[np.float64], Grid] | None:
    dsm = read_preview(found.facts.products / "dsm.tif", found.picture_px)
    if dsm is None:
        above = found.coverage.above
        return None if above is None else (above.heights.astype(np.float64), above.grid)
    bands, grid, nodata = dsm
    heights = bands[0].astype(np.float64)
    heights[bands[0] == nodata] = np.nan
    return heights, grid


def _cell_in_height_unit(found: Findings, grid: Grid) -> float:
    return grid.cell_size * found.georeference.frame.map_unit_m()


def picture_section(found: Findings) -> Element:
    """Mesh, orthophoto, facades, surface model, and one photo with its depth."""
    parts: list[Content] = []
    if found.mesh is not None:
        mesh = mesh_picture(found.mesh, found.maps.views, found.picture_px)
        parts.append(figure(mesh, "The mesh.", wide=True))
    ortho = read_preview(found.facts.products / "ortho.tif", found.picture_px)
    if ortho is not None:
        picture = pictures.over(np.moveaxis(ortho[0][:4], 0, -1).astype(np.uint8))
        shown = pictures.shrunk(picture, round(0.7 * found.picture_px))
        parts.append(figure(pictures.image(shown, "orthophoto"), "True orthophoto."))
    facades = _facades(found)
    parts += facades
    known = None if facades and ortho is None else _heights(found)
    if known is not None and np.isfinite(known[0]).any():
        heights, grid = known
        picture = pictures.shaded(heights, _cell_in_height_unit(found, grid))
        shown = pictures.shrunk(picture, round(0.7 * found.picture_px))
        low, high = pictures.height_range(heights)
        unit = found.unit if found.unit == "m" else "units"
        bar = pictures.color_bar(f"{low:.1f} {unit}", f"{high:.1f} {unit}")
        caption = "Surface model, coloured by height and lit from the north-west."
        parts.append(figure([pictures.image(shown, "surface model"), bar], caption))
    parts += _depth(found)
    return section("Pictures", el("div", parts, class_="plates"))


def _facades(found: Findings) -> list[Content]:
    """Orthophotos of walls, as `metadata.json` lists them."""
    parts: list[Content] = []
    for facade in found.facts.metadata.get("coverage", {}).get("facades", ()):
        preview = read_preview(found.facts.products / facade["name"], found.picture_px)
        if preview is not None:
            picture = pictures.over(np.moveaxis(preview[0][:4], 0, -1).astype(np.uint8))
            size = f"{number(facade['width'])} × {number(facade['top'] - facade['bottom'])}"
            caption = (
                f"{facade['name']}: a facade straight from the front, {size} {facade['unit']}."
            )
            parts.append(figure(pictures.image(picture, "facade"), caption, wide=True))
    return parts


def mesh_picture(mesh: TriMesh, views: Sequence[PinholeView], width: int) -> Element:
    """A picture of a whole mesh, at most `width` pixels wide."""
    view = overview(mesh, views, 2 * width, round(1.2 * width))
    picture, drawn = render(mesh, view)
    picture[~drawn] = 255
    if drawn.any():
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return pictures.image(pictures.shrunk(np.ascontiguousarray(picture), width), "mesh")


def _depth(found: Findings) -> list[Content]:
    """The photo whose share of known depth is the median: neither the best nor the worst."""
    views = found.coverage.views
    if not views:
        return []
    order = sorted(range(len(views)), key=lambda i: (views[i].known, views[i].name))
    index = order[len(order) // 2]
    depth = found.maps.load(index).depth.astype(np.float64)
    depth[depth <= 0] = np.nan
    size = found.picture_px // 2
    photo = pictures.shrunk(found.maps.load_color(index), size)
    parts: list[Content] = [figure(pictures.image(photo, "photo"), f"Photo {views[index].name}.")]
    if np.isfinite(depth).any():
        low, high = pictures.height_range(depth)
        picture = pictures.shrunk(pictures.colored(depth, low, high), size)
        bar = pictures.color_bar(length(low, found.unit), length(high, found.unit))
        caption = f"Its depth; white is unknown. {100 * views[index].known:.0f} % is known."
        parts.append(figure([pictures.image(picture, "depth map"), bar], caption))
    return parts
