"""Options of the report."""

from __future__ import annotations

from dataclasses import dataclass

from voxterra.errors import UsageError


@dataclass(frozen=True)
class ReportConfig:
    """How `report.html` is written."""

    title: str | None = None
    """Its title, such as the name of the site; None: "Reconstruction report"."""

    picture_px: int = 1000
    """Longest side of its pictures [px]. They are part of the file, which 1000 keeps near 1 MB."""


def check(config: ReportConfig) -> None:
    """Find options that cannot work, before hours of work.

    Raises:
        UsageError: one is out of its range.
    """
    if not 100 <= config.picture_px <= 4000:
        raise UsageError(
            f"--report.picture-px cannot be {config.picture_px}.",
            where="--report.picture-px",
            next_step="Give 100 to 4000 pixels, such as 1000.",
        )
