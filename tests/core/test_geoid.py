from importlib.resources import files

import numpy as np
import pytest
from pyproj import Transformer

from voxterra.core.geoid import undulation_m

# Published by NGA with its EGM96 interpolation program (file OUTPUT.DAT): lat, lon, height [m].
# NGA interpolates by splines, the GTX grid bilinearly: they differ by centimetres.
NGA = [
    (38.6281550, 269.7791550, -31.628),
    (-14.6212170, 305.0211140, -2.969),
    (46.8743190, 102.4487290, -43.575),
    (-23.6174460, 133.8747120, 15.871),
    (38.6254730, 359.9995000, 50.066),
    (-0.4667440, 0.0023000, 17.329),
]


@pytest.mark.parametrize(("lat", "lon", "expected"), NGA)
def test_published_test_values(lat, lon, expected):
    assert undulation_m(lon, lat) == pytest.approx(expected, abs=0.07)


def test_proj_reads_the_same_heights_from_the_same_grid():
    grid = files("voxterra.core").joinpath("grids/egm96_15.gtx")
    to_ellipsoid = Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
        f"+step +proj=vgridshift +grids={grid} +multiplier=1 "
        "+step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, 3000), rng.uniform(-90, 90, 3000)
    _, _, h = to_ellipsoid.transform(lon, lat, np.zeros(3000))
    assert np.allclose(undulation_m(lon, lat), h, atol=1e-9)


def test_longitudes_wrap_and_poles_have_one_height():
    assert undulation_m(-180, 10) == undulation_m(180, 10) == undulation_m(540, 10)
    assert undulation_m(-1e-9, 10) == pytest.approx(float(undulation_m(0, 10)), abs=1e-6)
    assert undulation_m(0, 90) == pytest.approx(float(undulation_m(123, 90)), abs=1e-3)
    assert undulation_m([0.0, 1.0], 50.0).shape == (2,)


@pytest.mark.parametrize(("lon", "lat"), [(0, 91), (np.nan, 0), (0, np.inf)])
def test_places_that_are_none_are_refused(lon, lat):
    with pytest.raises(ValueError):
        undulation_m(lon, lat)
