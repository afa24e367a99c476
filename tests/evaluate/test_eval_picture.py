"""Pictures show what is wrong and what is missing."""

import numpy as np
from PIL import Image

from voxterra.core.raster import Grid
from voxterra.evaluate.depth import DepthScore, PhotoDepth
from voxterra.evaluate.picture import MISSING, NOT_SCORED, Panel, colorize, draw_depth, draw_raster
from voxterra.evaluate.raster import RasterScore


def test_colours_tell_high_low_missing_and_not_scored():
    values = np.array([[0.5, -0.5, 0.0], [np.nan, np.nan, 9.0]])
    scored = np.array([[True, True, True], [True, False, True]])
    colors = colorize(Panel(values, scored, "", 0.5, True, "m"))
    assert colors[0, 0, 0] > colors[0, 0, 2] and colors[0, 1, 2] > colors[0, 1, 0]
    assert (colors[0, 2] > 240).all()
    assert tuple(colors[1, 0]) == MISSING and tuple(colors[1, 1]) == NOT_SCORED
    assert (colors[1, 2] == colors[0, 0]).all()


def test_pictures_open(tmp_path):
    rng = np.random.default_rng(0)
    difference = rng.normal(0, 0.1, (300, 200))
    difference[50:60] = np.nan
    scored = np.ones((300, 200), bool)
    scored[:, :20] = False
    score = RasterScore("none", Grid(0, 0, 1, 200, 300), difference, scored)
    draw_raster(score, tmp_path / "dsm.png")
    with Image.open(tmp_path / "dsm.png") as image:
        colors = {color for _, color in image.getcolors(1 << 20)}
    assert MISSING in colors and NOT_SCORED in colors
    photo = PhotoDepth("a.jpg", np.full((90, 120), 10.0), rng.normal(10, 0.05, (90, 120)))
    draw_depth(DepthScore("none", 1.0, (photo, photo), ()), tmp_path / "depth.png")
    with Image.open(tmp_path / "depth.png") as image:
        assert image.width > 2 * 500
