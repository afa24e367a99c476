"""`voxterra view`: mesh, cloud and cameras of a run in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from voxterra.cli.arguments import parse
from voxterra.cli.viewer import load_scene, serve

DESCRIPTION = """\
Show mesh, cloud and cameras of a run in the browser; Ctrl-C ends it.
A click on a camera moves to it.

Examples:
  voxterra view runs/site
  voxterra view runs/site --host 0.0.0.0 --port 9000     (for other machines in the network)
"""


@dataclass(frozen=True)
class ViewArguments:
    """Options of `voxterra view`."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets the whole network look."""
    port: int = 8080
    """Port to listen on; the next free one is taken when it is in use."""


def run(args: list[str]) -> int:
    """Serve until Ctrl-C."""
    given = parse(ViewArguments, args, verb="view", description=DESCRIPTION)
    server = serve(load_scene(given.run), host=given.host, port=given.port)
    print(f"Open http://{given.host}:{server.get_port()} in a browser; Ctrl-C ends.", flush=True)
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        server.stop()
    return 0
