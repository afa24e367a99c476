"""Options from YAML, presets, and their way back."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import pytest

from voxterra.cli import run as run_verb
from voxterra.cli.values import value_parsers
from voxterra.core.options import plain, with_values
from voxterra.errors import FormatError, InputError, UsageError
from voxterra.pipeline.folder.fingerprint import fingerprint
from voxterra.pipeline.recipe.config import RunConfig, check_config, recorded_config
from voxterra.pipeline.recipe.config_file import read_options, write_options
from voxterra.pipeline.recipe.presets import PRESETS, preset
from voxterra.pipeline.recipe.stages import STAGES
from voxterra.surface.backend import BACKENDS


def test_options_come_back_as_they_were_written(tmp_path):
    masks = tmp_path / "my masks"
    config = with_values(
        preset("preview"),
        {"map": {"crs": "EPSG:25833"}, "ingest": {"masks": str(masks)},
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
        ({"map": {"heights": "sea"}}, "egm96, ellipsoidal"),
        ({"georef": {"crs": "EPSG:25833"}}, "did you mean 'map.crs'"),
        ({"surface": {"bounds_m": [1, 2]}}, "bounds_m"),
        ({"products": {"products": ["dsm"]}}, "Give products.only instead"),
        ({"mesh": {"max_island_fraction": 0.1}}, "Give mesh.max_island_m2 instead"),
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
    sections = {name for stage in STAGES for name in stage.config}
    started_from = {"preset", "machine"}
    assert sections | started_from == {field.name for field in fields(RunConfig)}
    known = {"source"}
    for stage in STAGES:
        assert set(stage.inputs) <= known
        known.add(stage.name)


@dataclass(frozen=True)
class SplatOptions:
    """Options of a plugin."""

    count: int = 7
    """How many."""
    threads: int = field(default=2, metadata={"affects_result": False})


class Splats:
    name, license, needs, version, options = "my-splats", "MIT", (), 3, SplatOptions

    def preset(self, name, machine):
        return SplatOptions({"preview": 5}.get(name, 7))

    def check(self, options):
        if options.count < 1:
            raise UsageError("too few", where="--plugins.my-splats.count")

    def requires(self, options): ...
    def estimate(self, work, options): ...
    def run(self, inputs, options, progress): ...


@pytest.fixture
def splats():
    BACKENDS.register("my-splats", Splats)
    yield
    BACKENDS.unregister("my-splats")


def test_options_of_a_plugin_are_like_those_built_in(splats, tmp_path, capsys):
    args = ["p", "--out", "o", "--preset", "preview", "--plugins.my-splats.threads", "9"]
    given = run_verb._parse(args, run_verb.starting_options(args)).options
    assert given.plugins.my_splats == SplatOptions(5, 9)

    write_options(given, tmp_path / "c.yaml")
    assert read_options(tmp_path / "c.yaml", preset("standard")) == given
    with pytest.raises(UsageError, match="did you mean 'count'"):
        with_values(given, {"plugins": {"my_splats": {"cuont": 1}}}, where="here")
    bad = with_values(given, {"plugins": {"my_splats": {"count": 0}}}, where="here")
    with pytest.raises(UsageError, match="too few"):
        check_config(bad)
    with pytest.raises(SystemExit):
        run_verb._parse(["--help"], preset("preview"))
    shown = capsys.readouterr().out
    assert "--plugins.my-splats.count" in shown and "How many." in shown


def test_options_of_a_plugin_enter_the_fingerprint_of_what_it_makes(splats):
    surface = next(stage for stage in STAGES if stage.name == "surface")

    def of(count: int, threads: int, backend: str = "my-splats") -> str:
        plugins = replace(RunConfig().plugins, my_splats=SplatOptions(count, threads))
        config = replace(RunConfig(), backend=backend, plugins=plugins)
        return fingerprint("surface", 1, surface.options(config), {})

    assert of(1, 2) == of(1, 3) != of(2, 2)
    assert of(1, 2, "fusion") == of(2, 2, "fusion")


def test_recorded_options_of_a_plugin_that_is_gone_are_skipped(splats, caplog):
    recorded = plain(RunConfig())
    BACKENDS.unregister("my-splats")
    assert recorded_config(recorded, where="run") == RunConfig()
    assert "my_splats" in caplog.text


def test_products_are_chosen_by_names_between_commas():
    args = ["--products.only", "dsm,mesh", "photos/", "--out", "runs/a", "--products.skip=obj"]
    with value_parsers(args):
        given = run_verb._parse(args, run_verb.starting_options(args))
    assert given.options.products.only == ("dsm", "mesh") and str(given.photos[0]) == "photos"
    assert given.options.products.skip == ("obj",)
    with pytest.raises(UsageError, match=r"--products\.only"):
        run_verb._parse(["--products.products", "dsm", "--out", "x"], RunConfig())
