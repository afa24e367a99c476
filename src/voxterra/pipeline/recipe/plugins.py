"""Plugins in a run: all registries, options of plugins, and the plugin a run uses."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import field, fields, make_dataclass, replace
from functools import cache
from typing import Any

from voxterra.core.registry import Registry
from voxterra.surface.backend import BACKENDS, SurfaceBackend

log = logging.getLogger(__name__)

# What can be extended, in the order in which a run meets it.
_REGISTRIES = {
    "depth sources": "voxterra.depth.source:DEPTH_SOURCES",
    "surface backends": "voxterra.surface.backend:BACKENDS",
    "engines": "voxterra.pipeline.engine.tasks:ENGINES",
    "exporters": "voxterra.products.exporter:EXPORTERS",
}

# The section of `RunConfig` that holds the options of a plugin that is built in; those of other
# plugins lie in `RunConfig.plugins`, by the plugin's name.
_SECTIONS = {"fusion": "surface", "voxels": "voxels"}


def registries() -> dict[str, Registry[Any]]:
    """Registries of all kinds of plugins, by their name for people."""
    found = {}
    for kind, target in _REGISTRIES.items():
        module, _, name = target.partition(":")
        found[kind] = getattr(importlib.import_module(module), name)
    return found


def installed_with_options() -> Iterator[tuple[str, Any]]:
    """Name and plugin of those that are not built in and have options."""
    seen: set[str] = set()
    for kind, registry in registries().items():
        for name, plugin in registry.available().items():
            if registry.is_built_in(name) or getattr(plugin, "options", None) is None:
                continue
            if name in seen:
                log.warning("two plugins are named '%s'; the options are the first one's", name)
                continue
            log.debug("options of the plugin '%s' (%s)", name, kind)
            seen.add(name)
            yield name, plugin


def plugin_options() -> Any:
    """Default options of all installed plugins: one field a plugin.

    Names become Python's: the plugin "my-splats" has the field `my_splats` and the flags
    `--my-splats.option`.
    """
    found = tuple((name, plugin.options) for name, plugin in installed_with_options())
    return _options_class(found)()


@cache
def _options_class(found: tuple[tuple[str, type[Any]], ...]) -> type[Any]:
    columns = [(field_name(name), kind, field(default_factory=kind)) for name, kind in found]
    return make_dataclass("PluginOptions", columns, frozen=True)


def field_name(plugin: str) -> str:
    """A plugin's name as that of a field."""
    return plugin.replace("-", "_").replace(".", "_")


def options_by_plugin(plugins: Any) -> Mapping[str, Any]:
    """Options of `RunConfig.plugins`, by the names of the fields."""
    return {f.name: getattr(plugins, f.name) for f in fields(plugins)}


def options_of(config: Any, name: str) -> Any:
    """The options of a plugin in a `RunConfig`; None where it has none."""
    if name in _SECTIONS:
        return getattr(config, _SECTIONS[name])
    return getattr(config.plugins, field_name(name), None)


def with_options(config: Any, name: str, options: Any) -> Any:
    """A copy of a `RunConfig` with other options for one plugin."""
    if name in _SECTIONS:
        return replace(config, **{_SECTIONS[name]: options})
    return replace(config, plugins=replace(config.plugins, **{field_name(name): options}))


def backend_of(config: Any) -> SurfaceBackend:
    """The surface backend of a settled `RunConfig`, without "auto".

    Raises:
        UsageError: there is none of that name.
        MissingPartError: it does not load.
    """
    return BACKENDS.get(config.backend)


def backend_sections(*, but: str) -> tuple[str, ...]:
    """Sections of a `RunConfig` that only backends other than `but` read."""
    # Every surface has a fused cloud, so that the options of fusion always count.
    return tuple(_SECTIONS[name] for name in _SECTIONS if name not in (but, "fusion"))
