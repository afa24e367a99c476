"""JSON files; apart from the products' metadata, since a machine that only trains has no pyproj."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from voxterra.io.files.atomic import atomic_path


def write_json(data: Any, path: Path) -> None:
    """JSON with finite numbers only: not-a-number and infinities become null.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; None if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    """`value` with NumPy values, paths and non-finite numbers made fit for JSON."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
