"""Scope of a thread: the run it works for, so that several runs in one process stay separate.

Logs and warnings are sorted by scope. A new thread does not inherit the scope (before Python 3.14):
start threads with `in_scope`, pools with `ScopedThreadPool`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Scope:
    """A run, or a part of one with logs and warnings of its own, such as a stage.

    Attributes:
        name: for people.
        outer: the scope that it is a part of.
    """

    name: str
    outer: Scope | None = None
    _said: set[str] = field(default_factory=set, repr=False)

    def is_here(self) -> bool:
        """Whether the calling thread works for this scope, or for a part of it."""
        scope = _SCOPE.get()
        while scope is not None and scope is not self:
            scope = scope.outer
        return scope is self

    def is_new(self, text: str) -> bool:
        """Whether this text is new in the scope; for messages to be logged once."""
        before = len(self._said)
        self._said.add(text)
        return len(self._said) > before


_SCOPE: ContextVar[Scope | None] = ContextVar("voxterra_scope", default=None)


def current_scope() -> Scope | None:
    """The innermost scope that the calling thread works for; None outside of runs."""
    return _SCOPE.get()


@contextmanager
def part_of_scope(name: str) -> Iterator[Scope]:
    """Work for a new part of the current scope during the block. Not around a `yield` of a
    generator, which would change the scope of its caller; see `iterated_in`."""
    scope = Scope(name, _SCOPE.get())
    token = _SCOPE.set(scope)
    try:
        yield scope
    finally:
        _SCOPE.reset(token)


def in_scope(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap `function` so that another thread runs it in the scope of this one."""
    context = copy_context()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.copy().run(function, *args, **kwargs)  # several threads may call at once

    return call


class ScopedThreadPool(ThreadPoolExecutor):
    """A pool whose threads work in the scope of the submitting thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return super().submit(in_scope(fn), *args, **kwargs)


def iterated_in(scope: Scope, items: Generator[T, None, R]) -> Generator[T, None, R]:
    """Iterate `items`, running each step in `scope`, whichever thread iterates."""
    context = copy_context()
    context.run(_SCOPE.set, scope)
    try:
        while True:
            try:
                item = context.run(next, items)
            except StopIteration as end:
                result: R = end.value
                return result
            yield item
    finally:
        context.run(items.close)
