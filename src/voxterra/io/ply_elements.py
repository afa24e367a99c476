"""The PLY container: elements with scalar and list properties, ASCII and binary.

Format: Greg Turk, "The PLY Polygon File Format", Stanford 1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from voxterra.errors import FormatError
from voxterra.io.files.disk import cannot_read

Columns = dict[str, NDArray[Any]]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str  # numpy type of the value, or of a list's entries
    count_kind: str | None = None  # numpy type of a list's length


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


def read_ply_elements(path: Path) -> dict[str, Columns]:
    """Everything in a PLY file: properties by name by element.

    A scalar property is (N,); a list property is (N, k) when all lists have k entries, else an
    (N,) object array of arrays.

    Raises:
        FormatError: not a PLY file, or truncated.
        InputError: the file cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            order, elements = _read_header(file)
            body = np.frombuffer(file.read(), np.uint8)
        if order is None:
            with np.errstate(
                invalid="raise", over="raise"
            ):  # what is no number where a whole one should be
                return _read_ascii(body.tobytes(), elements)
        return _read_binary(body, elements, order)
    except OSError as error:
        raise cannot_read(error, path) from error
    except (ValueError, IndexError, KeyError, ArithmeticError, MemoryError) as error:
        raise FormatError(
            f"This is not a readable PLY file: {error}.",
            where=str(path),
            next_step="Export it again as PLY, or copy it again if it was cut off.",
        ) from error


def _read_header(file: BinaryIO) -> tuple[str | None, list[_Element]]:
    if file.readline(_MAX_HEADER_BYTES).strip() != b"ply":
        raise ValueError("the first line is not 'ply'")
    order: str | None = ""
    elements: list[_Element] = []
    while True:
        line = file.readline(_MAX_HEADER_BYTES)
        if not line or file.tell() > _MAX_HEADER_BYTES:
            raise ValueError("its header has no end")
        words = line.decode("latin-1").split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "end_header":
            break
        if words[0] == "format":
            order = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}[words[1]]
        elif words[0] == "element":
            elements.append(_Element(words[1], int(words[2]), ()))
        elif words[0] == "property":
            new = _property(words)
            last = elements[-1]
            elements[-1] = _Element(last.name, last.count, (*last.properties, new))
        else:
            raise ValueError(f"unknown header line '{' '.join(words)[:60]}'")
    if order == "" or any(element.count < 0 for element in elements):
        raise ValueError("its header names no format or a negative count")
    return order, elements


def _property(words: list[str]) -> _Property:
    if words[1] == "list":
        return _Property(words[4], _TYPES[words[3]], _TYPES[words[2]])
    return _Property(words[2], _TYPES[words[1]])


def _read_binary(body: NDArray[np.uint8], elements: list[_Element], order: str) -> dict[str, Any]:
    out, offset = {}, 0
    for element in elements:
        if element.count == 0 or not element.properties:
            out[element.name] = {p.name: np.empty(0, p.kind) for p in element.properties}
            continue
        columns, size = _read_uniform(body[offset:], element, order)
        if columns is None:
            columns, size = _read_ragged(body[offset:], element, order)
        out[element.name] = columns
        offset += size
    return out


def _read_uniform(
    body: NDArray[np.uint8], element: _Element, order: str
) -> tuple[Columns | None, int]:
    """Columns when every list has the length it has in the first row; else None."""
    fields: list[Any] = []
    position = 0
    for p in element.properties:
        if p.count_kind is None:
            fields.append((p.name, order + p.kind))
            position += np.dtype(p.kind).itemsize
            continue
        raw = body[position : position + np.dtype(p.count_kind).itemsize]
        length = int(raw.view(order + p.count_kind)[0]) if raw.size else 0
        fields.append((f"\0{p.name}", order + p.count_kind))
        fields.append((p.name, order + p.kind, (length,)))
        position += raw.size + length * np.dtype(p.kind).itemsize
    dtype = np.dtype(fields)
    size = element.count * dtype.itemsize
    has_lists = any(p.count_kind for p in element.properties)
    if size > body.size:
        if has_lists:
            return None, 0
        raise ValueError(f"it ends inside '{element.name}'")
    rows = body[:size].view(dtype)
    for p in element.properties:
        if p.count_kind and (rows[f"\0{p.name}"] != dtype[p.name].shape[0]).any():
            return None, 0
    names = [p.name for p in element.properties]
    return {
        n: np.ascontiguousarray(rows[n]).astype(rows[n].dtype.newbyteorder("=")) for n in names
    }, size


def _read_ragged(body: NDArray[np.uint8], element: _Element, order: str) -> tuple[Columns, int]:
    columns: dict[str, list[Any]] = {p.name: [] for p in element.properties}
    buffer, offset = body.tobytes(), 0
    for _ in range(element.count):
        for p in element.properties:
            length = 1
            if p.count_kind is not None:
                length = int(np.frombuffer(buffer, order + p.count_kind, 1, offset)[0])
                offset += np.dtype(p.count_kind).itemsize
            if length < 0:
                raise ValueError(f"a list of '{element.name}' has a negative length")
            values = np.frombuffer(buffer, order + p.kind, length, offset)
            offset += values.nbytes
            columns[p.name].append(values if p.count_kind else values[0])
    return {p.name: _stack(columns[p.name], p) for p in element.properties}, offset


def _read_ascii(body: bytes, elements: list[_Element]) -> dict[str, Columns]:
    lines = [line for line in body.decode("latin-1").splitlines() if line.strip()]
    out, row = {}, 0
    for element in elements:
        chunk = lines[row : row + element.count]
        if len(chunk) < element.count:
            raise ValueError(f"it ends inside '{element.name}'")
        row += element.count
        columns: dict[str, list[Any]] = {p.name: [] for p in element.properties}
        for line in chunk:
            words, at = line.split(), 0
            for p in element.properties:
                length = 1
                if p.count_kind is not None:
                    length, at = int(words[at]), at + 1
                values = [float(w) for w in words[at : at + length]]
                if len(values) < length:
                    raise ValueError(f"a line of '{element.name}' is too short")
                at += length
                columns[p.name].append(np.array(values) if p.count_kind else values[0])
        out[element.name] = {p.name: _stack(columns[p.name], p) for p in element.properties}
    return out


def _stack(values: list[Any], p: _Property) -> NDArray[Any]:
    if p.count_kind is None:
        return np.array(values, np.dtype(p.kind))
    if len({len(v) for v in values}) <= 1:
        return np.array(values, np.float64).astype(p.kind)
    out = np.empty(len(values), object)
    out[:] = [np.asarray(v).astype(p.kind) for v in values]
    return out
