"""The version of Voxterra, as results record it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("voxterra")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0+unknown"
