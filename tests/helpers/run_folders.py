"""What a run folder may hold, however the run ended."""

from __future__ import annotations

import json
from pathlib import Path


def half_written(out: Path) -> list[str]:
    """What should not be in a run folder: empty when all is well.

    Stages that were stopped work in hidden folders (`stages/.NAME.partial`), from which they go on;
    everything else must be whole: no temporary files, no stage without its record, no product that
    no stage names, no product named that is not there.
    """
    if not out.exists():
        return []
    faults, named = [], set()
    apart = sorted((out / "components").glob("*"))
    worlds = [(out, "products"), *((p, f"products/component_{p.name}") for p in apart)]
    for root, products in worlds:
        stages = root / "stages"
        for stage in sorted(stages.iterdir()) if stages.is_dir() else ():
            if stage.is_dir() and not stage.name.startswith("."):
                try:
                    record = json.loads((stage / "fingerprint.json").read_text())
                    files = [path.removeprefix("products/") for path, _ in record["products"]]
                    named |= {f"{products}/{file}" for file in files}
                except (OSError, ValueError, KeyError):
                    faults.append(f"stage {stage.name} of {root.name} has no record")
    for file in sorted((out / "products").rglob("*")):
        if file.is_file() and file.relative_to(out).as_posix() not in named:
            faults.append(f"{file.name} is no stage's product")
    faults += [f"{path} is not there" for path in sorted(named) if not (out / path).is_file()]
    for file in out.rglob("*"):
        at_work = any(part.endswith(".partial") for part in file.parts)
        if ".tmp" in file.name and not at_work:
            faults.append(f"{file.name} is left")
    return faults
