"""Progress of a long computation, and how to cancel it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by a stage as it advances.

    The callable may raise `voxterra.errors.Cancelled`; a stage lets it pass through, so that
    calling progress often is what makes a stage cancellable.
    """

    def __call__(self, fraction: float, message: str = "") -> None:
        """`fraction` in [0, 1] of the stage; `message` is a short phrase such as "12/18 photos"."""


def no_progress(fraction: float, message: str = "") -> None:
    """A `Progress` that ignores its arguments."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """The part of `progress` from `start` to `stop`, itself a `Progress` from 0 to 1."""

    def report(fraction: float, message: str = "") -> None:
        progress(start + (stop - start) * fraction, message)

    return report
