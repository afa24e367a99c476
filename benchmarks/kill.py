"""Kill runs at random moments, go on, and compare with a run that was not killed.

    python benchmarks/kill.py --photos demo/photos --take 6 --moments 40 --command "OPTIONS"

Every moment is a new run folder. The process group gets SIGKILL at a moment of the run's time, at
a moment of a certain stage, or as soon as a certain file of a stage appears: the first it writes,
the record that makes its folder a result, the first deliverable, the folder in its place. A part of
the runs is killed again while it goes on. Then the same command runs to its end. Told for each:
what was kept, what was done again, whether the products are the same bytes, what is left over.

With `--late`, instead: killed late in the steps that keep what they have done, to see how much of
the stage is done again.

One thread by default (OMP_NUM_THREADS, NUMBA_NUM_THREADS), so that results can be the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kill_compare import compare_runs, figures_apart, figures_of
from measure import REPO, RESULTS, setting

VOXTERRA = [sys.executable, "-m", "voxterra"]
FILES = ("first file", "record", "in place")
"""Files at whose appearance a stage is killed."""


@dataclass
class Moment:
    """When to kill: `share` of the run's time, of the time of `stage`, or at a `file` of it.

    Or as soon as the `stage` tells that it is so far with a certain `step`.
    """

    share: float = 0.0
    stage: str | None = None
    file: str | None = None
    step: str | None = None
    again: int = 0


LATE = (
    Moment(0.35, "sfm", step="features"),
    Moment(0.64, "sfm", step="matched"),
    Moment(0.75, "sfm", step="registered"),
    Moment(0.90, "depth", step="stereo"),
    Moment(0.43, "surface", step="fusing"),
)
"""Late in extraction, matching, mapping, stereo, and fusion; by the progress that stages tell."""


@dataclass
class Process:
    """One process: what it told, and how it ended."""

    code: int | None = None
    seconds: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    errors: str = ""

    def stages(self, event: str) -> list[str]:
        return [e["stage"] for e in self.events if e["event"] == event]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--take", type=int, default=0, help="the first so many photos; 0: all")
    parser.add_argument("--command", default="--preset preview", help="options of voxterra run")
    parser.add_argument("--moments", type=int, default=40)
    parser.add_argument("--stage", help="kill in this stage only")
    parser.add_argument("--late", action="store_true", help="see above; --moments does not count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=REPO / "runs" / "kill", help="where runs go")
    parser.add_argument("--result", help="keep the figures as results/kill/NAME.json")
    given = parser.parse_args()
    shutil.rmtree(given.runs, ignore_errors=True)
    given.runs.mkdir(parents=True)
    photos = given.photos
    if given.take:
        photos = given.runs / "photos"
        photos.mkdir()
        for path in sorted(p for p in given.photos.iterdir() if p.is_file())[: given.take]:
            shutil.copy2(path, photos)
    command = [*VOXTERRA, "run", str(photos), *shlex.split(given.command), "--json", "--out"]
    run_to_end([*command, str(given.runs / "compiles")])
    reference = given.runs / "reference"
    whole = run_to_end([*command, str(reference)])
    second = run_to_end([*command, str(given.runs / "second")])
    if whole.code or second.code:
        sys.exit(f"the run fails without a kill:\n{whole.errors}")
    at = given.photos.resolve()
    shown = at.relative_to(REPO) if at.is_relative_to(REPO) else f"$DATA/{at.parent.name}/{at.name}"
    which = "--late" if given.late else f"--moments {given.moments} --seed {given.seed}"
    which += f" --stage {given.stage}" if given.stage else ""
    result: dict[str, Any] = {
        "command": f"python benchmarks/kill.py {which} "
        f"--photos {shown} --take {given.take} --command {shlex.quote(given.command)}",
        **setting(),
        "threads": os.environ.get("OMP_NUM_THREADS", "1"),
        "seconds": round(whole.seconds, 2),
        "stage_seconds": stage_seconds(whole),
        "not_killed": compare_runs(reference, given.runs / "second"),
    }
    expected, rows = figures_of(reference), []
    moments = LATE if given.late else choose(whole, given)
    for number, moment in enumerate(moments):
        out = given.runs / f"moment_{number:02d}"
        row = one_moment([*command, str(out)], out, moment, whole, given.seed)
        row = asdict(moment) | row | compare_runs(reference, out)
        row["apart"] = figures_apart(expected, figures_of(out)) if row["code"] == 0 else None
        rows.append(row)
        print(number, told(row), flush=True)
        if good(row):
            shutil.rmtree(out)
    result |= {"summary": summary(rows, whole.seconds), "moments": rows}
    if given.result:
        path = RESULTS / "kill" / f"{given.result}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["summary"], indent=1))
    return 0 if all(good(row) for row in rows) else 1


def choose(whole: Process, given: argparse.Namespace) -> list[Moment]:
    """Moments: for every stage one of its time and one of its files, the rest of all the time."""
    rng, moments = random.Random(given.seed), []
    count, one = given.moments, given.stage
    for index, stage in enumerate([one] if one else whole.stages("StageStarted")):
        moments.append(Moment(rng.random(), stage))
        moments.append(Moment(stage=stage, file=FILES[(index + rng.randrange(2)) % len(FILES)]))
    moments = moments[:count]
    moments += [Moment(rng.random(), one) for _ in range(count - len(moments))]
    for moment in rng.sample(moments, count // 4):
        moment.again = rng.choice((1, 2))
    return moments


def one_moment(
    command: list[str], out: Path, moment: Moment, whole: Process, seed: int
) -> dict[str, Any]:
    """Kill once or more, then go on to the end; what was kept and what was done again."""
    rng = random.Random(f"{seed} {out.name}")
    killed = [run_killed(command, trigger(moment, out, whole))]
    while killed[0].code == 0 and moment.file is None:  # it was through before its moment came
        shutil.rmtree(out)
        moment.share *= 0.8
        killed = [run_killed(command, trigger(moment, out, whole))]
    for _ in range(moment.again):
        killed.append(run_killed(command, trigger(Moment(rng.random()), out, whole)))
    last = run_to_end(command)
    finished = {name for process in killed for name in process.stages("StageFinished")}
    started = [process.stages("StageStarted")[-1:] for process in killed]
    killed_in = [names[0] if names else "(before the first stage)" for names in started]
    if moment.stage is not None:  # the event may be told too late to be heard
        killed_in[0] = moment.stage
    done = last.stages("StageFinished")
    log = (out / "log.txt").read_text() if (out / "log.txt").exists() else ""
    return {
        "killed_in": killed_in,
        "kills": sum(process.code == -signal.SIGKILL for process in killed),
        "killed_after_s": [round(process.seconds, 2) for process in killed],
        "code": last.code,
        "seconds": round(last.seconds, 2),
        "resumed": [e["stage"] for e in last.events if e.get("resumed")],
        "done": done,
        "stage_seconds": stage_seconds(last),
        "finished_and_done_again": sorted(finished & set(done)),
        "left_over": [
            p.relative_to(out).as_posix()
            for p in out.rglob("*")
            if ".tmp" in p.name or "partial" in p.name
        ],
        "tracebacks": sum("Traceback" in text for text in (log, last.errors)),
        "warnings": [e["message"] for e in last.events if e["event"] == "StageWarning"],
    }


def trigger(moment: Moment, out: Path, whole: Process) -> Callable[[Process, float], bool]:
    """Whether the moment has come, asked of a process and the time it started."""
    if moment.stage is None:
        return lambda _, started: time.monotonic() - started > moment.share * whole.seconds
    partial, final = out / f"stages/.{moment.stage}.partial", out / "stages" / moment.stage
    if moment.file == "first file":
        return lambda *_: partial.is_dir() and any(p.is_file() for p in partial.rglob("*.*"))
    if moment.file == "record":
        return lambda *_: (partial / "fingerprint.json").exists()
    if moment.file == "in place":
        return lambda *_: final.exists()
    if moment.step is not None:
        return lambda process, _: any(
            e["event"] == "StageProgress"
            and e["stage"] == moment.stage
            and e["message"].startswith(moment.step)
            and e["fraction"] >= moment.share
            for e in process.events[-3:]
        )
    lasted = stage_seconds(whole)[moment.stage]

    def within(process: Process, _: float) -> bool:
        for event, at in zip(list(process.events), list(process.times)):
            if event["event"] == "StageStarted" and event["stage"] == moment.stage:
                return time.monotonic() - at > moment.share * lasted
        return False

    return within


def stage_seconds(process: Process) -> dict[str, float]:
    return {e["stage"]: e["seconds"] for e in process.events if e["event"] == "StageFinished"}


def run_to_end(command: list[str]) -> Process:
    return run_killed(command, lambda *_: False)


def run_killed(command: list[str], due: Callable[[Process, float], bool]) -> Process:
    """Run a command and kill it, with all its children, when `due`."""
    environment = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", **os.environ}
    process, started = Process(), time.monotonic()
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    assert running.stdout is not None and running.stderr is not None
    out, err = running.stdout, running.stderr

    def listen() -> None:
        for line in out:
            try:
                process.events.append(json.loads(line))
            except ValueError:  # the line that it was killed in
                continue
            process.times.append(time.monotonic())

    def keep_errors() -> None:
        process.errors = err.read()

    threads = [threading.Thread(target=listen), threading.Thread(target=keep_errors)]
    for thread in threads:
        thread.start()
    while running.poll() is None:
        if due(process, started):
            os.killpg(running.pid, signal.SIGKILL)
            break
        time.sleep(0.0005)
    process.code = running.wait()
    process.seconds = time.monotonic() - started
    for thread in threads:
        thread.join()
    return process


def good(row: dict[str, Any]) -> bool:
    """Whether nothing was lost: it went on, to the same, with no finished stage done again."""
    bad = row["different"] or row["finished_and_done_again"] or row["left_over"]
    return row["code"] == 0 and row["kills"] > 0 and not row["tracebacks"] and not bad


def told(row: dict[str, Any]) -> str:
    kind = f"{row['file']} of {row['stage']}" if row["file"] else f"in {row['killed_in'][0]}"
    went = f"went on in {row['seconds']:.0f} s, {len(row['done'])} stages to do"
    return f"{'ok ' if good(row) else 'BAD'} {kind}, {len(row['killed_in'])}x killed: {went}"


def summary(rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    once = [row for row in rows if len(row["killed_in"]) == 1]
    extra = sorted(row["killed_after_s"][0] + row["seconds"] - seconds for row in once)
    return {
        "moments": len(rows),
        "kills": sum(row["kills"] for row in rows),
        "kills_by_stage": {
            name: sum(row["killed_in"].count(name) for row in rows)
            for name in sorted({n for row in rows for n in row["killed_in"]})
        },
        "went_on": sum(row["code"] == 0 for row in rows),
        "same_products": sum(not row["different"] for row in rows),
        "finished_stages_done_again": sum(len(row["finished_and_done_again"]) for row in rows),
        "with_left_overs": sum(bool(row["left_over"]) for row in rows),
        "tracebacks": sum(row["tracebacks"] for row in rows),
        "extra_seconds_after_one_kill": {
            "median": round(extra[len(extra) // 2], 2),
            "max": round(extra[-1], 2),
        }
        if extra
        else None,
    }


if __name__ == "__main__":
    sys.exit(main())
