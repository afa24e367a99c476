"""Both built-in backends keep the contract that authors of others are held to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from voxterra.core.artifact import Artifact
from voxterra.core.costs import Cost
from voxterra.errors import ReconstructionError
from voxterra.surface.backend import BACKENDS, SurfaceResult, checked
from voxterra.testing import check_backend, plane_mesh


def test_fusion_conforms(tmp_path):
    assert len(check_backend(BACKENDS.get("fusion"), tmp_path).mesh.faces) > 100


def test_voxels_conform(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    backend = BACKENDS.get("voxels")
    tiny = replace(
        backend.options(), n_iter=10, sh_degree=0, outside_level=2, max_level=5, max_voxels=20_000,
        ss=1.0, device="cpu",
    )  # fmt: skip
    real = backend.run
    monkeypatch.setattr(backend, "run", lambda i, options, p: real(i, tiny, p))
    made = check_backend(backend, tmp_path)
    assert made.facts["iterations"] == 10 and (tmp_path / "out/model.npz").is_file()


@dataclass(frozen=True)
class Options:
    pass


class Deaf:
    """Never calls progress."""

    name, license, needs, version, options = "deaf", "MIT", (), 1, Options

    def preset(self, name, machine):
        return Options()

    def check(self, options):
        pass

    requires = check

    def estimate(self, work, options):
        return Cost(1.0, 1.0)

    def run(self, inputs, options, progress):
        return SurfaceResult(plane_mesh())


def test_a_backend_that_cannot_be_stopped_is_named(tmp_path):
    with pytest.raises(AssertionError, match="Cancelled"):
        check_backend(Deaf(), tmp_path)


@pytest.mark.parametrize("wrong", ["nothing", "no faces", "not finite", "no such vertex", "file"])
def test_a_broken_result_is_refused_by_the_backends_name(tmp_path, wrong):
    mesh = plane_mesh()
    results = {
        "nothing": SurfaceResult(None),
        "no faces": SurfaceResult(replace(mesh, faces=mesh.faces[:0])),
        "not finite": SurfaceResult(replace(mesh, vertices=mesh.vertices * float("nan"))),
        "no such vertex": SurfaceResult(replace(mesh, faces=mesh.faces + 9999)),
        "file": SurfaceResult(None, artifacts=(Artifact("a", tmp_path / "a", "model", ""),)),
    }
    with pytest.raises(ReconstructionError, match="backend 'theirs'"):
        checked("theirs", results[wrong])
