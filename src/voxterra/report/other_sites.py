"""Other sites than the main one: location, accuracy, and products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from voxterra.core.gaps import distance_apart_m
from voxterra.core.geo import GeoFrame
from voxterra.io.arrays import read_mesh
from voxterra.io.depth_store import DepthStore
from voxterra.io.geotiff import read_preview
from voxterra.io.metadata import read_metadata
from voxterra.report import maps, pictures
from voxterra.report.facts import SiteFacts
from voxterra.report.findings import Findings
from voxterra.report.markup import Content, el, figure, section
from voxterra.report.overview import length
from voxterra.report.plates import mesh_picture

Float = NDArray[np.float64]

_STEPS_DEG = (30.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05)
_MARGIN = 0.3  # around the places on the map, as a share of their extent


def other_sites_section(found: Findings) -> Element | None:
    """A map of all sites, then place, accuracy, pictures and files of each other one."""
    if not found.facts.other_sites:
        return None
    text = (
        "These components are too far from the others for one map, or their position is unknown. "
        "Each site has all products in its own folder, in its own frame."
    )
    parts: list[Content] = [el("p", text)]
    shown = _map(found)
    if shown is not None:
        caption = (
            "Map of the components. Distances and directions from the first are true (azimuthal "
            "equidistant); lines of latitude and longitude in degrees."
        )
        parts.append(el("div", figure(shown, caption), class_="plates"))
    for facts in found.facts.other_sites:
        parts += _part(found, facts)
    return section("Other sites", *parts)


def _part(found: Findings, facts: SiteFacts) -> Iterator[Content]:
    title = facts.site.describe()
    yield el("h3", title[:1].upper() + title[1:], class_="part")
    rows: list[tuple[Content, Content]] = [("Photos", f"{_photos(found, facts)}")]
    first = facts.site.components[0]
    frame = found.georeference.frame_of(first)
    if not frame.is_local:
        rows.append(("Place", _place(frame)))
    distance = distance_apart_m(found.georeference, first)
    if distance is not None:
        rows.append(("Distance", f"{length(distance, 'm')} from the others, by the nearest photos"))
    metadata = _metadata(facts)
    if metadata:
        own = GeoFrame.from_dict(metadata["frame"])
        rows.append(("Frame", own.describe()))
        rows.append(("Accuracy", metadata.get("accuracy", {}).get("statement", "not stated")))
        rows.append(("Products", _links(facts, metadata)))
    if facts.failed is not None:
        rows.append(("Not made", facts.failed))
    yield el("dl", [(el("dt", k), el("dd", v)) for k, v in rows])
    yield el("div", list(_pictures(found, facts)), class_="plates")


def _photos(found: Findings, facts: SiteFacts) -> int:
    return sum(len(found.georeference.components[i].images) for i in facts.site.components)


def _metadata(facts: SiteFacts) -> dict[str, Any]:
    path = facts.products / "metadata.json"
    return read_metadata(path) if path.is_file() else {}


def _links(facts: SiteFacts, metadata: dict[str, Any]) -> Content:
    """Links to its files, relative to the folder of the report."""
    names = [p["name"] for p in metadata.get("products", [])]
    folder, parts = facts.products.name, list[Content]()
    for name in ["report.html", "metadata.json", *names]:
        parts += [el("a", name, href=quote(f"{folder}/{name}")), " "]
    return [f"in {folder}: ", parts]


def _pictures(found: Findings, facts: SiteFacts) -> Iterator[Element]:
    size = round(0.7 * found.picture_px)
    if facts.mesh.is_file() and (facts.depth / "views.json").is_file():
        shown = mesh_picture(read_mesh(facts.mesh), DepthStore(facts.depth).views, size)
        yield figure(shown, "Its mesh.")
    ortho = read_preview(facts.products / "ortho.tif", found.picture_px)
    if ortho is not None:
        picture = pictures.over(np.moveaxis(ortho[0][:4], 0, -1).astype(np.uint8))
        shown = pictures.image(pictures.shrunk(picture, size), "orthophoto")
        yield figure(shown, "Its true orthophoto.")


def _place(frame: GeoFrame) -> str:
    north, east = "N" if frame.lat >= 0 else "S", "E" if frame.lon >= 0 else "W"
    return f"{abs(frame.lat):.4f}° {north}, {abs(frame.lon):.4f}° {east}"


def _map(found: Findings) -> Element | None:
    """The sites on one map around the first; None where that or all others are on no map."""
    home, placed = found.georeference.frame, []
    for facts in found.facts.other_sites:
        frame = found.georeference.placements[facts.site.components[0]].apart
        if frame is not None:
            placed.append((facts, frame))
    if home.is_local or not placed:
        return None
    to_km = Transformer.from_crs(
        "EPSG:4326",
        f"+proj=aeqd +lat_0={home.lat} +lon_0={home.lon} +ellps=WGS84 +units=km",
        always_xy=True,
    )
    at = [np.array(to_km.transform(f.lon, f.lat)) for f in (home, *(f for _, f in placed))]
    shown = maps.Map(_bounds(at), "km", on_earth=True)
    _add_graticule(shown, to_km, home, [frame for _, frame in placed])
    for (facts, _), xy in zip(placed, at[1:]):
        distance = distance_apart_m(found.georeference, facts.site.components[0])
        maps.add_gap(shown, at[0], xy, "" if distance is None else length(distance, "m"))
        maps.add_place(shown, xy, facts.site.describe(), facts.site.components[0])
    number = [found.georeference.number(i) for i in found.georeference.mappable_indices()]
    plural = "s" if len(number) > 1 else ""
    maps.add_place(shown, at[0], f"component{plural} {', '.join(map(str, number))}", number[0] - 1)
    return shown.svg("apart")


def _bounds(places: Sequence[Float]) -> tuple[float, float, float, float]:
    """Around all places, wider than tall, with room for their names."""
    low, high = np.min(places, axis=0), np.max(places, axis=0)
    longest = float((high - low).max()) or 1.0
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, [0.3 * longest, 0.2 * longest])
    low, high = middle - half - _MARGIN * longest, middle + half + _MARGIN * longest
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _add_graticule(
    shown: maps.Map, to_km: Transformer, home: GeoFrame, others: Sequence[GeoFrame]
) -> None:
    """Some lines of longitude and latitude, as far as they cross the map."""
    left, bottom, right, top = shown.bounds
    span_deg = max(right - left, top - bottom) / 111.0
    step = next((s for s in _STEPS_DEG if span_deg / s >= 2.0), _STEPS_DEG[-1])
    reach = np.arange(-180.0, 180.0 + step / 2, step)
    along = np.linspace(-1.0, 1.0, 121)
    lat = [f.lat for f in (home, *others)]
    middle = (min(lat) + max(lat)) / 2
    for lon in reach[:-1]:
        _add_line(shown, to_km, np.full(121, lon), np.clip(middle + span_deg * along, -80, 80),
                  f"{abs(lon):g}° {'E' if lon >= 0 else 'W'}")  # fmt: skip
    for parallel in reach[np.abs(reach) < 90]:
        wide = min(180.0, 2 * span_deg / max(np.cos(np.radians(parallel)), 0.1))
        name = f"{abs(parallel):g}° {'N' if parallel >= 0 else 'S'}"
        _add_line(shown, to_km, home.lon + wide * along, np.full(121, parallel), name)


def _add_line(shown: maps.Map, to_km: Transformer, lon: Float, lat: Float, label: str) -> None:
    xy = np.column_stack(to_km.transform((lon + 180) % 360 - 180, lat))
    inside = np.array([shown.holds(p) for p in xy]) & np.isfinite(xy).all(1)
    if inside.sum() < 2:
        return
    rows = np.flatnonzero(inside)
    first, last = max(rows[0] - 1, 0), min(rows[-1] + 2, len(xy))
    shown.layers.append(el("polyline", points=shown.path(xy[first:last]), class_="graticule"))
    x, y = shown.at(xy[rows[len(rows) // 8]])
    shown.layers.append(el("text", label, x=x + 3, y=y - 3, class_="graticule"))
