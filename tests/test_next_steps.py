"""Every error a user can meet says what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from voxterra import errors

SOURCES = Path(errors.__file__).resolve().parent
WITHOUT = {"Cancelled"}  # the user stopped it and knows
KINDS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.VoxterraError)
} - WITHOUT


def silent_errors(source: str) -> Iterator[int]:
    """Lines where an error of `voxterra.errors` is made without a next step."""
    nodes = list(ast.walk(ast.parse(source)))
    raised = {node.exc for node in nodes if isinstance(node, ast.Raise)}
    for node in nodes:
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            # The kind may be in a variable: `raise kind("no room", where=path)`.
            is_kind = name in KINDS or (
                node in raised and any(k.arg == "where" for k in node.keywords)
            )
            steps = [k.value for k in node.keywords if k.arg == "next_step"]
            empty = any(isinstance(s, ast.Constant) and not s.value for s in steps)
            if is_kind and (not steps or empty):
                yield node.lineno


def test_an_error_without_a_next_step_is_found():
    assert list(silent_errors("raise FormatError('cut off', where='a.ply')")) == [1]
    assert list(silent_errors("raise errors.GeoError('no CRS', next_step=None)")) == [1]
    assert list(silent_errors("raise kind('no room', where='a.zip')")) == [1]
    assert not list(silent_errors("raise GeoError('no CRS', next_step='Give --crs.')"))


def test_every_error_tells_a_next_step():
    files = sorted(SOURCES.rglob("*.py"))
    assert len(files) > 100
    silent = [
        f"{file.relative_to(SOURCES)}:{line}"
        for file in files
        for line in silent_errors(file.read_text(encoding="utf-8"))
    ]
    assert not silent
