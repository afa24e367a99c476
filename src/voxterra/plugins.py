"""What authors of plugins need: `import voxterra as vt; vt.plugins.BACKENDS.register(...)`.

`docs/extending.md` has a section for each kind.
"""

from voxterra.core.artifact import Artifact
from voxterra.core.costs import Cost
from voxterra.core.registry import Registry, Unavailable
from voxterra.depth.source import DEPTH_SOURCES, DepthInputs, DepthSource, DepthTask
from voxterra.pipeline.engine.tasks import ENGINES, Task, TaskEngine, TaskState, lost
from voxterra.pipeline.engine.worker import read_state, write_task
from voxterra.products.exporter import EXPORTERS, Exporter, ExportInputs, NothingToMake, Product
from voxterra.surface.backend import (
    BACKENDS,
    SurfaceBackend,
    SurfaceInputs,
    SurfaceResult,
    SurfaceWork,
)

__all__ = [
    "BACKENDS",
    "DEPTH_SOURCES",
    "ENGINES",
    "EXPORTERS",
    "Artifact",
    "Cost",
    "DepthInputs",
    "DepthSource",
    "DepthTask",
    "ExportInputs",
    "Exporter",
    "NothingToMake",
    "Product",
    "Registry",
    "SurfaceBackend",
    "SurfaceInputs",
    "SurfaceResult",
    "SurfaceWork",
    "Task",
    "TaskEngine",
    "TaskState",
    "Unavailable",
    "lost",
    "read_state",
    "write_task",
]
