"""What a fusion has done so far, kept on disk so that a stopped one can go on."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.errors import FormatError
from voxterra.io.files.atomic import atomic_path
from voxterra.surface.fusion.allocate import Volume


@dataclass(frozen=True)
class Piece:
    """Mesh of one region; `keys` are numbers of lattice edges, the same in all regions.

    `sources` (V,) uint8 is the `SurfaceSource` of the vertices.
    """

    keys: NDArray[np.int64]
    vertices: NDArray[np.float32]
    colors: NDArray[np.uint8]
    sources: NDArray[np.uint8]
    faces: NDArray[np.int32]


@dataclass(frozen=True)
class KeptWork:
    """The volume and the finished regions of one fusion.

    Attributes:
        folder: where they lie; None keeps nothing.
    """

    folder: Path | None

    def volume(self) -> Volume | None:
        data = self._read("volume")
        if data is None:
            return None
        single = {name: float(data[name]) for name in ("voxel", "max_footprint")}
        return Volume(**{**data, **single})

    def keep_volume(self, volume: Volume) -> None:
        self._write("volume", volume)

    def piece(self, region: int) -> Piece | None:
        data = self._read(f"region_{region:06d}")
        return None if data is None else Piece(**data)

    def keep_piece(self, region: int, piece: Piece) -> None:
        self._write(f"region_{region:06d}", piece)

    def _write(self, name: str, value: Volume | Piece) -> None:
        if self.folder is None:
            return
        arrays: dict[str, Any] = {f.name: getattr(value, f.name) for f in fields(value)}
        with atomic_path(self.folder / f"{name}.npz") as temporary:
            np.savez(temporary, **arrays)

    def _read(self, name: str) -> dict[str, Any] | None:
        if self.folder is None:
            return None
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(
                f"What a stopped fusion left is damaged ({error}).",
                where=str(path),
                next_step="Delete it; the rest is used.",
            ) from error
