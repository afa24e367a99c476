"""Option values that cannot work are told before anything is read or made."""

from __future__ import annotations

import pytest

from voxterra.core.options import with_values
from voxterra.errors import UsageError
from voxterra.pipeline.recipe.config import _LEAST, RunConfig, check_config
from voxterra.pipeline.recipe.presets import PRESETS, preset
from voxterra.pipeline.run import run


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("ingest", "workers", -1),
        ("ingest", "workers", 100_000),
        ("ingest", "max_megapixels", 0.0),
        ("sfm", "max_image_size", 0),
        ("sfm", "max_features", -5),
        ("georef", "outlier_sigmas", 0.0),
        ("georef", "gps_sigma_vertical_m", float("nan")),
        ("depth", "max_size", -1),
        ("depth", "levels", 0),
        ("depth", "sources", 0),
        ("surface", "voxel_size_m", 0.0),
        ("surface", "max_points", 0),
        ("texture", "max_atlas_px", 0),
        ("products", "gsd_m", -0.05),
    ],
)
def test_values_out_of_range_are_named_with_their_option(tmp_path, section, name, value):
    config = with_values(RunConfig(), {section: {name: value}}, where="test")
    with pytest.raises(UsageError) as caught:
        list(run(tmp_path / "photos", tmp_path / "out", config))
    assert caught.value.where == f"--{section}.{name.replace('_', '-')}"
    assert caught.value.next_step
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_pass(name):
    check_config(preset(name))


def test_the_limits_themselves_pass():
    for option, (least, more) in _LEAST.items():
        section, name = option.split(".")
        value = getattr(getattr(RunConfig(), section), name)
        step = type(value)(least) if isinstance(value, int | float) else float(least)
        limit = step + 1 if more else step
        check_config(with_values(RunConfig(), {section: {name: limit}}, where="test"))
