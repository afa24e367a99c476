"""Plugins by name: lazily, and a broken one breaks nothing."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Protocol

import pytest

from voxterra.core import registry as module
from voxterra.core.registry import Registry
from voxterra.errors import MissingPartError, UsageError


class Greeter(Protocol):
    name: str

    def greet(self) -> str: ...


class Hello:
    name = "hello"

    def greet(self) -> str:
        return "hello"


def make(monkeypatch: pytest.MonkeyPatch, **installed: str) -> Registry[Greeter]:
    """A registry with one built-in plugin, and those that packages bring."""
    dist = SimpleNamespace(name="their-package")
    points = []
    for name, value in installed.items():
        point = EntryPoint(name, value, "test.greeters")
        vars(point).update(dist=dist)
        points.append(point)
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    return Registry("greeter", "test.greeters", Greeter, {"hello": f"{__name__}:Hello"})


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module by its name, as the registry imports it."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or SimpleNamespace())
    monkeypatch.setattr(sys.modules[__name__], "Hello", Hello, raising=False)


def test_plugins_come_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = make(monkeypatch, moin=f"{__name__}:Hello")
    assert found.names() == ("hello", "moin")
    assert found.get("moin").greet() == "hello"
    assert found.is_built_in("hello") and not found.is_built_in("moin")
    with pytest.raises(UsageError, match="did you mean 'hello'"):
        found.get("helo")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module_at_all:Plugin", "ModuleNotFoundError"),
        (f"{__name__}:NoSuchName", "AttributeError"),
        ("types:SimpleNamespace", "lacks: greet, name"),
    ],
)
def test_a_broken_plugin_is_unavailable_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, target: str, reason: str
) -> None:
    found = make(monkeypatch, broken=target, moin=f"{__name__}:Hello")
    assert set(found.available()) == {"hello", "moin"}
    (gone,) = found.unavailable()
    assert gone.name == "broken" and reason in gone.reason and gone.provider == "their-package"
    with pytest.raises(MissingPartError, match="unavailable"):
        found.get("broken")


def test_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = make(monkeypatch, hello="types:SimpleNamespace")
    assert found.names() == ("hello",) and found.unavailable() == ()
    with pytest.raises(UsageError, match="already"):
        found.register("hello", Hello)
    found.register("mine", Hello)
    assert found.get("mine").greet() == "hello"
    found.unregister("mine")
    assert found.names() == ("hello",)
