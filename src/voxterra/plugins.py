"""What authors of plugins need: `import voxterra as vt; vt.plugins.BACKENDS.register(...)`.

`docs/extending.md` has a section for each kind.
"""

from voxterra.core.artifact import Artifact
from voxterra.core.costs import Cost
from voxterra.core.registry import Registry, Unavailable
from voxterra.products.exporter import EXPORTERS, Exporter, ExportInputs, Product
from voxterra.surface.backend import (
    BACKENDS,
    SurfaceBackend,
    SurfaceInputs,
    SurfaceResult,
    SurfaceWork,
)

__all__ = [
    "BACKENDS",
    "EXPORTERS",
    "Artifact",
    "Cost",
    "ExportInputs",
    "Exporter",
    "Product",
    "Registry",
    "SurfaceBackend",
    "SurfaceInputs",
    "SurfaceResult",
    "SurfaceWork",
    "Unavailable",
]
