"""What a person sees on a terminal while a run goes on."""

from __future__ import annotations

import io

from rich.console import Console

from voxterra.cli.display import _bars, _Report
from voxterra.pipeline.events import (
    ApartFinished,
    ProductWritten,
    RunEstimated,
    RunFailed,
    RunFinished,
    StageFinished,
    StageProgress,
    StageStarted,
    StageWarning,
)


def test_long_summaries_take_nothing_from_names_bars_and_times():
    for width in (80, 120):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=width, color_system=None)
        with _bars(console) as bars:
            done = bars.add_task("a summary " * 30, stage="products", total=1.0)
            bars.update(done, completed=1.0)
            bars.add_task("stereo 800x600, photo 2/3", stage="depth", total=1.0, completed=0.5)
            bars.refresh()
        lines = screen.getvalue()
        assert "✓ products  " in lines
        assert " depth     " in lines
        assert "━" * 24 in lines
        assert "0:00:0" in lines
        assert lines.count("a summary") >= 30


def test_components_that_lie_apart_are_named(wording):
    screen = io.StringIO()
    report = _Report(Console(file=screen, width=120, soft_wrap=True), screen, None)
    report(StageFinished("depth", 7.0, 10**9, "8 depth maps", None))
    report(StageFinished("depth", 3.0, 10**9, "3 depth maps", 2))
    report(StageWarning("mesh", "mind this", 2))
    report(ProductWritten("products/component_2/dsm.tif", "heights", 10**6, 2))
    made = ApartFinished((2, 4), "products/component_2", "components/2", "EPSG:32633")
    lost = ApartFinished((3,), "products/component_3", "components/3", None, "they show nothing")
    report(RunFinished("out", 10.0, None, (made, lost)))
    report(RunFinished("out", 1.0, "EPSG:32615", (made,), "nothing seen"))
    report(RunFailed("OutputError", "The disk is full.", 20, "mesh", component=2))
    told = screen.getvalue()
    wording("terminal: other sites", told)
    assert "view out/components/2\n" in told
    assert "view out\n" not in told  # there is nothing to look at


def test_bars_of_a_component_are_beside_those_of_the_run():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    with _bars(console) as bars:
        report = _Report(console, screen, bars)
        for number in (None, 2):
            report(StageStarted("depth", False, number))
            report(StageProgress("depth", 0.5, "photo 2/4", number))
        bars.refresh()
        assert [task.fields["stage"] for task in bars.tasks] == ["depth", "component 2: depth"]
    lines = screen.getvalue()
    assert "component 2: depth" in lines and "photo 2/4" in lines and "━" * 12 in lines


def test_the_estimate_is_told_first():
    screen = io.StringIO()
    report = _Report(Console(file=screen, width=120, soft_wrap=True), screen, None)
    report(
        RunEstimated(
            ("sfm", "depth"), 18, 1.44, 400.0, int(3.1e9), int(2e8), "depth", int(9e9), int(16e9),
            None, "judged by [measured] runs",
        )
    )  # fmt: skip
    assert screen.getvalue() == (
        "18 photos of 1.44 MP: about 7 min, 3.1 GB of memory (9.0 GB free), 0.2 GB of disk.\n"
        "(judged by [measured] runs)\n"
    )
