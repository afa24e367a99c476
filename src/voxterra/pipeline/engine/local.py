"""The built-in engine: this machine, with threads of this process and with other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from voxterra.core.progress import Progress
from voxterra.core.scope import in_scope
from voxterra.errors import Cancelled
from voxterra.pipeline import machine
from voxterra.pipeline.engine.tasks import Task, TaskState, lost
from voxterra.pipeline.engine.worker import read_state, write_task
from voxterra.pipeline.failures import RESUME_STEP

LOOK_EVERY_S = 0.05
"""Interval of polling processes; threads report their end themselves."""
GRACE_S = 5.0
"""A process that does not stop on request is killed after this time."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class LocalEngine:
    """Runs tasks that are functions of this process in threads, all others in processes.

    A thread starts at once: what it needs, the run was estimated to have. Processes start in their
    order, as many at a time as cores, memory and GPUs allow; one that needs more than there is has
    the machine to itself.
    """

    license = "Apache-2.0"

    def __init__(self, *, threads: bool = True, cores: int | None = None):
        """An engine of its own.

        Args:
            threads: whether functions of this process are called in it.
            cores: to share out; None = those of the machine.
        """
        self._threads, self._cores = threads, cores or machine.cores()
        self._changed = threading.Condition()
        self._processes: list[_InProcess] = []  # that wait or run, in their order

    def submit(
        self, task: Task, cores: int = 0, memory: int = 0, gpus: int = 0
    ) -> _InThread | _InProcess:
        """As `TaskEngine.submit`.

        Raises:
            UsageError: the task is a function that other processes cannot import.
        """
        if task.here is not None and self._threads:
            return _InThread(task.name, task.here, self._changed)
        process = _InProcess(task, min(cores or self._cores, self._cores), memory, gpus)
        with self._changed:
            self._processes.append(process)
            self._start_some()
        return process

    def wait(self, tickets: Sequence[_InThread | _InProcess], timeout_s: float) -> list[TaskState]:
        """As `TaskEngine.wait`."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._start_some()
                states = [ticket.state() for ticket in tickets]
                left = until - time.monotonic()
                if left <= 0 or any(state.ended for state in states):
                    return states
                self._changed.wait(min(left, LOOK_EVERY_S))

    def cancel(self, ticket: _InThread | _InProcess) -> None:
        """As `TaskEngine.cancel`; a thread stops at its next report of progress."""
        ticket.cancel()
        with self._changed:
            self._start_some()

    def _start_some(self) -> None:
        """Start the processes that resources suffice for; call under the lock."""
        self._processes = [p for p in self._processes if not p.state().ended]
        running = [p for p in self._processes if p.started]
        for process in self._processes:
            if process.started:
                continue
            gpus = self._free_gpus(running) if process.gpus else []
            if running and not self._has_room(process, running, gpus):
                return  # later ones wait too, else a large one would never start
            process.start(gpus[: process.gpus])
            running.append(process)

    def _has_room(
        self, process: _InProcess, running: Sequence[_InProcess], gpus: Sequence[str]
    ) -> bool:
        cores = sum(p.cores for p in (process, *running))
        memory = sum(p.memory for p in (process, *running))
        fits = self._memory is None or memory <= self._memory
        return fits and cores <= self._cores and process.gpus <= len(gpus)

    def _free_gpus(self, running: Sequence[_InProcess]) -> list[str]:
        taken = {name for process in running for name in process.gpu_names}
        return [name for name in self._gpus if name not in taken]

    @cached_property
    def _memory(self) -> int | None:
        return machine.memory()[0]

    @cached_property
    def _gpus(self) -> list[str]:
        """As `CUDA_VISIBLE_DEVICES` names them."""
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
        if allowed is not None:
            return [name for name in allowed.split(",") if name.strip() not in ("", "-1")]
        return [str(number) for number in range(len(machine.gpus()))]


class _InThread:
    """A task in a thread: its latest progress, and how it ended."""

    def __init__(
        self, name: str, function: Callable[[Progress], None], changed: threading.Condition
    ):
        self._function, self._changed = in_scope(function), changed
        self._asked_to_stop = threading.Event()
        self._state = TaskState("running")
        # A daemon, so that a second Ctrl-C can end a process whose stage does not stop.
        self._thread = threading.Thread(target=self._run, name=f"voxterra-{name}", daemon=True)
        self._thread.start()

    def state(self) -> TaskState:
        return self._state

    def cancel(self) -> None:
        self._asked_to_stop.set()
        self._thread.join()

    def _progress(self, fraction: float, message: str = "") -> None:
        if self._asked_to_stop.is_set():
            raise Cancelled("The run was stopped.", next_step=RESUME_STEP)
        self._state = TaskState("running", min(max(float(fraction), 0.0), 1.0), message)

    def _run(self) -> None:
        try:
            self._function(self._progress)
            last = self._state
            end = TaskState("done", last.fraction, last.message)
        except BaseException as error:  # every error belongs to the thread that waits
            stopped = isinstance(error, Cancelled) and self._asked_to_stop.is_set()
            end = TaskState("cancelled" if stopped else "failed", error=error)
        with self._changed:
            self._state = end
            self._changed.notify_all()


class _InProcess:
    """A task in a process: `voxterra.pipeline.engine.worker`, with a folder to exchange files."""

    def __init__(self, task: Task, cores: int, memory: int, gpus: int):
        self.cores, self.memory, self.gpus = cores, memory, gpus
        self.gpu_names: Sequence[str] = ()
        self._task = task
        self._process: subprocess.Popen[bytes] | None = None
        self._end: TaskState | None = None
        self._lock = threading.RLock()
        self._temporary = tempfile.TemporaryDirectory(
            prefix="voxterra-task-", ignore_cleanup_errors=True
        )
        self._folder = Path(self._temporary.name)
        write_task(task, self._folder / "task.json")

    @property
    def started(self) -> bool:
        return self._process is not None

    def start(self, gpu_names: Sequence[str]) -> None:
        with self._lock:
            if self._end is not None:  # cancelled meanwhile
                return
            self.gpu_names = gpu_names
            env = os.environ | dict.fromkeys(_THREADS, str(self.cores))
            if gpu_names:
                env["CUDA_VISIBLE_DEVICES"] = ",".join(gpu_names)
            files = [str(self._folder / name) for name in ("task.json", "state.json")]
            program = [sys.executable, "-m", "voxterra.pipeline.engine.worker", *files]
            with (self._folder / "output.txt").open("wb") as output:
                self._process = subprocess.Popen(
                    [*program, "--with-starter"],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=env,
                    start_new_session=True,  # Ctrl-C reaches it by `cancel` alone
                )

    def state(self) -> TaskState:
        with self._lock:
            if self._end is not None:
                return self._end
            if self._process is None:
                return TaskState("waiting")
            code = self._process.poll()
            last = self._last() or TaskState("running")
            if code is None:
                return TaskState("running", 1.0) if last.ended else last
            return self._ended(last if last.ended else lost(self._task, self._how(code)))

    def cancel(self) -> None:
        with self._lock:
            if self._end is not None:
                return
            if self._process is None:
                self._ended(TaskState("cancelled"))
                return
            self._kill(self._process, "SIGTERM")
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._kill(self._process, "SIGKILL")
                self._process.wait()
            last = self._last()
            self._ended(last if last and last.ended else TaskState("cancelled"))

    @staticmethod
    def _kill(process: subprocess.Popen[bytes], name: str) -> None:
        """End a process and those that it started."""
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, getattr(signal, name))
        else:
            process.kill()

    def _last(self) -> TaskState | None:
        return read_state(self._folder / "state.json")

    def _ended(self, state: TaskState) -> TaskState:
        self._end = state
        if self._process is not None:
            self._kill(self._process, "SIGKILL")  # processes it started and left
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._temporary.cleanup()
        return state

    def _how(self, code: int) -> str:
        """How a process without a final state ended, with the last line it printed."""
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        lines = (self._folder / "output.txt").read_text("utf-8", "replace").split("\n")
        printed = [line.strip() for line in lines if line.strip()]
        return f"{how} ({printed[-1]})" if printed else how
