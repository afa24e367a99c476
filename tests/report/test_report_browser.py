"""The report in a real browser: it draws, asks nobody for anything, and prints."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
from known_scene import GEO
from PIL import Image
from report_scene import HOSTILE, make_report


def open_report(page, path: Path) -> list[str]:
    """Load it; returns what the page asked for and what it complained about."""
    told: list[str] = []
    page.on("request", lambda request: told.append(request.url))
    page.on("pageerror", lambda error: told.append(f"error: {error}"))
    page.on("console", lambda message: told.append(f"console: {message.text}"))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return [url for url in told if not url.startswith("data:") and url != path.as_uri()]


def test_it_asks_for_nothing_and_runs_nothing(page, tmp_path):
    path = make_report(tmp_path, GEO, names=HOSTILE, far_m=100.0)
    assert open_report(page, path) == []
    assert page.evaluate("window.taken") is None
    assert page.evaluate("document.scripts.length") == 0
    assert HOSTILE[0] in page.inner_text("#photos-in-the-model")
    pictures = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert len(pictures) >= 5 and all(pictures)


def test_maps_show_ground_and_cameras(page, tmp_path):
    page.set_viewport_size({"width": 1100, "height": 900})
    open_report(page, make_report(tmp_path, GEO))
    shot = page.locator("#maps svg.map").first.screenshot()
    if folder := os.environ.get("VOXTERRA_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / "report.png"), full_page=True)
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), float)
    red = (pixels[..., 0] > 140) & (pixels[..., 1:] < 70).all(-1)
    blue = (pixels[..., 2] > 140) & (pixels[..., :2] < 70).all(-1)
    # The red box lies 12 m north, the blue one 12 m east of the middle of 40 m of ground.
    for mask, dx, dy in ((red, 0.0, -1.0), (blue, 1.0, 0.0)):
        assert mask.sum() > 100
        rows, columns = np.nonzero(mask)
        grey = np.abs(pixels - pixels.mean(-1, keepdims=True)).max(-1) < 6
        ground = np.nonzero(grey & (pixels.mean(-1) > 100) & (pixels.mean(-1) < 180))
        offset = np.array([columns.mean() - ground[1].mean(), rows.mean() - ground[0].mean()])
        assert offset / np.linalg.norm(offset) @ [dx, dy] > 0.95


def test_it_fits_the_screen_and_the_paper(page, tmp_path):
    path = make_report(tmp_path, GEO, names=HOSTILE)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        open_report(page, path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px on a screen of {width} px"
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    pages = re.findall(rb"/Type\s*/Page\b", pdf)
    assert 3 <= len(pages) <= 12
    a4 = [float(v) for v in re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)[0]]
    assert abs(a4[0] - 595) < 3 and abs(a4[1] - 842) < 3
