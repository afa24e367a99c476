"""Collect the warnings of a stage, from Voxterra's log and Python's `warnings`, for the user."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from voxterra.core.scope import Scope, current_scope, part_of_scope

_logger = logging.getLogger("voxterra")
_of_python = logging.getLogger("voxterra.python_warnings")


class _Collector(logging.Handler):
    """Collects the warnings that threads of one scope log."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(logging.WARNING)
        self.messages = list[str]()
        self.addFilter(lambda record: record.levelno == logging.WARNING and scope.is_here())

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def collecting_warnings(name: str) -> Iterator[list[str]]:
    """Collect warnings during the block, from this thread and those that work for it.

    That is what Voxterra logs as warnings, and what others raise by `warnings.warn`, NumPy among
    them; the latter is logged, each text once, without what only developers need to know. `name` is
    that of the scope, such as a stage's.
    """
    with part_of_scope(name) as scope:
        collector = _Collector(scope)
        _catch_python_warnings()
        _logger.addHandler(collector)
        try:
            yield collector.messages
        finally:
            _logger.removeHandler(collector)


class _OnlyInRuns(type):
    """Matches every warning in threads of runs, and none in other threads."""

    def __subclasscheck__(cls, kind: type) -> bool:
        here = current_scope() is not None and issubclass(kind, Warning)
        return here and not issubclass(kind, _FOR_DEVELOPERS)


class _WarningOfRun(Warning, metaclass=_OnlyInRuns):
    """A filter in the list of `warnings`."""


_FOR_DEVELOPERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    FutureWarning,
    ImportWarning,
    ResourceWarning,
)

_show_elsewhere = warnings.showwarning


def _catch_python_warnings() -> None:
    """Redirect Python's warnings here, also again where other code has undone that."""
    global _show_elsewhere
    if warnings.showwarning is not _show:
        _show_elsewhere = warnings.showwarning
        warnings.showwarning = _show
    # By default a line of code warns once a process, so a second run would miss the warning. At the
    # end of the list, so that filters that ignore a warning have precedence.
    warnings.simplefilter("always", _WarningOfRun, append=True)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As `warnings.showwarning`: logs warnings of threads of a run; shows others as before."""
    scope = current_scope()
    if scope is None or issubclass(category, _FOR_DEVELOPERS):
        _show_elsewhere(message, category, filename, lineno, file, line)
        return
    where = "/".join(Path(filename).parts[-2:])  # the rest is different on other machines
    text = f"{category.__name__}: {message} ({where}:{lineno})"
    if scope.is_new(text):
        _of_python.warning("%s", text)
