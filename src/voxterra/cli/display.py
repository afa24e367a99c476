"""Showing a run: bars on a terminal, plain lines in a file, JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from voxterra.cli.stopping import telling_that_it_stops
from voxterra.core.progress import Progress as ProgressCall
from voxterra.core.progress import no_progress
from voxterra.errors import VoxterraError
from voxterra.pipeline import events as ev
from voxterra.pipeline.events import Event
from voxterra.pipeline.failures import failure
from voxterra.pipeline.folder.journal import LOG_FILE

Show = Callable[[Event], None]

PLAIN_EVERY_S = 10.0


def follow(
    events: Generator[Event, None, None],
    *,
    as_json: bool,
    stopped: Callable[[], VoxterraError] | None = None,
) -> int:
    """Show events until the run ends; returns the exit code.

    Meanwhile what native libraries print goes to the run's log, so that it neither tears the
    display nor mixes with JSON. An error comes as a `RunFailed`, even one before the run started.

    Args:
        events: of a run; closed at the end.
        as_json: print one JSON event a line.
        stopped: message if the user stops it between two events; None: that the same command
            resumes.
    """
    code, failed = 0, False
    with ExitStack() as stack:
        listen = stack.enter_context(telling_that_it_stops())
        show: Show | None = None
        try:
            for event in events:
                listen()
                if show is None:
                    out, err = sys.stdout, sys.stderr
                    if isinstance(event, ev.RunStarted):
                        log = Path(event.out) / LOG_FILE
                        out, err = stack.enter_context(native_output_to(log))
                    show = stack.enter_context(_display(out, err, as_json=as_json))
                if isinstance(event, ev.RunFailed):
                    code, failed = event.exit_code, True
                show(event)
        except BaseException as error:
            # An error without a file is of our own printing, to a pipe or a full disk.
            printing = isinstance(error, OSError) and error.filename is None
            if isinstance(error, KeyboardInterrupt) or printing:
                if not failed:
                    events.close()
                    if show is not None and not printing:
                        show(failure(stopped() if stopped else error))  # how to resume
                    raise
            elif not failed:
                if show is None:
                    show = stack.enter_context(_display(sys.stdout, sys.stderr, as_json=as_json))
                shown = _quietly(error)
                show(shown)
                code = shown.exit_code
        finally:
            events.close()
    return code


def _quietly(error: BaseException) -> ev.RunFailed:
    """The event of an error outside a run, without logging to the terminal."""
    logging.getLogger("voxterra").addHandler(logging.NullHandler())
    return failure(error)


@contextmanager
def native_output_to(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send file descriptors 1 and 2 to `log`; yields streams to where they went before."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    streams = tuple(os.fdopen(os.dup(fd), "w", buffering=1, encoding="utf-8") for fd in saved)
    try:
        yield streams[0], streams[1]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, fd in zip((1, 2), saved):
            os.dup2(fd, number)
            os.close(fd)
        for stream in streams:
            stream.close()


class PipedConsole(Console):
    """A console whose reader may go away, as `| head` does; `voxterra.cli.main` answers that."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


@contextmanager
def _display(out: TextIO, err: TextIO, *, as_json: bool) -> Iterator[Show]:
    if as_json:
        yield lambda event: print(json.dumps(ev.to_dict(event)), file=out, flush=True)
        return
    console = PipedConsole(file=out, highlight=False, soft_wrap=not out.isatty())
    if out.isatty():
        with _bars(console) as bars:
            yield _Report(console, err, bars)
    else:
        yield _Report(console, err, None)


@contextmanager
def showing(verb: str, *, silent: bool = False) -> Iterator[ProgressCall]:
    """Show how far a single computation is, as a stage of a run is shown."""
    if silent:
        yield no_progress
        return
    console = PipedConsole(highlight=False, soft_wrap=not sys.stdout.isatty())
    bars = _bars(console) if sys.stdout.isatty() else None
    show = _Report(console, sys.stderr, bars)
    with bars or nullcontext():
        show(ev.StageStarted(verb))
        yield lambda fraction, message="": show(ev.StageProgress(verb, fraction, message))


def warnings_on_stderr() -> None:
    """Print the library's warnings as the verbs print their own."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")


def _program() -> str:
    """How to start voxterra again from here."""
    started = Path(sys.argv[0])
    found = shutil.which("voxterra")
    if started.name != "voxterra" or (found and Path(found).resolve() == started.resolve()):
        return "voxterra"
    return escape(str(started))


def _bars(console: Console) -> Progress:
    return Progress(
        # What must not shrink says no_wrap; a long summary gets lines of its own width instead.
        SpinnerColumn(finished_text="[green]✓", table_column=Column(no_wrap=True)),
        TextColumn("[bold]{task.fields[stage]:<9}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=24, table_column=Column(no_wrap=True, min_width=24)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", table_column=Column(overflow="fold")),
        console=console,
    )


_OfStage = ev.StageStarted | ev.StageProgress | ev.StageSkipped | ev.StageFinished | ev.StageWarning


def _key(event: _OfStage) -> tuple[str, int | None]:
    return event.stage, event.component


def _named(event: _OfStage) -> str:
    """The stage, and the component that it works on where that lies apart."""
    return event.stage if event.component is None else f"component {event.component}: {event.stage}"


class _Report:
    """Shows events to a person; ends with what was made."""

    def __init__(self, console: Console, err: TextIO, bars: Progress | None):
        self.console, self.err, self.bars = console, err, bars
        self.tasks: dict[tuple[str, int | None], TaskID] = {}
        self.products: list[ev.ProductWritten] = []
        self.warnings: list[ev.StageWarning] = []
        self.last_line = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case ev.ReadProgress():
                self._read(event)
            case ev.RunEstimated():
                from voxterra.pipeline.costs.forecast import describe_estimate

                self.console.print(escape(describe_estimate(event)))
            case ev.StageStarted():
                self._start(event)
            case ev.StageProgress():
                self._progress(event)
            case ev.StageSkipped():
                self._end(event, f"up to date: {event.summary}", "")
            case ev.StageFinished():
                took = f" ({event.seconds:.0f} s, {event.peak_rss_bytes / 1e9:.1f} GB)"
                self._end(event, event.summary, took)
            case ev.StageWarning():
                self.warnings.append(event)
            case ev.ProductWritten():
                self.products.append(event)
            case ev.RunFinished():
                self._stop_bars()
                self._finish(event)
            case ev.RunFailed():
                self._stop_bars()
                self._warn()  # files left out and the like may be why it failed
                self._fail(event)

    def _read(self, event: ev.ReadProgress) -> None:
        if self.bars:
            key = ("reading", None)
            if key not in self.tasks:
                self.tasks[key] = self.bars.add_task("", stage=key[0], total=1.0)
            task = self.tasks[key]
            self.bars.update(task, completed=event.fraction, description=escape(event.message))
        elif event.fraction >= 1 or time.monotonic() - self.last_line > PLAIN_EVERY_S:
            self.last_line = time.monotonic()
            self.console.print(f"reading: {event.fraction:.0%} {escape(event.message)}")

    def _start(self, event: ev.StageStarted) -> None:
        text = "resumes where it was stopped" if event.resumed else ""
        if self.bars:
            self.tasks[_key(event)] = self.bars.add_task(text, stage=_named(event), total=1.0)
        elif text:
            self.console.print(f"{_named(event)}: {text}")
        self.last_line = time.monotonic()

    def _progress(self, event: ev.StageProgress) -> None:
        if self.bars:
            task = self.tasks[_key(event)]
            self.bars.update(task, completed=event.fraction, description=escape(event.message))
        elif time.monotonic() - self.last_line > PLAIN_EVERY_S:
            self.last_line = time.monotonic()
            self.console.print(f"{_named(event)}: {event.fraction:.0%} {escape(event.message)}")

    def _end(self, event: ev.StageSkipped | ev.StageFinished, text: str, took: str) -> None:
        if not self.bars:
            self.console.print(f"{_named(event)}: {escape(text)}{took}")
            return
        if _key(event) not in self.tasks:
            self.tasks[_key(event)] = self.bars.add_task("", stage=_named(event), total=1.0)
        self.bars.update(self.tasks[_key(event)], completed=1.0, description=escape(text))

    def _stop_bars(self) -> None:
        if self.bars:
            self.bars.stop()

    def _warn(self) -> None:
        for warning in self.warnings:
            shown = f"[yellow]warning[/] ({_named(warning)}): {escape(warning.message)}"
            self.console.print(shown)

    def _finish(self, event: ev.RunFinished) -> None:
        self._warn()
        if self.products:
            self.console.print(f"\n[bold]Made in {escape(event.out)}[/]")
            width = max(len(product.path) for product in self.products)
            for product in self.products:
                size = f"{product.bytes / 1e6:8.1f} MB"
                name = escape(f"{product.path:<{width}}")
                self.console.print(f"  {name} {size}  {escape(product.description)}")
        if event.accuracy:
            failed = f"; without products: {event.failed}" if event.failed else ""
            self.console.print(f"[bold]Accuracy:[/] {escape(event.accuracy + failed)}")
        for apart in event.apart:
            self._show_site(apart, event.out)
        self.console.print(f"Done in {event.seconds:.0f} s.", end="")
        if any(product.component is None for product in self.products):
            where = escape(shlex.quote(event.out))
            self.console.print(f" Look at it: {_program()} view {where}", end="")
        self.console.print()

    def _show_site(self, apart: ev.ApartFinished, out: str) -> None:
        names = ", ".join(map(str, apart.components))
        plural = "s" if len(apart.components) > 1 else ""
        text = apart.accuracy or "not placed yet"
        if apart.failed is not None:
            text += f"; without products: {apart.failed}"
        elif any(product.component == apart.components[0] for product in self.products):
            where = shlex.quote(str(Path(out) / apart.work))
            text += f"; in {apart.folder}; look at it: {_program()} view {where}"
        self.console.print(f"[bold]Component{plural} {names}, apart:[/] {escape(text)}")

    def _fail(self, event: ev.RunFailed) -> None:
        console = Console(file=self.err, highlight=False, soft_wrap=True)
        place = f" (stage {event.stage})" if event.stage else ""
        if event.stage and event.component is not None:
            place = f" (stage {event.stage} of component {event.component})"
        console.print(f"[bold red]error{place}:[/] {escape(event.message)}")
        if event.where:
            console.print(f"  where: {escape(event.where)}")
        if event.next_step:
            console.print(f"  next:  {escape(event.next_step)}")
