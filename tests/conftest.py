"""Shared fixtures. Data sets outside the repository lie in `shared/data` beside the checkout."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wording import Wording

# As the program does (`cli.main`): tests side by side have more threads than there are cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPO = Path(__file__).resolve().parent.parent
WORDING = REPO / "tests" / "data" / "wording.txt"
BROWSER_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


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


@pytest.fixture
def page(tmp_path: Path) -> Iterator[object]:
    """A page of Chromium."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium here (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=program,
            args=list(BROWSER_ARGS),
            viewport={"width": 900, "height": 600},
        )
        yield browser.new_page()
        browser.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run tests marked slow")
    parser.addoption(
        "--nightly", action="store_true", help="sweep every case, and run tests marked nightly"
    )
    parser.addoption(
        "--update-wording",
        action="store_true",
        help="rewrite tests/data/wording.txt with what the tests see now (with -n0)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, option in (("slow", "--runslow"), ("nightly", "--nightly")):
        if config.getoption(option):
            continue
        for item in items:
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: run with {option}"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of two processes one has all tests of the voxel engine, whose kernels are then compiled once.

    The others go to whoever is free, file by file.
    """
    if (config.getoption("dist"), config.getoption("numprocesses")) != ("loadfile", 2):
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneForVoxels(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return (
                "voxels" if {"voxel", "voxels", "train"} & set(re.split(r"[_./]", file)) else file
            )

    return OneForVoxels(config, log)


@pytest.fixture(scope="session")
def every(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Step of a sweep: 1 by night, else `every(n)` is n, so that each n-th case is tried."""
    nightly = request.config.getoption("--nightly")
    return lambda n: 1 if nightly else n


@pytest.fixture
def wording(request: pytest.FixtureRequest, tmp_path: Path) -> Wording:
    """`wording(name, text)`: the text is the one of that name in tests/data/wording.txt."""
    update = request.config.getoption("--update-wording")
    if update and hasattr(request.config, "workerinput"):
        raise pytest.UsageError("--update-wording works in one process: give -n0")
    return Wording(WORDING, tmp_path, update=update)
