"""Which run a step's command line names, and with which options the step is done."""

from __future__ import annotations

import pytest

from voxterra.cli import steps
from voxterra.core.options import plain, with_values
from voxterra.pipeline.folder.run_file import write_run_file
from voxterra.pipeline.recipe.presets import preset


@pytest.fixture
def recorded(tmp_path):
    """A run folder, and the options it was made with."""
    config = with_values(
        preset("preview"), {"map": {"crs": "EPSG:25833"}, "depth": {"sources": 4}}, where="test"
    )
    out = tmp_path / "site"
    out.mkdir()
    write_run_file(out, (tmp_path / "photos",), plain(config), "0")
    return out, config


@pytest.fixture
def asked(monkeypatch):
    """What the pipeline is asked to do."""
    calls = []

    def run_pipeline(source, out, config, **options):
        calls.append((out, config, options))
        return (event for event in ())

    monkeypatch.setattr(steps, "run_pipeline", run_pipeline)
    return calls


def test_options_before_the_folder_leave_the_other_options_alone(recorded, asked):
    out, config = recorded
    for args in (["--json", str(out)], [str(out), "--json"]):
        assert steps.run(["sfm", *args]) == 0
        assert asked.pop() == (out, config, {"from_stage": "sfm", "until": "sfm", "force": False})
    changed = with_values(config, {"products": {"gsd_m": 0.05}}, where="test")
    for args in (["--products.gsd-m", "0.05", str(out)], ["--products.gsd-m=0.05", str(out)]):
        assert steps.run(["products", *args]) == 0
        assert asked.pop()[1] == changed


def test_ingest_of_photos_starts_a_run(monkeypatch, recorded, asked, tmp_path):
    started = []
    monkeypatch.setattr(steps.run_verb, "run", lambda args: started.append(args) or 0)
    args = ["--json", "a.jpg", "b.jpg", f"--out={tmp_path / 'new'}"]
    assert steps.run(["ingest", *args]) == 0
    assert started == [[*args, "--until", "ingest"]] and not asked
    assert steps.run(["ingest", "--json", str(recorded[0])]) == 0
    assert len(asked) == 1 and len(started) == 1


def test_the_help_shows_the_options_of_the_run(recorded, asked, capsys):
    with pytest.raises(SystemExit):
        steps.run(["depth", "--help", str(recorded[0])])
    assert "EPSG:25833" in capsys.readouterr().out and not asked
