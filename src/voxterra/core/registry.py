"""Plugins by name: built-in ones, and those of installed packages.

A registry maps names to "module:attribute", so that nothing is imported before it is used. An
installed package adds names by an entry point in the registry's group; `docs/extending.md` shows
how. A plugin that does not load is `Unavailable` with its reason, and breaks nothing else.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from voxterra.core.wording import nearest
from voxterra.errors import MissingPartError, UsageError

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unavailable:
    """A plugin that is installed but cannot be used.

    Attributes:
        name: of the plugin.
        reason: one line, why.
        provider: the installed package that provides it; "" if it is built in.
    """

    name: str
    reason: str
    provider: str = ""


class Registry(Generic[T]):
    """Plugins of one kind, by name.

    Args:
        kind: what the plugins are, in errors: "surface backend".
        group: entry-point group of installed plugins: "voxterra.backends".
        protocol: the `Protocol` that plugins follow; each public member must be there.
        built_in: name -> "module:attribute". The attribute is the plugin, or a class without
            arguments that makes it.
    """

    def __init__(self, kind: str, group: str, protocol: type[T], built_in: Mapping[str, str]):
        self.kind, self.group = kind, group
        self._protocol, self._built_in = protocol, dict(built_in)
        self._registered: dict[str, Any] = {}
        self._installed: dict[str, tuple[str, str]] | None = None  # name -> (target, provider)
        self._loaded: dict[str, T | Unavailable] = {}

    def names(self) -> tuple[str, ...]:
        """All names: built in, registered, installed; also of plugins that do not load."""
        return (*self._built_in, *self._registered, *sorted(self._found()))

    def is_built_in(self, name: str) -> bool:
        """Whether a plugin comes with Voxterra."""
        return name in self._built_in

    def register(self, name: str, plugin: T | type[T]) -> None:
        """Add a plugin for this process, without installing a package.

        Raises:
            UsageError: the name is taken, or the plugin lacks a member of the protocol.
        """
        if name in self._built_in or name in self._found():
            raise UsageError(
                f"There is a {self.kind} named '{name}' already.",
                where=name,
                next_step="Register yours under another name.",
            )
        made = self._checked(name, plugin)
        self._registered[name] = self._loaded[name] = made

    def unregister(self, name: str) -> None:
        """Remove a plugin that `register` added; unknown names are ignored."""
        if self._registered.pop(name, None) is not None:
            self._loaded.pop(name, None)

    def get(self, name: str) -> T:
        """The plugin of a name.

        Raises:
            UsageError: there is no such plugin.
            MissingPartError: it is installed but does not load.
        """
        if name not in self.names():
            raise UsageError(
                f"There is no {self.kind} '{name}'{nearest(name, self.names())}",
                where=name,
                next_step=f"Choose one of: {', '.join(self.names())}.",
            )
        found = self._load(name)
        if isinstance(found, Unavailable):
            raise MissingPartError(
                f"The {self.kind} '{name}' is unavailable: {found.reason}",
                where=found.provider or name,
                next_step=f"Repair or remove the package {found.provider or 'voxterra'}, or choose "
                "another one; voxterra doctor lists them.",
            )
        return found

    def available(self) -> dict[str, T]:
        """All plugins that load, by name."""
        found = {name: self._load(name) for name in self.names()}
        return {name: p for name, p in found.items() if not isinstance(p, Unavailable)}

    def unavailable(self) -> tuple[Unavailable, ...]:
        """Plugins that are installed but do not load."""
        found = [self._load(name) for name in self.names()]
        return tuple(plugin for plugin in found if isinstance(plugin, Unavailable))

    def forget(self) -> None:
        """Look for installed plugins again at the next call; for tests and long-lived servers."""
        self._installed, self._loaded = None, dict(self._registered)

    def _found(self) -> dict[str, tuple[str, str]]:
        """Installed plugins: name -> ("module:attribute", package)."""
        if self._installed is None:
            self._installed = {}
            for point in entry_points(group=self.group):
                provider = point.dist.name if point.dist else ""
                if point.name in self._built_in or point.name in self._registered:
                    log.warning(
                        "the %s '%s' of the package %s is skipped: the name is taken",
                        self.kind,
                        point.name,
                        provider,
                    )
                    continue
                self._installed[point.name] = (point.value, provider)
        return self._installed

    def _load(self, name: str) -> T | Unavailable:
        if name not in self._loaded:
            target, provider = self._found().get(name) or (self._built_in[name], "")
            try:
                module, _, attribute = target.partition(":")
                plugin = getattr(importlib.import_module(module), attribute)
                self._loaded[name] = self._checked(name, plugin)
            except Exception as error:  # a broken package may raise anything
                what = error.what if isinstance(error, UsageError) else error
                reason = f"{type(error).__name__}: {what}".split("\n")[0]
                if not provider:  # a fault of ours is not hidden
                    raise
                self._loaded[name] = Unavailable(name, reason, provider)
        return self._loaded[name]

    def _checked(self, name: str, plugin: T | type[T]) -> T:
        made = cast(T, plugin() if isinstance(plugin, type) else plugin)
        missing = [member for member in _members(self._protocol) if not hasattr(made, member)]
        if missing:
            raise UsageError(
                f"The {self.kind} '{name}' lacks: {', '.join(missing)}.",
                where=name,
                next_step="docs/extending.md lists what a plugin needs.",
            )
        options = getattr(made, "options", None)
        if options is not None and not (isinstance(options, type) and is_dataclass(options)):
            raise UsageError(
                f"The options of the {self.kind} '{name}' are no dataclass.",
                where=name,
                next_step="Make them a frozen dataclass with a default for each field.",
            )
        return made


def _members(protocol: type) -> list[str]:
    names = {*vars(protocol), *getattr(protocol, "__annotations__", {})}
    return sorted(name for name in names if not name.startswith("_"))
