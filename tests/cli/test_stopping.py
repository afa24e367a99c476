"""A run that is asked to end: Ctrl-C, `kill`, a closed terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voxterra.cli.display import follow
from voxterra.errors import Cancelled
from voxterra.pipeline import events as ev

STAGES = Path(__file__).resolve().parents[1] / "helpers" / "fake_stages.py"
PROGRAM = """
import runpy, sys
from pathlib import Path
from voxterra.cli.main import main, VERBS, Verb
import voxterra.cli.run as verb
fake = runpy.run_path(sys.argv[1])
config = fake["FakeConfig"](count=fake["CountConfig"](seconds=30.0, steps=300))
events = fake["run"](Path(sys.argv[2]), Path(sys.argv[3]), config, stages=fake["STAGES"])
verb.run = lambda args: verb.follow(events, as_json=False)
sys.exit(main(["run", "x"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_with_how_to_go_on(tmp_path, name):
    source, out = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    (source / "a.jpg").write_text("abc")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(STAGES), str(source), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    steps = out / "stages/.count.partial/done_steps.txt"
    while not steps.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "same command again to resume" in told
    assert steps.exists()  # to go on from


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_that_a_library_took_for_itself_is_taken_back(capfd):
    """As importing COLMAP does in the middle of a run."""
    before = signal.getsignal(signal.SIGTERM)

    def events():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        yield ev.StageStarted("sfm")
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.0)
        except KeyboardInterrupt:
            yield ev.RunFailed("Cancelled", "The run was stopped.", 130, "sfm")
            raise Cancelled("The run was stopped.") from None

    assert follow(events(), as_json=True) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert "stopping" in capfd.readouterr().err
