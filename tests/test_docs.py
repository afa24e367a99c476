"""Docs are held true by the code they describe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import voxterra
from voxterra import errors
from voxterra.cli.main import BROKEN_PIPE_CODE, INTERNAL_ERROR_CODE, STOPPED_CODE, VERBS

REPO = Path(__file__).resolve().parent.parent
PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md"), *REPO.glob("demo/*.md")])


def test_the_table_of_exit_codes_is_that_of_the_errors():
    text = (REPO / "docs/errors.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (?:`(\w+)`)? *\|", text, re.MULTILINE)
    documented = {name: int(code) for code, name in rows if name}
    assert documented == {cls.__name__: code for cls, code in errors.EXIT_CODES.items()}
    assert {int(code) for code, name in rows if not name} == {
        0,
        INTERNAL_ERROR_CODE,
        BROKEN_PIPE_CODE,
    }
    assert errors.EXIT_CODES[errors.Cancelled] == STOPPED_CODE


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_verbs_and_make_targets_that_pages_name_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    blocks = "\n".join(block or inline for block, inline in code)
    for verb in re.findall(r"^\s*voxterra ([a-z]+)\b", blocks, re.MULTILINE):
        assert verb in VERBS, f"{page.name} names voxterra {verb}"
    targets = set(re.findall(r"^(\w+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"^\s*make ([a-z]+)\b", blocks, re.MULTILINE):
        assert target in targets, f"{page.name} names make {target}"


def test_modules_that_public_names_come_from_exist():
    for name, home in voxterra._PUBLIC.items():
        module = REPO / "src" / home.replace(".", "/")
        found = module.with_suffix(".py").exists() or (module / "__init__.py").exists()
        assert found, f"{name} is said to live in {home}"


def test_the_stages_of_the_architecture_are_those_of_the_table():
    from voxterra.pipeline.recipe.stages import STAGE_NAMES

    text = (REPO / "docs/architecture.md").read_text()
    row = next(line for line in text.splitlines() if "| the stages of a run;" in line)
    assert tuple(re.findall(r"`(\w+)/`", row)) == STAGE_NAMES
