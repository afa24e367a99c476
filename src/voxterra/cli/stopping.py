"""Ctrl-C, `kill` and a closed terminal end a run in the same way, and are answered at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def telling_that_it_stops() -> Iterator[Callable[[], None]]:
    """Answer the first Ctrl-C at once, since a stage may take a while to hear of it.

    What else asks a process to end (`kill`, a job queue, a terminal that is closed) counts as
    Ctrl-C too. Yields a function to call now and then: COLMAP takes SIGTERM for itself when it is
    imported, in the middle of a run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    stream = os.fdopen(os.dup(2), "w", encoding="utf-8")  # 2 itself will go to the log
    before = {
        number: handler
        for number in _STOPPING
        if (handler := signal.getsignal(number)) != signal.SIG_IGN or number == signal.SIGINT
    }  # nohup ignores SIGHUP, and means it
    stopping = False

    def interrupt(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for number in before:
            signal.signal(number, signal.default_int_handler)
        with suppress(OSError):  # the terminal may be gone
            print("\nstopping ... (Ctrl-C again leaves at once)", file=stream, flush=True)
        raise KeyboardInterrupt

    def listen() -> None:
        for number in () if stopping else before:
            signal.signal(number, interrupt)

    listen()
    try:
        yield listen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        with suppress(OSError):
            stream.close()
