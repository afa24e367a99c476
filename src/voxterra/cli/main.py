"""The program `voxterra`: finds the verb, and turns every error into one message and exit code."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxterra import __version__
from voxterra.core.wording import nearest
from voxterra.errors import OutputError, UsageError, VoxterraError, exit_code, is_out_of_memory
from voxterra.io.files.disk import cannot_write
from voxterra.pipeline.failures import DISK_ERRORS, INTERNAL_ERROR_CODE

STOPPED_CODE = 130
BROKEN_PIPE_CODE = 141  # as of a program that SIGPIPE ended


@dataclass(frozen=True)
class Verb:
    """A verb: `voxterra NAME ...` calls `run([*prefix, ...])` of `module`, which gives the code."""

    name: str
    module: str
    help: str
    example: str
    prefix: tuple[str, ...] = ()
    without_tyro: bool = False  # reads its command line without tyro
    alone: bool = False  # needs no argument


def _step(name: str, text: str) -> Verb:
    return Verb(name, "voxterra.cli.steps", text, "runs/site", (name,))


# Modules are imported when their verb is used, so that help is instant.
GROUPS: dict[str, tuple[Verb, ...]] = {
    "everything": (
        Verb(
            "run",
            "voxterra.cli.run",
            "photos in, mesh, point cloud, DSM and orthophoto out",
            "photos/ --out runs/site",
        ),
    ),
    "one step of a run (again)": (
        _step("ingest", "read photos and their metadata; ingest PHOTOS --out DIR starts a run"),
        _step("sfm", "find cameras and sparse points"),
        _step("georef", "place the model on the map"),
        _step("depth", "depth, normal and confidence of every photo"),
        _step("surface", "fuse depth maps to a surface and a cloud"),
        Verb(
            "mesh",
            "voxterra.cli.mesh",
            "clean, simplify and texture the mesh; of a trained model: make it",
            "runs/site",
        ),
        _step("products", "write the files for the map and for viewers"),
        _step("report", "write report.html: maps, residuals, statistics, pictures"),
    ),
    "sparse voxels alone": (
        Verb(
            "train",
            "voxterra.cli.train",
            "train on photos with known cameras; then: mesh OUT, eval views OUT",
            "--source_path scan24 --model_path out",
        ),
    ),
    "look and measure": (
        Verb(
            "inspect",
            "voxterra.cli.inspect",
            "print metadata, overlap and warnings of photos before a run",
            "photos/",
        ),
        Verb(
            "view",
            "voxterra.cli.view",
            "mesh, cloud and cameras of a run in the browser",
            "runs/site",
        ),
        Verb(
            "eval",
            "voxterra.cli.eval.eval",
            "score poses, depth, surface, raster or frame; views of a model",
            "poses runs/site truth/cameras.json",
        ),
        Verb(
            "convert",
            "voxterra.cli.convert",
            "COLMAP model to transforms.json, and back",
            "runs/site transforms.json",
        ),
        Verb(
            "doctor",
            "voxterra.cli.doctor",
            "show what this machine can run, and what is missing",
            "--json",
            without_tyro=True,
            alone=True,
        ),
    ),
}
VERBS: dict[str, Verb] = {verb.name: verb for group in GROUPS.values() for verb in group}

EXAMPLES = """\
examples:
  voxterra inspect photos/
  voxterra run photos/ --out runs/site --preset preview
  voxterra run --out runs/site                             (resumes, or does nothing)
  voxterra run photos/ --out runs/site --crs EPSG:25833 --depth.max-size 2400
  voxterra products runs/site --products.gsd-m 0.05        (one step again)
  voxterra view runs/site
  voxterra doctor
"""


def help_text() -> str:
    """What `voxterra --help` prints."""
    lines = [
        "voxterra: photographs in, georeferenced 3D out.",
        "",
        "usage: voxterra VERB [options]        voxterra VERB --help lists a verb's options",
    ]
    for title, verbs in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {verb.name:<10} {verb.help}" for verb in verbs]
    lines += [
        "",
        "  --version  print the version",
        "  --help     print this",
        "",
        EXAMPLES.rstrip(),
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code (`errors.EXIT_CODES`, 70 for an internal error)."""
    args = list(sys.argv[1:] if argv is None else argv)
    # Threads that wait for work spin otherwise, and take the time of those that have some: beside
    # other programs a training took 1.4 to ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_closed_streams()
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except VoxterraError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be gone
            print("stopped", file=sys.stderr)
        _leave_at_once(STOPPED_CODE)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        _print_nowhere()
        return BROKEN_PIPE_CODE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return _cannot_write(error)
        return _out_of_memory() if is_out_of_memory(error) else _internal_error(error)
    return INTERNAL_ERROR_CODE


def print_error(error: VoxterraError) -> None:
    """Tell what went wrong, where, and the next step, on stderr."""
    try:
        from rich.console import Console
        from rich.markup import escape
    except ModuleNotFoundError:  # a machine that only trains
        print(f"error: {error}", file=sys.stderr)
        return
    first, *rest = str(error).split("\n")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]error:[/] {escape(first)}")
    for line in rest:
        console.print(escape(line))


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"voxterra {__version__}")
        return 0
    verb = VERBS.get(args[0])
    if verb is None:
        kind = "option" if args[0].startswith("-") else "verb"
        raise UsageError(
            f"There is no {kind} '{args[0]}'{nearest(args[0], [*VERBS, '--help', '--version'])}",
            next_step="voxterra --help lists the verbs.",
        )
    if len(args) == 1 and not verb.alone:
        raise UsageError(
            f"'{verb.name}' needs an input folder.",
            where=f"voxterra {verb.name}",
            next_step=f"For example: voxterra {verb.name} {verb.example}"
            f"    (more: voxterra {verb.name} --help)",
        )
    module = importlib.import_module(verb.module)
    if verb.without_tyro:
        return int(module.run([*verb.prefix, *args[1:]]))
    from voxterra.cli.values import value_parsers

    with value_parsers(args):
        result: int = module.run([*verb.prefix, *args[1:]])
    return result


def _open_closed_streams() -> None:
    """Where a program is started without stdout or stderr, Python has None for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _print_nowhere() -> None:
    """Close the output, or Python would try to flush it at exit, and print an error."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _cannot_write(error: OSError) -> int:
    if error.filename is not None:
        shown = cannot_write(error, Path(os.fsdecode(error.filename)))
    else:
        _print_nowhere()
        shown = OutputError(
            f"What Voxterra prints cannot be written: {error.strerror}.",
            where="standard output",
            next_step="Make space where it goes, or do not send it to a file; then give the same "
            "command again: what was finished is kept.",
        )
    print_error(shown)
    return exit_code(shown)


def _out_of_memory() -> int:
    shown = VoxterraError(
        "This machine has too little memory.",
        next_step="Take smaller photos or fewer voxels, or close other programs.",
    )
    print_error(shown)
    return exit_code(shown)


def _internal_error(error: Exception) -> int:
    """One message for people; the traceback goes to a file."""
    import tempfile
    import traceback

    where = "(no file could be written)"
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", prefix="voxterra-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file,
    ):
        traceback.print_exception(error, file=file)
        where = file.name
    shown = VoxterraError(
        f"Internal error ({type(error).__name__}: {error}).",
        where=f"details in {where}",
        next_step="Please report it with that file.",
    )
    print_error(shown)
    return INTERNAL_ERROR_CODE


def _leave_at_once(code: int) -> None:
    """End without waiting for a stage that does not listen; its result was never in place."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
