"""Stage georef: components of a reconstruction into one metric world on the map."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from voxterra.core.geo import GeoFrame
from voxterra.core.georeference import Georeference, Placement
from voxterra.core.photos import Photo, PhotoSet
from voxterra.core.progress import Progress, no_progress
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.transforms import Similarity
from voxterra.core.wording import distance
from voxterra.georef.attitude import consensus
from voxterra.georef.checks import contradictions
from voxterra.georef.config import GeorefConfig
from voxterra.georef.observations import Observations, choose_frame, has_position, observe
from voxterra.georef.place import NotPlaced, place
from voxterra.georef.scale import against_gps, bar_scale
from voxterra.georef.sites import far_components
from voxterra.georef.upright import rotation_to_up, up_in_model
from voxterra.io.scale_bars import read_scale_bars

logger = logging.getLogger(__name__)

# Up part of the usual viewing direction from which on a model is upside down.
_UPSIDE_DOWN = 0.7


def georeference(
    components: Sequence[Reconstruction],
    photos: PhotoSet,
    config: GeorefConfig = GeorefConfig(),
    *,
    numbers: Sequence[int] = (),
    progress: Progress = no_progress,
) -> Georeference:
    """Place every component in one world by the GPS and the attitudes of its photos.

    The world is the ENU frame at the median of the photos' positions, its origin at the height of
    the ground. A component that cannot be placed is turned upright, centred, and delivered in
    its own units with `placed=False`. If none can be placed the frame is local. Components too far
    from the others for one map get a frame of their own (`apart`).

    Args:
        components: in their own frames, largest first.
        photos: as ingested.
        config: what to use, and the accuracy of positions that do not state one.
        numbers: numbers of these components for people; () for 1, 2, ...
        progress: called once a component.

    Raises:
        InputError, FormatError: the table of scale bars cannot be read.
    """
    by_id = photos.by_id()
    far = far_components(components, by_id) if config.use_gps else {}
    near = [c for i, c in enumerate(components) if i not in far]
    frame = _frame(near, by_id, config)
    warnings = [] if frame.is_local else _height_warnings(near, by_id)
    placements: list[Placement] = []
    for i, component in enumerate(components):
        progress(i / max(len(components), 1), f"component {i + 1}/{len(components)}")
        label = f"component {numbers[i] if numbers else i + 1} ({len(component.images)} photos)"
        if i in far:
            placements.append(_place_apart(label, component, far[i], by_id, config))
        else:
            placements.append(_place_component(label, component, by_id, frame, config))
    if not frame.is_local and not any(p.placed and p.apart is None for p in placements):
        frame, warnings = GeoFrame.local(), []
    if frame.is_local:
        metric = [p for p in placements if p.apart is None][:1]
        frame = GeoFrame.local(scale_known=bool(metric and metric[0].scale_sigma is not None))
        warnings.append(
            "the model is not on the map: its position is unknown; lengths are in metres, from the "
            "scale bars; photos with GPS, or a meta.csv with positions, would place it"
            if frame.scale_known
            else "the model is not on the map: position and scale are unknown, only relative "
            "distances are right; photos with GPS or a meta.csv with positions would place it, a "
            "known length (--scale-bar) would give its scale"
        )
    placed = tuple(c.transformed(p.world_from_model) for c, p in zip(components, placements))
    result = Georeference(frame, placed, tuple(placements), tuple(warnings), numbers=tuple(numbers))
    result = _to_ground(result)
    for warning in result.all_warnings:
        logger.warning("%s", warning)
    progress(1.0, "local frame" if frame.is_local else _lonlat(frame))
    return result


def _frame(
    components: Sequence[Reconstruction], by_id: dict[str, Photo], config: GeorefConfig
) -> GeoFrame:
    positioned = [
        by_id[image.name]
        for component in components
        for image in component.images
        if image.name in by_id and has_position(by_id[image.name])
    ]
    if not positioned or not config.use_gps:
        return GeoFrame.local()
    return choose_frame(positioned)


def _height_warnings(components: Sequence[Reconstruction], by_id: dict[str, Photo]) -> list[str]:
    names = {image.name for component in components for image in component.images}
    positions = [p.gps for name, p in by_id.items() if name in names and p.gps is not None]
    if any(g.height_m is not None and g.height_reference == "unknown" for g in positions):
        return [
            "some photos do not state the reference of their GPS heights: above sea level (EGM96) "
            "is assumed; --gps-heights ellipsoidal changes that"
        ]
    return []


def _place_component(
    label: str,
    component: Reconstruction,
    by_id: dict[str, Photo],
    frame: GeoFrame,
    config: GeorefConfig,
) -> Placement:
    observations = observe(component, by_id, frame, config)
    if not len(component.images):
        return Placement(Similarity.identity(), False, "none")
    if config.scale_bar is None:
        return _placed(label, observations, component, frame, config)
    bars, problems = bar_scale(component, read_scale_bars(config.scale_bar))
    by_bars = observations
    if bars is not None:
        by_bars = replace(observations, scale=(bars.factor, bars.sigma))
    placement = _placed(label, by_bars, component, frame, config)
    notes = list(problems)
    if bars is not None and placement.placed:
        by_gps = place(observations, config)
        if isinstance(by_gps, Placement) and by_gps.scale_sigma is not None:
            used, gps = placement.world_from_model.scale, by_gps.world_from_model.scale
            found = against_gps(bars, gps, by_gps.scale_sigma, used)
            if found is not None:
                off, warning = found
                sigma = max(off, placement.scale_sigma or 0.0)
                placement = replace(placement, scale_sigma=sigma)
                notes.append(warning)
    warnings = (*placement.warnings, *(f"{label}: {note}" for note in notes))
    return replace(placement, warnings=warnings)


def _placed(
    label: str,
    observations: Observations,
    component: Reconstruction,
    frame: GeoFrame,
    config: GeorefConfig,
) -> Placement:
    if frame.is_local:
        return _upright(observations, component)
    found = place(observations, config)
    if isinstance(found, NotPlaced):
        warning = f"{label} is not on the map: {found.reason}"
        return replace(_upright(observations, component), warnings=(warning,))
    warnings = [f"{label}: {w}" for w in found.warnings]
    up = (
        np.array([i.cam_from_world[2, :3] for i in component.images])
        @ (found.world_from_model.rotation[2])
    )
    if np.median(up) > _UPSIDE_DOWN and found.method == "gps":
        # Nadir photos fit mirrored positions if turned over, and only then.
        warning = (
            f"{label} is not on the map: it fits its GPS positions "
            f"({distance(found.rmse_horizontal_m or 0.0)} RMS) only upside down, with cameras that "
            "look up into the sky; the positions are mirrored: check whether longitude and "
            "latitude are swapped, or a W or S is missing"
        )
        return replace(_upright(observations, component), warnings=(warning,))
    if np.median(up) > 0.5:
        warnings.append(
            f"{label}: most cameras look up into the sky; if it is upside down, check the signs of "
            "latitude, longitude and pitch, or give --georef.no-use-attitude"
        )
    warnings += [f"{label}: {w}" for w in contradictions(observations, found, component)]
    return replace(found, warnings=tuple(warnings))


def _place_apart(
    label: str,
    component: Reconstruction,
    distance_m: float,
    by_id: dict[str, Photo],
    config: GeorefConfig,
) -> Placement:
    """Place a component far from the others in a frame, and a UTM zone, of its own."""
    frame = _frame([component], by_id, config)
    placement = _place_component(label, component, by_id, frame, config)
    far = f"{label} is {distance_m / 1000:.0f} km"
    if not placement.placed:
        return replace(placement, warnings=(f"{far} from the others", *placement.warnings))
    placed = component.transformed(placement.world_from_model)
    alone = _to_ground(Georeference(frame, (placed,), (placement,)))
    warning = (
        f"{far} from the others, at {_lonlat(frame)}: it has its own frame and its own products"
    )
    placement = alone.placements[0]
    return replace(placement, apart=alone.frame, warnings=(warning, *placement.warnings))


def _lonlat(frame: GeoFrame) -> str:
    north, east = "N" if frame.lat >= 0 else "S", "E" if frame.lon >= 0 else "W"
    return f"{abs(frame.lat):.4f} {north} {abs(frame.lon):.4f} {east}"


def _upright(observations: Observations, component: Reconstruction) -> Placement:
    """Turn a component upright by attitudes or by how the cameras are held, and centre it on its
    points; known distances give the scale, else it stays as it is."""
    o = observations
    rotation = rotation_to_up(up_in_model(o.displayed_from_model, o.centers).up)
    if o.has_attitude.any():
        agreed = consensus(o.world_from_model_of_attitudes())
        if agreed.tilt_share >= 0.6:
            rotation = agreed.world_from_model
    points = component.points.positions_in_world if len(component.points) else o.centers
    factor, sigma = o.scale or (1.0, None)
    center = factor * np.median(points @ rotation.T, axis=0)
    return Placement(Similarity(factor, rotation, -center), False, "none", scale_sigma=sigma)


def _to_ground(georeference: Georeference) -> Georeference:
    """Move the origin along its vertical to the height of the ground, to a whole metre.

    Moving an ENU frame along its up axis keeps its axes, so this is exact.
    """
    g = georeference
    heights = [
        c.points.positions_in_world[:, 2]
        for c, p in zip(g.components, g.placements)
        if p.placed and p.apart is None and len(c.points)
    ]
    if not heights:
        return g
    up = float(np.round(np.percentile(np.concatenate(heights), 20)))
    frame = replace(g.frame, height_ellipsoidal_m=g.frame.height_ellipsoidal_m + up)
    down = Similarity(1.0, np.eye(3), np.array([0.0, 0.0, -up]))
    components, placements = [], []
    for component, placement in zip(g.components, g.placements):
        if placement.placed and placement.apart is None:
            component = component.transformed(down)
            moved = down.compose(placement.world_from_model)
            placement = replace(placement, world_from_model=moved)
        components.append(component)
        placements.append(placement)
    return replace(g, frame=frame, components=tuple(components), placements=tuple(placements))
