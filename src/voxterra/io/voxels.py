"""Sparse-voxel models on disk: one `.npz` (numpy.load reads it), exact or with 8 bits a number.

Entries of both kinds, version 1:

- `header`: JSON with kind, version, quantized, center, inside_edge, outside_level, metadata.
- `level` (N,) int8, `gap_at` (G,) int32, `gap` (G,) int64: the leaves. In path order a leaf begins
  where the one before ends, but for the gaps (`io.voxel_codec.decode_octree`).
- `sharpness` (17,) and `background` (3,) float32.

An exact file has `sdf` (M,), `sh0` (N, 3) and `shs` (N, K - 1, 3), float32. A quantised one has

- `sdf` (M,) uint8: 127 - k below and 128 + k from 0 on stands for -+u(k + 1/2) edges of the largest
  voxel at the corner, u(x) = (0.01 / 0.0235) * (exp(0.0235 x) - 1): steps of 1 % of that edge at
  the surface, 3 % one edge away, cut at 8 edges. Signs are kept.
- `sh0` (N, 3) and `shs` (N, 3 K - 3) uint8, and their `_low` and `_step` (B, C) float32 for blocks
  of 1024 voxels: low + step * code, off by half a step at most.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.voxels import Cube, VoxelModel
from voxterra.errors import FormatError, OutputError
from voxterra.io import voxel_codec as codec
from voxterra.io.files.atomic import atomic_path

VERSION = 1
_KIND = "voxterra voxels"
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, EOFError,
    MemoryError, NotImplementedError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error,
    struct.error,
)  # fmt: skip


def write_voxels(model: VoxelModel, path: Path, *, quantized: bool = False) -> None:
    """Write a model to `path`, whole or not at all.

    Args:
        model: a valid model.
        path: usually named `.npz`.
        quantized: 8 bits a number, about a quarter of the size; see the module for what is lost.

    Raises:
        OutputError: it cannot be written, or the model contradicts itself.
    """
    if (wrong := model.why_invalid()) is not None:
        raise OutputError(
            f"The model of sparse voxels is not valid: {wrong}.",
            where=str(path),
            next_step="This is a fault in Voxterra; please report it with the log of the run.",
        )
    gap_at, gap = codec.encode_octree(model.path, model.level)
    arrays: dict[str, Any] = {"level": model.level.astype(np.int8), "gap_at": gap_at, "gap": gap}
    arrays |= {"sharpness": model.sharpness, "background": model.background}
    arrays |= _quantized(model) if quantized else _exact(model)
    with atomic_path(Path(path)) as temporary, zipfile.ZipFile(temporary, "w") as file:
        _put(file, "header", np.array(json.dumps(_header(model, quantized))), True)
        for name, array in arrays.items():
            # float32 hardly deflates, and takes its time.
            _put(file, name, array, array.dtype != np.float32)


def read_voxels(path: Path) -> VoxelModel:
    """Read what `write_voxels` wrote, of either kind, and check it.

    Raises:
        FormatError: not such a file, damaged, or of a later version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            _check_header(header, path)
            model = _model(header, {name: file[name] for name in file.files if name != "header"})
        wrong = model.why_invalid()
    except _DAMAGE as error:
        raise _bad(path, str(error) or type(error).__name__) from error
    if wrong is not None:
        raise _bad(path, wrong)
    return model


def _bad(path: Path, why: str) -> FormatError:
    return FormatError(
        f"This is not a readable model of sparse voxels ({why}).",
        where=str(path),
        next_step="Give a file that a training wrote, or train again.",
    )


def _header(model: VoxelModel, quantized: bool) -> dict[str, Any]:
    return {
        "kind": _KIND,
        "version": VERSION,
        "quantized": quantized,
        "center": [float(c) for c in model.center],
        "inside_edge": float(model.inside_edge),
        "outside_level": int(model.outside_level),
        "metadata": model.metadata,
    }


def _check_header(header: dict[str, Any], path: Path) -> None:
    if header["kind"] != _KIND:
        raise ValueError("another kind of file")
    if header["version"] != VERSION:
        raise FormatError(
            f"The model of sparse voxels is of version {header['version']}; this Voxterra reads"
            f" version {VERSION}.",
            where=str(path),
            next_step="Update Voxterra, or train again.",
        )


def _exact(model: VoxelModel) -> dict[str, Any]:
    return {name: _float32(getattr(model, name)) for name in ("sdf", "sh0", "shs")}


def _quantized(model: VoxelModel) -> dict[str, Any]:
    sdf = codec.encode_distances(model.sdf, model.path, model.level, model.cube.edge)
    arrays: dict[str, Any] = {"sdf": sdf}
    shs = model.shs.reshape(model.n_voxels, 3 * model.shs.shape[1])
    for name, values in (("sh0", model.sh0), ("shs", shs)):
        arrays[name], arrays[f"{name}_low"], arrays[f"{name}_step"] = codec.encode_blocks(values)
    return arrays


def _model(header: dict[str, Any], arrays: dict[str, Any]) -> VoxelModel:
    level = arrays["level"]
    if level.dtype != np.int8 or level.ndim != 1:
        raise ValueError("levels are no bytes")
    path = codec.decode_octree(level, arrays["gap_at"], arrays["gap"])
    sdf, sh0, shs = arrays["sdf"], arrays["sh0"], arrays["shs"]
    inside_edge, outside_level = float(header["inside_edge"]), int(header["outside_level"])
    if header["quantized"]:
        edge = Cube((0, 0, 0), inside_edge, outside_level).edge  # wherever its centre is
        sdf = codec.decode_distances(sdf, path, level, edge)
        sh0 = codec.decode_blocks(sh0, arrays["sh0_low"], arrays["sh0_step"])
        shs = codec.decode_blocks(shs, arrays["shs_low"], arrays["shs_step"])
        shs = shs.reshape(len(level), shs.shape[1] // 3, 3)
    return VoxelModel(
        center=np.array(header["center"], np.float64),
        inside_edge=inside_edge,
        outside_level=outside_level,
        path=path,
        level=level,
        sdf=_float32(sdf),
        sh0=_float32(sh0),
        shs=_float32(shs),
        sharpness=_float32(arrays["sharpness"]),
        background=_float32(arrays["background"]),
        metadata=dict(header["metadata"]),
    )


def _float32(array: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, np.float32)


def _put(file: zipfile.ZipFile, name: str, array: Any, deflate: bool) -> None:
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with file.open(entry, "w", force_zip64=True) as out:
        np.lib.format.write_array(out, np.asanyarray(array), allow_pickle=False)
