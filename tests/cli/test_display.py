"""What a person sees on a terminal while a run goes on."""

from __future__ import annotations

import io

from rich.console import Console

from voxterra.cli.display import _bars, _Report
from voxterra.pipeline.events import RunEstimated


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
