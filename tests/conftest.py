"""Shared fixtures. Data sets outside the repository lie in `shared/data` beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


def shared_data_root() -> Path:
    return Path(os.environ.get("VOXTERRA_SHARED_DATA", REPO.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Function from a data set's name to its folder; skips the test when it is absent."""

    def find(name: str) -> Path:
        folder = shared_data_root() / name
        if not folder.is_dir():
            pytest.skip(f"data set {name} is not beside the checkout (shared/data/{name})")
        return folder

    return find


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --runslow"))
