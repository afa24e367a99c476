"""A process that runs one task: `python -m voxterra.pipeline.engine.worker TASK.json STATE.json`.

Engines start it wherever both files and the run folder can be reached. `write_task` makes the first
file; the worker writes the second while it works, and `read_state` reads it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from voxterra import errors
from voxterra.errors import UsageError, VoxterraError, is_out_of_memory
from voxterra.io.files.atomic import temporary_name
from voxterra.io.files.json_file import read_json
from voxterra.pipeline.engine.collected_warnings import collecting_warnings
from voxterra.pipeline.engine.tasks import Task, TaskState

WRITE_EVERY_S = 0.1
"""How often progress is written."""


class TaskError(Exception):
    """Another error than `VoxterraError` of a task in another process; its traceback is a note."""


def write_task(task: Task, path: Path) -> None:
    """Write the task file of a worker.

    Raises:
        UsageError: the task can only be done in this process.
    """
    if not task.call:
        raise UsageError(
            f"The task '{task.name}' is a function that other processes cannot import.",
            where="run(engine=...)",
            next_step="Take engine='local', or put the function into a module of a package.",
        )
    data = {
        "step": task.step,
        "part": task.part,
        "folder": str(task.folder.absolute()),
        "call": task.call,
        "arguments": dict(task.arguments),
    }
    path.write_text(json.dumps(data), encoding="utf-8")


def read_task(path: Path) -> Task:
    """Read a task file of `write_task`."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Task(data["step"], Path(data["folder"]), data["call"], data["arguments"], data["part"])


def read_state(path: Path) -> TaskState | None:
    """Read the last state a worker wrote; None if it has not started."""
    data = read_json(path)
    if not isinstance(data, dict):
        return None
    error = _error(data["error"]) if data["error"] else None
    return TaskState(
        data["status"], data["fraction"], data["message"], error, tuple(data["warnings"])
    )


def _plain(error: BaseException) -> dict[str, Any]:
    """An error as JSON; `_error` is the inverse."""
    plain: dict[str, Any] = {"kind": type(error).__name__, "what": str(error), "errno": None}
    plain |= {"where": None, "next_step": None}
    plain["traceback"] = "".join(traceback.format_exception(error))
    if isinstance(error, VoxterraError):
        named = next(c for c in type(error).__mro__ if getattr(errors, c.__name__, None) is c)
        plain |= {"kind": named.__name__, "what": error.what}
        plain |= {"where": error.where, "next_step": error.next_step}
    elif is_out_of_memory(error):
        plain["kind"] = MemoryError.__name__
    elif isinstance(error, OSError) and error.errno is not None:
        plain |= {"errno": error.errno, "what": error.strerror}
        plain["where"] = None if error.filename is None else os.fsdecode(error.filename)
    return plain


def _error(plain: Mapping[str, Any]) -> BaseException:
    kind, what = getattr(errors, plain["kind"], None), plain["what"]
    if isinstance(kind, type) and issubclass(kind, VoxterraError):
        return kind(what, where=plain["where"], next_step=plain["next_step"])
    if plain["kind"] == MemoryError.__name__:
        return MemoryError(what)
    if plain["errno"] is not None:
        return OSError(plain["errno"], what, *filter(None, [plain["where"]]))
    error = TaskError(f"{plain['kind']}: {what}")
    error.add_note(plain["traceback"])
    return error


class _StateFile:
    """Writes the state file: the latest progress from time to time, and the end of the task."""

    def __init__(self, path: Path):
        self._path, self._latest, self._ended = path, (0.0, ""), threading.Event()
        self._write("running")
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def progress(self, fraction: float, message: str = "") -> None:
        self._latest = min(max(float(fraction), 0.0), 1.0), message

    def end(self, status: str, **more: Any) -> None:
        self._ended.set()
        self._thread.join()
        self._write(status, **more)

    def _follow(self) -> None:
        written = self._latest
        while not self._ended.wait(WRITE_EVERY_S):
            if self._latest != written:
                written = self._latest
                with suppress(
                    OSError
                ):  # a disk that is full for a moment; the end must get through
                    self._write("running")

    def _write(self, status: str, **more: Any) -> None:
        fraction, message = self._latest
        state = {"status": status, "fraction": fraction, "message": message}
        state |= {"error": None, "warnings": []} | more
        temporary = temporary_name(self._path)
        temporary.write_text(json.dumps(state), encoding="utf-8")
        os.replace(temporary, self._path)


def do(task: Task, state_file: Path) -> None:
    """Run a task, and write its progress and its end into `state_file`."""
    state = _StateFile(state_file)
    failed: dict[str, Any] | None = None
    with collecting_warnings(f"task {task.name}") as warned:
        try:
            imported(task.call)(task.folder, state.progress, **task.arguments)
        except BaseException as error:  # any error: the engine waits for it
            failed = _plain(error)
    warnings = list(dict.fromkeys(warned))
    state.end("failed" if failed else "done", error=failed, warnings=warnings)


def imported(target: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def target_of(function: Callable[..., Any]) -> str:
    """ "module:function" of a function that other processes can import; "" of others."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or module == "__main__":
        return ""
    with suppress(Exception):  # a function in a function, a partial one
        target = f"{module}:{name}"
        return target if imported(target) is function else ""
    return ""


def _end_with_starter() -> None:
    """End with the engine: it holds this process's input open, and is gone once that closes."""
    while sys.stdin.buffer.read(1 << 16):
        pass
    os._exit(1)


def main() -> None:
    """Run the task of a file, and end at once: the result is committed, or never will be."""
    task_file, state_file, *flags = sys.argv[1:]
    if "--with-starter" in flags:
        threading.Thread(target=_end_with_starter, daemon=True).start()
    do(read_task(Path(task_file)), Path(state_file))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
