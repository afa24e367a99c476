"""Options of the products that cannot work are refused with their name on the command line."""

import math
from dataclasses import replace
from typing import Any

import pytest

from voxterra.errors import UsageError
from voxterra.products.config import ProductsConfig, check


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gsd_m", 0.0),
        ("gsd_m", -1.0),
        ("gsd_m", math.nan),
        ("gsd_m", math.inf),
        ("dsm_gsd_factor", 0),
        ("dsm_gsd_factor", 1.5),
        ("max_raster_px", 9_999),
        ("fill_gap_cells", -1.0),
        ("fill_gap_cells", math.nan),
        ("blend_spread", 0.0),
        ("ortho_compression", "lzw"),
        ("jpeg_quality", 0),
        ("jpeg_quality", 101),
    ],
)
def test_wrong_values_name_their_option_and_the_next_step(option: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        check(replace(ProductsConfig(), **{option: value}))
    error = caught.value
    assert error.where == f"--products.{option.replace('_', '-')}" and error.where in error.what
    assert error.next_step
    assert str(value) in error.what


@pytest.mark.parametrize(
    "config",
    [
        ProductsConfig(),
        ProductsConfig(only=("dsm",), gsd_m=0.05, dsm_gsd_factor=1, jpeg_quality=1),
        ProductsConfig(max_raster_px=10_000, fill_gap_cells=0.0, jpeg_quality=100),
    ],
)
def test_values_that_work_pass(config: ProductsConfig) -> None:
    check(config)
