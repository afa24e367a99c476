"""Check which parts of Voxterra work on this machine: `voxterra doctor`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from voxterra.pipeline.machine import MachineFacts

State = Literal["ok", "missing", "broken"]

# Module and distribution of every package that the default install needs.
REQUIRED: dict[str, str] = {
    "numpy": "numpy",
    "numba": "numba",
    "scipy": "scipy",
    "pycolmap": "pycolmap",
    "PIL": "pillow",
    "pi_heif": "pi-heif",
    "defusedxml": "defusedxml",
    "cv2": "opencv-python-headless",
    "fast_simplification": "fast-simplification",
    "rasterio": "rasterio",
    "pyproj": "pyproj",
    "laspy": "laspy",
    "lazrs": "lazrs",
    "tyro": "tyro",
    "rich": "rich",
    "yaml": "PyYAML",
}
_NUMBA_CUDA = "numba-cuda"


@dataclass(frozen=True)
class Check:
    """One check and its result.

    Attributes:
        name: of the thing.
        state: "ok"; "missing" where only something optional is not there; "broken" where runs of
            any kind will fail.
        found: result, in words.
        next_step: what to do about it; "" when nothing is to be done.
    """

    name: str
    state: State
    found: str
    next_step: str = ""


def check_up(facts: MachineFacts) -> tuple[Check, ...]:
    """Run all checks; imports all packages, which takes seconds."""
    return (
        _python(),
        _packages(),
        _temporary_folder(),
        _cache(),
        _kernels(),
        *_gpu_checks(facts),
        _part("viewer", "viser", "voxterra view"),
        _voxels(),
        *_plugins(),
    )


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", "ok", found)


def _packages() -> Check:
    """All required packages are imported: one that is there may still not load."""
    versions, wrong = [], []
    for module, distribution in REQUIRED.items():
        error = _import_error(module)
        if error:
            wrong.append(f"{distribution}: {error}")
        else:
            versions.append(f"{distribution} {_version(distribution)}")
    if wrong:
        names = " ".join(w.split(":")[0] for w in wrong)
        return Check(
            "packages", "broken", "; ".join(wrong), f"pip --python {sys.executable} install {names}"
        )
    return Check("packages", "ok", ", ".join(versions))


def _import_error(module: str) -> str:
    """Why a module cannot be imported, or ""."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken package may raise anything
        return f"{type(error).__name__}: {error}".split("\n")[0]
    return ""


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "?"


def _writable(folder: Path) -> str:
    """Why nothing can be written into a folder, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _temporary_folder() -> Check:
    folder = Path(tempfile.gettempdir())
    reason = _writable(folder)
    if reason:
        return Check("temporary folder", "broken", f"{folder}: {reason}", "Set TMPDIR to another.")
    return Check("temporary folder", "ok", str(folder))


def _cache() -> Check:
    """Without a cache kernels are compiled again in every run."""
    try:
        import numba

        import voxterra.kernels  # noqa: F401

        folder = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    except Exception as error:  # numba is reported under packages
        return Check("kernel cache", "broken", str(error), "Mend the packages first.")
    reason = _writable(folder)
    if reason:
        step = "Set VOXTERRA_CACHE to a folder that you may write in."
        return Check("kernel cache", "broken", f"{folder}: {reason}", step)
    return Check("kernel cache", "ok", str(folder))


def _kernels() -> Check:
    """Compile and run a kernel with threads, and check its result."""
    start = time.perf_counter()
    try:
        import numpy as np

        from voxterra.kernels.raster.zbuffer import rasterize_height

        corners = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
        faces = np.array([[0, 1, 2]], np.int32)
        heights, _ = rasterize_height(corners, np.full(3, 2.5), faces, 8, 8)
        right = heights[1, 1] == 2.5 and np.isnan(heights[7, 7])
    except Exception as error:  # a compiler fails in many ways
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        return Check("kernels", "broken", text, "Reinstall numba and llvmlite, of one release.")
    seconds = time.perf_counter() - start
    if not right:
        step = "Please report this machine's processor; kernels give wrong results on it."
        return Check("kernels", "broken", "they compile, but give wrong results", step)
    return Check("kernels", "ok", f"compile and run ({seconds:.1f} s)")


def _gpu_checks(facts: MachineFacts) -> tuple[Check, ...]:
    """The card, and whether torch and numba-cuda can use it; optional all of them."""
    if not facts.gpus:
        found = "no NVIDIA GPU (nvidia-smi lists none): everything runs on the processor"
        return (Check("GPU", "missing", found),)
    names = [f"{g.name}, {g.memory_bytes / 1e9:.0f} GB, driver {g.driver}" for g in facts.gpus]
    checks = [Check("GPU", "ok", "; ".join(names))]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip()
    if hidden in ("", "-1"):
        step = "Unset CUDA_VISIBLE_DEVICES."
        return (*checks, Check("GPU in use", "missing", "CUDA_VISIBLE_DEVICES hides it", step))
    checks.append(_usable("torch", _torch_gpu, "pip install 'voxterra[voxels]' for your CUDA"))
    checks.append(_usable(_NUMBA_CUDA, _numba_gpu, "pip install 'voxterra[voxels,gpu]'"))
    return tuple(checks)


def _usable(name: str, look: Callable[[], str], step: str) -> Check:
    """Whether a package can use the GPU; `look` describes it or raises."""
    try:
        return Check(f"GPU by {name}", "ok", look())
    except Exception as error:  # drivers and packages fail in many ways
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        return Check(f"GPU by {name}", "missing", text, step)


def _torch_gpu() -> str:
    from voxterra.kernels.cuda.device import require_torch_gpu

    require_torch_gpu()
    import torch

    free, total = torch.cuda.mem_get_info()
    return f"torch {torch.__version__}: {free / 1e9:.0f} of {total / 1e9:.0f} GB free"


def _numba_gpu() -> str:
    from numba import cuda

    if not cuda.is_available():
        raise RuntimeError("numba sees no GPU")
    from voxterra.kernels.cuda.device import require_kernels
    from voxterra.surface.voxels.device import KERNELS

    require_kernels(KERNELS)

    return f"numba-cuda {_version(_NUMBA_CUDA)}: kernels load"


def _part(name: str, module: str, purpose: str) -> Check:
    """An optional part that is one package."""
    if importlib.util.find_spec(module) is None:
        step = f"pip --python {sys.executable} install {module}"
        return Check(name, "missing", f"not installed; for {purpose}", step)
    error = _import_error(module)
    if error:
        step = f"pip --python {sys.executable} install --force-reinstall {module}"
        return Check(name, "missing", f"does not load: {error}", step)
    return Check(name, "ok", f"{module} {_version(module)}, for {purpose}")


def _voxels() -> Check:
    check = _part("voxels", "torch", "voxterra train and --backend voxels")
    if check.state != "ok":
        return check
    try:
        from voxterra.surface.voxels.config import VoxelConfig
        from voxterra.surface.voxels.device import choose_device

        device = choose_device(VoxelConfig())
    except Exception as error:  # such as a torch of another release
        return Check("voxels", "missing", f"{type(error).__name__}: {error}", "Reinstall torch.")
    where = "on the GPU" if device.type == "cuda" else "on the processor"
    return Check("voxels", "ok", f"{check.found}; they train {where}")


def _plugins() -> list[Check]:
    """Available plugins of each kind, and why an installed one is unavailable."""
    from voxterra.pipeline.recipe.plugins import registries

    checks = []
    for kind, registry in registries().items():
        there = registry.available()
        shown = [n if registry.is_built_in(n) else f"{n} ({p.license})" for n, p in there.items()]
        checks.append(Check(kind, "ok", ", ".join(shown)))
        for gone in registry.unavailable():
            checks.append(
                Check(
                    f"plugin {gone.name}",
                    "missing",
                    f"unavailable: {gone.reason}",
                    f"Repair or remove the package {gone.provider}.",
                )
            )
    return checks
