"""All products of the known scene, made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import known_wall
import pytest
from known_scene import GEO, Made, make, make_apart

from voxterra.core.geo import GeoFrame
from voxterra.products.config import ProductsConfig
from voxterra.products.exporter import EXPORTERS


@pytest.fixture(scope="session")
def geo(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(GEO, tmp_path_factory.mktemp("geo"), ProductsConfig(license="CC0-1.0"))


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """With a second component in Australia, and a third that nothing places."""
    return make_apart(tmp_path_factory.mktemp("apart"))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(GeoFrame.local(), tmp_path_factory.mktemp("local"), ProductsConfig())


@pytest.fixture(scope="session")
def facade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products of photos that look across at a wall."""
    folder = tmp_path_factory.mktemp("facade")
    known_wall.make(folder, ProductsConfig(skip=("mesh", "cameras")))
    return folder


@pytest.fixture
def registered() -> Iterator[Callable[..., None]]:
    """Registers exporters for one test."""
    names: list[str] = []

    def register(*exporters):
        for exporter in exporters:
            EXPORTERS.register(exporter.name, exporter)
            names.append(exporter.name)

    yield register
    for name in names:
        EXPORTERS.unregister(name)
