"""Options from YAML, presets, and their way back."""

from __future__ import annotations

from dataclasses import fields

import pytest

from voxterra.core.options import with_values
from voxterra.errors import FormatError, InputError, UsageError
from voxterra.pipeline.recipe.config import RunConfig
from voxterra.pipeline.recipe.config_file import plain, read_options, write_options
from voxterra.pipeline.recipe.presets import PRESETS, preset
from voxterra.pipeline.recipe.stages import STAGES


def test_options_come_back_as_they_were_written(tmp_path):
    masks = tmp_path / "my masks"
    config = with_values(
        preset("preview"),
        {"georef": {"crs": "EPSG:25833"}, "ingest": {"masks": str(masks)},
         "surface": {"bounds_m": [0, 0, 0, 1, 1, 1]}},
        where="test",
    )  # fmt: skip
    assert config.ingest.masks == masks and config.surface.bounds_m == (0.0, 0, 0, 1, 1, 1)
    write_options(config, tmp_path / "config.yaml")
    assert read_options(tmp_path / "config.yaml", RunConfig()) == config
    assert with_values(RunConfig(), plain(config), where="test") == config


def test_dashes_count_as_underscores_and_the_rest_stays():
    config = with_values(preset("preview"), {"depth": {"max-size": 333}}, where="test")
    assert config.depth.max_size == 333
    assert config.sfm == preset("preview").sfm


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"dept": {}}, "did you mean 'depth'"),
        ({"depth": {"max_sise": 1}}, "did you mean 'max_size'"),
        ({"depth": {"max_size": "big"}}, "max_size"),
        ({"depth": {"max_size": 1.5}}, "max_size"),
        ({"depth": {"max_size": True}}, "max_size"),
        ({"depth": 7}, "depth"),
        ({"georef": {"heights": "sea"}}, "egm96, ellipsoidal"),
        ({"surface": {"bounds_m": [1, 2]}}, "bounds_m"),
        ([1], "top level"),
    ],
)
def test_wrong_options_are_usage_errors(values, text):
    with pytest.raises(UsageError) as caught:
        with_values(RunConfig(), values, where="my.yaml")
    assert text in str(caught.value) and "my.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"depth: [1, 2", "in line 1, column 13"),
        (b"\xff\xfe\x00", "not text"),
        (b"a: " + b"[" * 5000, "nested too deep"),
    ],
)
def test_a_file_that_is_no_yaml(tmp_path, content, reason):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=reason):
        read_options(path, RunConfig())


def test_a_config_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_options(tmp_path / "c.yaml", RunConfig())


def test_presets_differ_and_standard_is_the_default():
    assert preset("standard") == RunConfig()
    sizes = [preset(name).depth.max_size for name in ("preview", "standard", "high")]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    assert set(PRESETS) == {"preview", "standard", "high"}
    with pytest.raises(UsageError, match="did you mean 'preview'"):
        preset("previw")


def test_every_section_belongs_to_a_stage_and_every_input_comes_before():
    sections = [name for stage in STAGES for name in stage.config]
    assert sorted(sections) == sorted(field.name for field in fields(RunConfig))
    known = {"source"}
    for stage in STAGES:
        assert set(stage.inputs) <= known
        known.add(stage.name)
