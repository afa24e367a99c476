"""An engine of your own: a command such as `srun` or `ssh node` starts the process of each task.

python examples/08_engine.py [--photos demo/photos] [--out runs/demo] [--command nice]

Reads the photos (stage ingest) by this engine, into a run folder beside `--out`. The folders of
photos and run must be the same on all machines; photos and results never travel through an engine.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent


@dataclass(eq=False)
class Ticket:
    task: vt.plugins.Task
    folder: tempfile.TemporaryDirectory
    process: subprocess.Popen
    end: vt.plugins.TaskState | None = None


class CommandEngine:
    """Starts all tasks at once; a queue such as Slurm's decides when each gets its cores."""

    license = "Apache-2.0"

    def __init__(self, command=()):
        self.command = tuple(command)

    def submit(self, task, cores=0, memory=0, gpus=0):
        folder = tempfile.TemporaryDirectory()  # across machines: one that all of them share
        task_file, state_file = (Path(folder.name) / name for name in ("task.json", "state.json"))
        vt.plugins.write_task(task, task_file)
        worker = [sys.executable, "-m", "voxterra.pipeline.engine.worker"]
        worker += [str(task_file), str(state_file)]
        process = subprocess.Popen([*self.command, *worker], stderr=subprocess.DEVNULL)
        return Ticket(task, folder, process)

    def wait(self, tickets, timeout_s):
        until = time.monotonic() + timeout_s
        while True:
            states = [self._state(ticket) for ticket in tickets]
            if any(state.ended for state in states) or time.monotonic() >= until:
                return states
            time.sleep(0.05)

    def cancel(self, ticket):
        if self._state(ticket).ended:
            return
        ticket.process.kill()
        ticket.process.wait()
        if self._state(ticket).status != "done":
            ticket.end = vt.plugins.TaskState("cancelled")

    def _state(self, ticket):
        if ticket.end is None:
            code = ticket.process.poll()  # before the file: what it wrote last counts
            state = vt.plugins.read_state(Path(ticket.folder.name) / "state.json")
            if code is None:
                running = state is not None and not state.ended
                return state if running else vt.plugins.TaskState("waiting")
            ended = state is not None and state.ended
            ticket.end = state if ended else vt.plugins.lost(ticket.task, f"exit code {code}")
        return ticket.end


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=REPO / "demo" / "photos")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    parser.add_argument("--command", default="", help="what starts a program on another machine")
    args = parser.parse_args()

    vt.plugins.ENGINES.register("command", CommandEngine(shlex.split(args.command)))
    out = args.out.with_name(args.out.name + "-engine")
    events = vt.run(args.photos, out, vt.preset("preview"), until="ingest", engine="command")
    for event in events:
        match event:
            case vt.events.StageFinished():
                print(f"{event.stage}: {event.summary} ({event.seconds:.1f} s)")
            case vt.events.StageSkipped():
                print(f"{event.stage} is up to date: {event.summary}")


if __name__ == "__main__":
    main()
