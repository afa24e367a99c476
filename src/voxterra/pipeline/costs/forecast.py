"""Before a run starts: estimate what it takes, and check that memory and disk suffice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxterra.core.costs import Cost
from voxterra.core.machine import disk_free_bytes, gigabytes
from voxterra.errors import OutputError, VoxterraError
from voxterra.pipeline import machine
from voxterra.pipeline.costs.estimate import (
    BASIS,
    Estimate,
    PhotoSizes,
    estimate,
    photo_sizes,
)
from voxterra.pipeline.events import RunEstimated
from voxterra.pipeline.recipe.presets import PRESETS, preset

_SMALLER_DEPTH = (1600, 1200, 800, 600)  # tried as --depth.max-size


def forecast(
    source: Sequence[Path],
    config: Any,
    stages: Sequence[str],
    out: Path,
    others: Sequence[tuple[int, Sequence[str]]] = (),
) -> RunEstimated | None:
    """Estimate `stages` on this machine; None if there are none, or no photo can be read.

    `others` are the number of photos of each other site, and the stages to do there.
    """
    some = bool(stages) or any(names for _, names in others)
    sizes = photo_sizes(source) if some else None
    if sizes is None:
        return None
    found = estimate_sites(sizes, config, machine.cores(), stages, others)
    total, free = machine.memory()
    return RunEstimated(
        tuple(found.stages),
        sizes.count,
        round(sizes.megapixels(), 2),
        round(found.seconds, 1),
        int(found.memory_bytes),
        int(found.disk_bytes),
        found.largest_stage,
        free,
        total,
        disk_free_bytes(out),
        BASIS,
    )


def estimate_sites(
    sizes: PhotoSizes,
    config: Any,
    cores: int,
    stages: Sequence[str],
    others: Sequence[tuple[int, Sequence[str]]],
) -> Estimate:
    """Estimate a run of several sites, done one after the other.

    Args:
        sizes: of all photos.
        config, cores: as in `estimate`.
        stages: names of the stages to do for the main site.
        others: for each other site, its number of photos and names of the stages to do.
    """
    elsewhere = sum(count for count, _ in others)
    costs: dict[str, Cost] = {}
    for count, names in [(max(sizes.count - elsewhere, 0), stages), *others]:
        found = estimate(replace(sizes, count=count), config, cores, names).stages
        for name, cost in found.items():
            known = costs.get(name, Cost(0.0, 0.0))
            costs[name] = Cost(
                known.seconds + cost.seconds,
                max(known.memory_bytes, cost.memory_bytes),
                known.disk_bytes + cost.disk_bytes,
            )
    return Estimate(sizes, costs)


def require_resources(
    expected: RunEstimated, config: Any, *, force: bool, out: Path | None = None
) -> Iterator[str]:
    """Yield warnings where memory or disk is tight.

    Args:
        expected: the estimate.
        config: the `RunConfig` it is for.
        force: warn instead of refusing.
        out: the run folder, to name it.

    Raises:
        VoxterraError: the machine has less memory than the estimate.
        OutputError: the disk has less space than the estimate.
    """
    need, stage = expected.memory_bytes, f"stage {expected.largest_stage}"
    total, free = expected.memory_total_bytes, expected.memory_free_bytes
    if total is not None and need > total:
        what = f"The run would need about {gigabytes(need)} of memory; this machine has "
        what += gigabytes(total)
        if not force:
            raise VoxterraError(
                f"{what}.", where=stage, next_step=f"{_advice(expected, config)} Or try --force."
            )
        yield f"{what}: it may be killed"
    elif free is not None and need > free:
        yield (
            f"memory is tight: about {gigabytes(need)} are needed, {gigabytes(free)} are free; "
            "close other programs"
        )
    if expected.disk_free_bytes is not None and expected.disk_bytes > expected.disk_free_bytes:
        what = (
            f"The run folder would grow by about {gigabytes(expected.disk_bytes)}; the disk has "
            f"{gigabytes(expected.disk_free_bytes)} left"
        )
        if not force:
            raise OutputError(
                f"{what}.",
                where="--out" if out is None else f"--out {out}",
                next_step="Make space, give an --out on another disk, or take a smaller --preset. "
                "Or try --force.",
            )
        yield f"{what}: it may end early"


def describe_estimate(expected: RunEstimated) -> str:
    """Such as "18 photos of 1.4 MP: about 7 min, 3.0 GB of memory (20 GB free), ..."."""
    memory = f"{gigabytes(expected.memory_bytes)} of memory"
    if expected.memory_free_bytes is not None:
        memory += f" ({gigabytes(expected.memory_free_bytes)} free)"
    disk = f"{gigabytes(expected.disk_bytes)} of disk"
    if expected.disk_free_bytes is not None:
        disk += f" ({gigabytes(expected.disk_free_bytes)} free)"
    photos = f"{expected.photos} photo{'s' * (expected.photos != 1)} of {expected.megapixels:g} MP"
    return (
        f"{photos}: about {rounded_time(expected.seconds)}, {memory}, {disk}.\n({expected.basis})"
    )


def _advice(expected: RunEstimated, config: Any) -> str:
    """The largest of some smaller settings that fits into the memory."""
    total = expected.memory_total_bytes or 0
    side = (expected.megapixels * 1e6) ** 0.5
    sizes = PhotoSizes(expected.photos, round(side * 1.155), round(side / 1.155))  # of 4:3

    def need(smaller: Any) -> float:
        return estimate(sizes, smaller, machine.cores(), expected.stages).memory_bytes

    for name in reversed(PRESETS):
        smaller = replace(preset(name, config.machine), backend=config.backend)
        if need(smaller) < min(expected.memory_bytes, total):
            return f"Take --preset {name}, for about {gigabytes(need(smaller))}."
    for size in _SMALLER_DEPTH:
        smaller = replace(config, depth=replace(config.depth, max_size=size, color_max_size=size))
        if need(smaller) < min(expected.memory_bytes, total):
            options = f"--depth.max-size {size} --depth.color-max-size {size}"
            return f"Take {options}, for about {gigabytes(need(smaller))}."
    return "Take fewer photos at a time, or a machine with more memory."


def rounded_time(seconds: float) -> str:
    """Such as "45 s", "12 min" or "3.5 h", for an estimate."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
