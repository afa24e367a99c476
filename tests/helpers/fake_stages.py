"""A pipeline of three small stages, for tests of everything around stages.

As a program (`python fake_stages.py SOURCE OUT SECONDS`) it runs them, the middle one slowly, so
that a test can kill it in the middle.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from voxterra.pipeline.engine.stage import Stage, StageContext, StageOutput
from voxterra.pipeline.run import run


@dataclass(frozen=True)
class ReadConfig:
    upper: bool = False


@dataclass(frozen=True)
class CountConfig:
    seconds: float = 0.0
    steps: int = 4
    fail: str = ""


@dataclass(frozen=True)
class WriteConfig:
    prefix: str = "n="


@dataclass(frozen=True)
class FakeConfig:
    read: ReadConfig = field(default_factory=ReadConfig)
    count: CountConfig = field(default_factory=CountConfig)
    write: WriteConfig = field(default_factory=WriteConfig)


def read(ctx: StageContext) -> StageOutput:
    text = "".join(p.read_text() for p in sorted(ctx.source[0].iterdir()))
    (ctx.out / "text.txt").write_text(text.upper() if ctx.config.read.upper else text)
    return StageOutput(f"{len(text)} letters", warnings=("a warning of read",))


def count(ctx: StageContext) -> StageOutput:
    text = (ctx.input("read") / "text.txt").read_text()
    config: CountConfig = ctx.config.count
    done = ctx.out / "done_steps.txt"
    start = len(done.read_text()) if done.exists() else 0
    for step in range(start, config.steps):
        ctx.progress(step / config.steps, f"{step}/{config.steps}")
        time.sleep(config.seconds / config.steps)
        done.write_text("x" * (step + 1))
    if config.fail == "Killed" or (config.fail == "Killed once" and start < config.steps):
        os.kill(os.getpid(), signal.SIGKILL)
    elif config.fail in ("OSError", "Bug"):
        raise {"OSError": OSError(28, "No space left on device"), "Bug": KeyError("oops")}[
            config.fail
        ]
    (ctx.out / "count.txt").write_text(str(len(text)))
    return StageOutput(f"counted, from step {start}")


def write(ctx: StageContext) -> StageOutput:
    folder = ctx.out / "products"
    folder.mkdir()
    number = (ctx.input("count") / "count.txt").read_text()
    name = ctx.config.write.prefix.strip("=") + ".txt"
    (folder / name).write_text(ctx.config.write.prefix + number)
    return StageOutput("written", products=((f"products/{name}", "the number"),))


STAGES = (
    Stage("read", ("source",), ("read",), read, reports_accuracy=True),
    Stage("count", ("read",), ("count",), count, resumable=True),
    Stage("write", ("count",), ("write",), write),
)


if __name__ == "__main__":
    config = FakeConfig(count=CountConfig(seconds=float(sys.argv[3]), steps=10))
    for event in run(Path(sys.argv[1]), Path(sys.argv[2]), config, stages=STAGES):
        print(event, flush=True)
