"""`voxterra view`: mesh, cloud, voxels and cameras of a run or a trained model in the browser."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from voxterra.cli.arguments import parse
from voxterra.errors import UsageError
from voxterra.viewer.scene import load_scene
from voxterra.viewer.server import serve

DESCRIPTION = """\
Show mesh, cloud and cameras of a run in the browser; Ctrl-C ends it. A click on a camera moves to
it. Sparse voxels, of a run or of a model trained without one, are rendered as you fly
through: colour, depth, normals or levels; smaller while you move, and on a CPU.

Examples:
  voxterra view runs/site
  voxterra view models/chair                              (a folder of voxterra train)
  voxterra view runs/site --host 0.0.0.0 --port 9000     (for other machines in the network)
"""


@dataclass(frozen=True)
class ViewArguments:
    """Options of `voxterra view`."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder, or the folder of a trained model."""
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets the whole network look."""
    port: int = 8080
    """Port to listen on; the next free one is taken when it is in use."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where voxels are rendered."""


def run(args: list[str]) -> int:
    """Serve until Ctrl-C."""
    given = parse(ViewArguments, args, verb="view", description=DESCRIPTION)
    check_address(given.host, given.port)
    scene = load_scene(given.run)
    server = serve(scene, host=given.host, port=given.port, device=given.device)
    print(f"Open http://{given.host}:{server.get_port()} in a browser; Ctrl-C ends.", flush=True)
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        server.stop()
    return 0


def check_address(host: str, port: int) -> None:
    """Find out whether a server can listen there; a port in use is no obstacle.

    Raises:
        UsageError: no such address of this machine, or a port that may not be used.
    """
    if not 1 <= port <= 65535:
        raise UsageError(
            f"There is no port {port}.",
            where="voxterra view --port",
            next_step="Give a port from 1024 to 65535, such as 8080.",
        )
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return
        reason = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise UsageError(
            f"Nothing can listen on {host}, port {port}: {reason or error}.",
            where="voxterra view --host/--port",
            next_step="Give --host 127.0.0.1 (this machine) or 0.0.0.0 (all its addresses), and a "
            "port from 1024 on.",
        ) from error
