"""The package as a whole: light to import, free of GPL, the same as its CLI."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent
HEAVY = ("pycolmap", "numba", "torch", "rasterio", "cv2", "scipy", "skimage", "trimesh", "gradio")


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded after a snippet, in a fresh interpreter."""
    program = f"{code}\nimport sys; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(out.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import voxterra",
        "import voxterra as vt; vt.RunConfig; vt.preset('preview')",
        "from voxterra.cli.main import main; main(['--help'])",
        "import voxterra.pipeline.recipe.stages, voxterra.pipeline.run",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    assert not modules_after(code) & set(HEAVY)


def test_help_is_quick():
    def once() -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "voxterra", "--help"], check=True, capture_output=True
        )
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.4


@pytest.mark.parametrize("name", sorted(vt._PUBLIC))
def test_every_public_name_is_there(name):
    assert getattr(vt, name) is not None
    assert name in dir(vt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = vt.no_such_thing


def runtime_distributions() -> list[metadata.Distribution]:
    """Voxterra's dependencies without extras, and theirs."""
    found: dict[str, metadata.Distribution] = {}
    waiting = ["voxterra"]
    while waiting:
        name = waiting.pop()
        distribution = metadata.distribution(name)
        key = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if key in found:
            continue
        found[key] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            extras = {"", "lazrs"} if key == "laspy" else {""}
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in extras):
                waiting.append(requirement.name)
    del found["voxterra"]
    return list(found.values())


def license_of(distribution: metadata.Distribution) -> str:
    info = distribution.metadata
    classifiers = [c for c in info.get_all("Classifier") or () if c.startswith("License")]
    first_line = (info.get("License") or "").strip().split("\n")[0]
    return " | ".join([info.get("License-Expression") or "", first_line, *classifiers])


def test_no_runtime_dependency_is_gpl():
    distributions = runtime_distributions()
    assert len(distributions) > 20
    for distribution in distributions:
        text = license_of(distribution)
        name = distribution.metadata["Name"]
        assert text.strip(" |"), f"{name} states no licence"
        strict = re.sub(r"LGPL|Lesser General Public|GPL-3\.0-with-GCC-exception", "", text)
        assert not re.search(r"GPL|Affero|General Public", strict), f"{name}: {text}"


def test_third_party_lists_every_runtime_dependency():
    listed = set(
        re.findall(r"^\| ([\w.-]+) \|", (REPO / "THIRD_PARTY.md").read_text(), re.MULTILINE)
    )
    needed = {d.metadata["Name"].lower().replace("_", "-") for d in runtime_distributions()}
    assert needed <= {name.lower().replace("_", "-") for name in listed}


def test_constraints_pin_every_dependency():
    pinned = set(re.findall(r"^([\w.-]+)==", (REPO / "constraints.txt").read_text(), re.MULTILINE))
    needed = {d.metadata["Name"] for d in runtime_distributions()}
    assert {n.lower().replace("_", "-") for n in needed} <= {n.lower() for n in pinned}


def imported_distributions(folder: Path) -> set[frozenset[str]]:
    """Distributions whose modules the files of a folder import; several share a namespace."""
    names: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    homes = metadata.packages_distributions()
    found = {frozenset(map(_plain, homes[name])) for name in names if name in homes}
    return found - {frozenset({"voxterra"})}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("src/voxterra", {"", "viewer", "voxels", "gpu"}),
        ("examples", {""}),  # run with what the wheel alone brings
        ("tests", {"", "viewer", "voxels", "gpu", "dev"}),
        ("benchmarks", {"", "viewer", "voxels", "gpu", "dev"}),
    ],
)
def test_what_is_imported_is_declared(folder, extras):
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    for extra in extras - {""}:
        declared += project["optional-dependencies"][extra]
    names = {_plain(Requirement(text).name) for text in declared}
    assert [homes for homes in imported_distributions(REPO / folder) if not homes & names] == []


def closure(*, everywhere: bool) -> set[str]:
    """What Voxterra and all its extras bring; `everywhere` includes what other platforms need."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(text for extra in extras for text in extra)]
    waiting = [Requirement(text) for text in declared]
    found: dict[str, set[str]] = {}
    while waiting:
        wanted = waiting.pop()
        name, asked = _plain(wanted.name), {"", *wanted.extras}
        if name in found and asked <= found[name]:
            continue
        found[name] = found.get(name, set()) | asked
        try:
            texts = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:  # of another platform
            continue
        for needed in map(Requirement, texts):
            marker = needed.marker
            always = marker is None or (everywhere and "extra" not in str(marker))
            if always or any(marker.evaluate({"extra": e}) for e in asked):
                waiting.append(needed)
    return set(found)


def test_constraints_pin_what_is_declared_and_nothing_in_vain():
    pins = (REPO / "constraints.txt").read_text()
    pinned = {_plain(name) for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}
    assert closure(everywhere=False) - pinned == set()
    assert pinned - closure(everywhere=True) == set()
