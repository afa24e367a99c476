"""What a person sees on a terminal while a run goes on."""

from __future__ import annotations

import io

from rich.console import Console

from voxterra.cli.display import _bars


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
