"""List the files of photos and options that count for fingerprints: those that ingest reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from voxterra.pipeline.folder.file_hashes import FileHashes, Listing
from voxterra.pipeline.folder.workspace import Workspace


def hashes_of(workspace: Workspace) -> FileHashes:
    """Hashes of a run's photos and of files among its options, with those known from before."""
    return FileHashes(Listing(_source, _folder), workspace.hashes_file)


def _source(source: Sequence[Path]) -> Iterable[Path]:
    from voxterra.ingest.sources import files_read

    return files_read(source)


def _folder(folder: Path) -> Iterable[Path]:
    from voxterra.ingest.listing import files_under

    return files_under(folder, skip="")
