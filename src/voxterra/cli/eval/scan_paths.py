"""Paths of several scans: command lines with a placeholder for the name of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from voxterra.errors import UsageError, VoxterraError

TEST_STAT = "test_stat"


@contextmanager
def named(path: Path, name: str) -> Iterator[None]:
    """Add the result and its scan to errors without a `where`."""
    try:
        yield
    except VoxterraError as error:
        if error.where is None:
            error.where = f"{path}, scan {name}"
        raise


def filled(path: Path, place: str, name: str) -> Path:
    """The path of one scan: `place`, such as {scan}, is replaced by its name."""
    return Path(str(path).replace(place, name))


def stat_folder(result: Path, place: str) -> Path:
    """`test_stat` in the folder of the result, above what differs from scan to scan."""
    parts = result.parts
    differing = next((i for i, part in enumerate(parts) if place in part), None)
    if differing is not None:
        return Path(*parts[:differing]) / TEST_STAT
    return (result if result.is_dir() else result.parent) / TEST_STAT


def check_names(
    names: Sequence[str], example: str, paths: tuple[Path | None, ...], place: str
) -> None:
    """Scans are named, and several of them have paths of their own.

    Args:
        names: of the scans.
        example: the option with a value.
        paths: that differ from scan to scan; None = not given.
        place: what stands for the name in them.

    Raises:
        UsageError: they are not.
    """
    option = example.split()[0]
    if not names:
        raise UsageError(
            "No result to score is given.",
            where=option,
            next_step=f"Name it, for example: {example}",
        )
    single = [path for path in paths if path is not None and place not in str(path)]
    if len(names) > 1 and single:
        raise UsageError(
            f"There are {len(names)} of {option}, but one path for all of them.",
            where=str(single[0]),
            next_step=f"Write {place} where the path differs, in quotes: 'out/{place}/mesh.ply'.",
        )


def check_positive(**values: float) -> None:
    """Values of options are above 0.

    Raises:
        UsageError: one is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise UsageError(
                f"{value:g} is no length.",
                where=f"--{name.replace('_', '-')}",
                next_step="Give a number above 0.",
            )
