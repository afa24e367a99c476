"""Upgrade a run folder of format 1: its results are kept, with new fingerprints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxterra.io.files.json_file import read_json
from voxterra.pipeline.engine.sites import site_workspace
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.folder import upgrade as format_1
from voxterra.pipeline.folder.file_hashes import FileHashes
from voxterra.pipeline.folder.fingerprint import fingerprint
from voxterra.pipeline.folder.record import write_record
from voxterra.pipeline.folder.run_file import RUN_FILE, read_run_file
from voxterra.pipeline.folder.workspace import Workspace
from voxterra.pipeline.recipe.config import recorded_config
from voxterra.pipeline.recipe.presets import settled
from voxterra.pipeline.recipe.surface_files import backend_that_made

log = logging.getLogger(__name__)


def upgrade(workspace: Workspace, table: Sequence[Stage], hashes: FileHashes) -> tuple[str, ...]:
    """Update the records of a run folder of format 1; leave others alone.

    A result is kept if its record matches the recorded options, as 0.1 fingerprinted them. The
    records are written one by one, each atomically, so that a killed upgrade is done again; the
    run file gets its new format when the run records its options.

    Args:
        workspace: of the run.
        table: the stages of today.
        hashes: of the run's files.

    Returns:
        names of stages whose results cannot be kept, and will be made again.

    Raises:
        VoxterraError: the run file is damaged, or has options that this version does not know.
    """
    raw = read_json(workspace.root / RUN_FILE)
    if not isinstance(raw, dict) or raw.get("format") != format_1.FORMAT:
        return ()
    first = workspace.record("ingest")
    if first is None:
        return ()
    now = read_run_file(workspace.root)
    where = str(workspace.root / RUN_FILE)
    config = settled(recorded_config(now["config"], where=where), workspace)
    paths = _paths(now["config"], raw.get("paths_from_run", {}))
    backend, options = backend_that_made(workspace) or "fusion", raw["config"]
    source = {"source": first.inputs["source"]}
    old = format_1.fingerprints_of_0_1(options, backend, source, paths, hashes.of_option)
    new = _fingerprints(table, config, source, hashes)
    results = dict(source)
    redone = _carry(workspace, table, old, new, results)
    splits = next((stage.splits for stage in table if stage.splits), None)
    for site, its_config in splits(workspace, config) if splits and "georef" in results else ():
        which = " ".join(map(str, site.numbers))
        own = site_workspace(workspace, site)
        given = ("ingest", "sfm")
        old_source = source | {name: f"{old[name]} {which}" for name in given}
        its_options = _options_of_site(options)
        its_old = format_1.fingerprints_of_0_1(
            its_options, backend, old_source, paths, hashes.of_option
        )
        its_new = _fingerprints(
            table, its_config, source | {name: f"{new[name]} {which}" for name in given}, hashes
        )
        its_results = source | {name: f"{results[name]} {which}" for name in given}
        gone = _carry(own, table, its_old, its_new, its_results)
        redone += [f"{name} of {site.describe()}" for name in gone]
    if redone:
        log.warning("results of Voxterra 0.1 that are made again: %s", ", ".join(redone))
    return tuple(redone)


def _fingerprints(
    table: Sequence[Stage], config: Any, source: Mapping[str, str], hashes: FileHashes
) -> dict[str, str]:
    found = dict(source)
    for stage in table:
        if stage.name not in found:
            inputs = {name: found[name] for name in stage.inputs}
            options = stage.options(config)
            found[stage.name] = fingerprint(
                stage.name, stage.code_version, options, inputs, hashes.of_option
            )
    return found


def _carry(
    workspace: Workspace,
    table: Sequence[Stage],
    old: Mapping[str, str],
    new: Mapping[str, str],
    results: dict[str, str],
) -> list[str]:
    """Rewrite the records that fit; `results` gets the names of the results. Returns the others."""
    redone = []
    for stage in table:
        if stage.name not in format_1.KEPT or stage.name in results:
            continue
        record = workspace.record(stage.name)
        if record is None:
            break
        fits = record.fingerprint in (old[stage.name], new[stage.name])
        current = all(results.get(name) == result for name, result in record.inputs.items())
        if not (fits and current):
            redone.append(stage.name)
            break  # what follows was made of it
        results[stage.name] = record.result
        inputs = {name: results[name] for name in stage.inputs}
        record = replace(record, fingerprint=new[stage.name], inputs=inputs)
        write_record(record, workspace.stage_dir(stage.name))
    return redone


def _options_of_site(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of 0.1 for another site: without options meant for one place."""
    changed = {
        "georef": {"crs": None},
        "surface": {"bounds_m": None},
        "voxels": {"bound": None},
    }
    return {**config, **{name: {**config[name], **values} for name, values in changed.items()}}


def _paths(config: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, Path]:
    """Current paths of options that name files, by "section.option"."""
    found = {}
    for option in named:
        section, name = option.split(".")
        if config.get(section, {}).get(name):
            found[option] = Path(config[section][name])
    return found
