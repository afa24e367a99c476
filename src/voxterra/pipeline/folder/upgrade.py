"""Run folders of format 1, written by Voxterra 0.1: their options and fingerprints.

This module is frozen: it describes 0.1 and never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxterra.pipeline.folder.fingerprint import OfPath, fingerprint

FORMAT = 1

# The stages of 0.1: name, what each read, sections of options, version of its code.
_STAGES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], int], ...] = (
    ("ingest", ("source",), ("ingest",), 3),
    ("sfm", ("ingest",), ("sfm",), 7),
    ("georef", ("ingest", "sfm"), ("georef",), 4),
    ("depth", ("ingest", "georef"), ("depth",), 1),
    ("surface", ("depth",), ("surface",), 1),
    ("mesh", ("surface", "depth"), ("mesh", "texture"), 1),
)

KEPT = tuple(name for name, *_ in _STAGES)
"""Stages whose results of 0.1 are kept. For the same photos and options they are those of today;
but 0.1 kept no weak depth, and judged pieces of the mesh that lie alone by their share of the
largest piece."""

_PRODUCTS = ("glb", "obj", "mesh_ply", "laz", "cloud_ply", "dsm", "ortho", "cameras")
_SHARES_OF_LARGEST_PIECE = ("min_component_fraction", "max_island_fraction")

# Options that made no difference to a result.
_DO_NOT_COUNT = {
    "ingest": ("workers",),
    "depth": ("device",),
    "voxels": ("device", "data_device", "save_every", "view_every", "subdivide_save_gpu"),
}
_OF_CLOUD = (
    "voxel_size_m",
    "voxel_factor",
    "min_views",
    "max_footprint_voxels",
    "bounds_m",
    "cloud_voxel_size_m",
    "max_points",
    "cloud_tolerance",
    "cloud_neighbors",
)


def options_of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of format 1 under their current names."""
    config = {name: dict(v) if isinstance(v, Mapping) else v for name, v in config.items()}
    if isinstance(georef := config.get("georef"), dict):
        moved = {name: georef.pop(name) for name in ("crs", "heights") if name in georef}
        config["map"] = moved
    if isinstance(products := config.get("products"), dict) and "products" in products:
        names = products.pop("products")
        products["only"] = [] if len(names) == len(_PRODUCTS) else names
    if isinstance(mesh := config.get("mesh"), dict):
        for name in _SHARES_OF_LARGEST_PIECE:  # areas now, with defaults of about their size
            mesh.pop(name, None)
    return config


def fingerprints_of_0_1(
    config: Mapping[str, Any],
    backend: str,
    source: Mapping[str, str],
    paths: Mapping[str, Path],
    of_path: OfPath,
) -> dict[str, str]:
    """The fingerprints that 0.1 gave the results of a run, by stage.

    Args:
        config: its options, as recorded.
        backend: that made its surface: "fusion" or "voxels".
        source: fingerprints of outside inputs: of the photos as "source"; for a site also those of
            the main site's stages that it uses.
        paths: current paths of options that name a file or a folder, by "section.option".
        of_path: as in `fingerprint`.
    """
    found = dict(source)
    for name, inputs, sections, version in _STAGES:
        if name in found:
            continue
        options: dict[str, Any] = {s: _counting(config, s, paths) for s in sections}
        if name == "surface" and backend == "voxels":
            surface = _counting(config, "surface", paths)
            options = {
                "backend": "voxels",
                "version": 6,
                "surface": {key: surface[key] for key in _OF_CLOUD},
                "voxels": _counting(config, "voxels", paths),
            }
        read = {key: found[key] for key in inputs}
        found[name] = fingerprint(name, version, options, read, of_path)
    return found


def _counting(config: Mapping[str, Any], section: str, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Options of a section that counted; files as paths, so that their content counts."""
    ignored = _DO_NOT_COUNT.get(section, ())
    values = {k: v for k, v in config[section].items() if k not in ignored}
    return {k: paths.get(f"{section}.{k}", v) for k, v in values.items()}
