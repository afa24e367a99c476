"""Plan of a run: which stages, of which photos."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from voxterra.core.wording import nearest
from voxterra.errors import NoPhotosError, UsageError
from voxterra.pipeline.engine.stage import Stage
from voxterra.pipeline.folder.run_file import has_run_file

Source = Path | str | Sequence[Path | str]


def planned(
    stages: Sequence[Stage], from_stage: str | None, until: str | None
) -> tuple[Stage, ...]:
    """The stages up to `until`.

    Raises:
        UsageError: no such stage, or `from_stage` comes after `until`.
    """
    names = [stage.name for stage in stages]
    for option, value in (("--from", from_stage), ("--until", until)):
        if value is not None and value not in names:
            raise UsageError(
                f"There is no stage '{value}'{nearest(value, names)}",
                where=option,
                next_step=f"The stages are: {', '.join(names)}.",
            )
    last = names.index(until) if until else len(names) - 1
    if from_stage and names.index(from_stage) > last:
        raise UsageError(
            f"The run would start at {from_stage} but stop after {until}.",
            where="--from, --until",
            next_step=f"The order of the stages is: {', '.join(names)}.",
        )
    return tuple(stages[: last + 1])


def photo_paths(source: Source, out: Path) -> tuple[Path, ...]:
    """The folders, archives or files that hold the photos.

    Raises:
        NoPhotosError: there are none.
        UsageError: the run folder `out` is inside the folder of photos, or that is a run folder.
    """
    paths = tuple(Path(p) for p in ([source] if isinstance(source, Path | str) else source))
    if not paths:
        raise NoPhotosError(
            "No photos were given.",
            where=str(out),
            next_step="Give a folder of photos: voxterra run PHOTOS --out DIR.",
        )
    resolved = out.resolve()
    for path in paths:
        if path.is_dir() and path.resolve() in (resolved, *resolved.parents):
            raise UsageError(
                "The run folder is inside the folder of photos.",
                where=f"--out {out}",
                next_step="Give an --out folder beside the photos, so that results are not "
                "taken for photos.",
            )
    require_photos_not_runs(paths)
    return paths


def require_photos_not_runs(paths: Sequence[Path]) -> None:
    """Refuse run folders: their pictures are made from photos, and are not photos.

    Raises:
        UsageError: one of the paths is a run folder.
    """
    for path in paths:
        if has_run_file(path):
            raise UsageError(
                "This is the folder of a run, not of photos.",
                where=str(path),
                next_step="Give the folder of its photos; voxterra run --out "
                f"{shlex.quote(str(path))} resumes the run.",
            )
