"""Voxterra: photographs in, georeferenced 3D out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("voxterra")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
