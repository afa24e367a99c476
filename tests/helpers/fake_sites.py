"""A pipeline of small stages whose photos lie at several sites: each word of the source is one.

The first word is the main site; each further one is another site, numbered from 2 on. Stages of a
word that is `fail` end as photos that show too little do, those of `outside` as photos that do not
see the area of interest.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from fake_stages import STAGES

from voxterra.core.sites import Site
from voxterra.errors import OutsideAreaError, ReconstructionError
from voxterra.pipeline.engine.sites import failed, site_workspace
from voxterra.pipeline.engine.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.folder.workspace import Workspace

log = logging.getLogger("voxterra.fake_sites")


def words(text: str) -> list[str]:
    return [word for word in text.split() if word]


def find(workspace: Workspace, config: Any) -> tuple[tuple[Site, Any], ...]:
    found = words((workspace.stage_dir("place") / "words.txt").read_text())
    return tuple((Site((i,)), config) for i in range(1, len(found)))


def place(ctx: StageContext) -> StageOutput:
    text = (ctx.input("read") / "text.txt").read_text()
    if ctx.site is not None:
        text = words(text)[ctx.site.components[0]]
    (ctx.out / "words.txt").write_text(text)
    return StageOutput(f"placed {words(text)[0]}", warnings=("a warning of all sites",))


def count(ctx: StageContext) -> StageOutput:
    word = words((ctx.input("place") / "words.txt").read_text())[0]
    log.info("counting the letters of %s", word)
    done = ctx.out / "done_steps.txt"
    start = len(done.read_text()) if done.exists() else 0
    for step in range(start, ctx.config.count.steps):
        ctx.progress(step / ctx.config.count.steps, word)
        done.write_text("x" * (step + 1))
    if word == "outside":
        raise OutsideAreaError("Nothing in the area.", where="--aoi", next_step="Look at it.")
    if word == "fail":
        raise ReconstructionError("They show nothing.", next_step="Take others.")
    (ctx.out / "count.txt").write_text(f"{word}: {len(word)}")
    return StageOutput(f"counted, from step {start}")


def tell(ctx: StageContext) -> StageOutput:
    folder = ctx.out / "products"
    folder.mkdir()
    lines = [(ctx.workspace.products_dir / "n.txt").read_text()]
    for site, _ in () if ctx.site else find(ctx.workspace, ctx.config):
        own = site_workspace(ctx.workspace, site)
        why = failed(own)
        lines.append(f"not: {why}" if why else (own.products_dir / "n.txt").read_text())
    (folder / "all.txt").write_text("\n".join(lines))
    return StageOutput("told", products=(("products/all.txt", "all of them"),))


READ, _, WRITE = STAGES
STAGES_OF_SITES = (
    replace(READ, reports_accuracy=False),
    Stage("place", ("read",), (), place, splits=find, reports_accuracy=True),
    Stage("count", ("place",), ("count",), count, resumable=True),
    WRITE,
    Stage("tell", ("place", "write"), (), tell, gathers=True),
)
