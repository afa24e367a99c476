"""What editors and type checkers see of `import voxterra as vt`: every name, with its real type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy import api

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((REPO / "examples").glob("*.py"))
MODULES = {"errors", "events", "plugins"}

# Nothing of it may go: others' programs use it.
VERSION_0_1 = """
run RunConfig preset events errors ingest_photos IngestConfig reconstruct SfmConfig georeference
GeorefConfig estimate_depth DepthConfig fuse fuse_cloud FusionConfig clean_mesh CleanConfig
texture_mesh TextureConfig make_products ProductsConfig write_report ReportConfig Camera PinholeView
Photo PhotoSet Image Reconstruction SparsePoints Registration UnregisteredPhoto Similarity GeoFrame
Georeference DepthMap DepthMaps TriMesh Texture PointCloud read_colmap write_colmap read_transforms
write_transforms DepthStore
"""
EVENTS_0_1 = """
RunStarted RunEstimated StageStarted StageProgress StageSkipped StageFinished StageWarning
ProductWritten ApartFinished RunFinished RunFailed to_dict Event
"""

# Bodies of Voxterra's own functions are the business of `make lint`; signatures are enough here.
# Without the large libraries, whose types no public signature has, this takes seconds.
CONFIG = f"""
[mypy]
python_version = 3.11
mypy_path = {REPO / "src"}
implicit_reexport = False
check_untyped_defs = True
ignore_missing_imports = True
[mypy-voxterra,voxterra.*]
follow_imports = silent
[mypy-torch.*,numba.*,cv2.*,scipy.*,pycolmap.*,PIL.*,viser.*,cuda.*,llvmlite.*]
follow_imports = skip
"""

RIGHT = """
from pathlib import Path

import voxterra as vt

folder = Path("runs/site")

def stages() -> None:
    photos = vt.ingest_photos("photos", work_dir=folder)
    found = vt.reconstruct(photos, vt.SfmConfig(max_features=2000), work_dir=folder)
    placed = vt.georeference(found.components, photos)
    maps = vt.estimate_depth(tuple(found.components), photos, out_dir=folder)
    mesh = vt.clean_mesh(vt.fuse(maps, vt.FusionConfig()), vt.CleanConfig(max_faces=1000))
    textured: vt.TriMesh = vt.texture_mesh(mesh, maps)
    cloud: vt.PointCloud = vt.fuse_cloud(maps)
    wkt: str = placed.frame.describe()

def whole() -> None:
    config = vt.preset("preview")
    for event in vt.run("photos", folder, config, until="mesh"):
        if isinstance(event, vt.events.StageFinished):
            seconds: float = event.seconds
    try:
        vt.plugins.BACKENDS.get("fusion").check(config.surface)
    except vt.errors.VoxterraError as error:
        where: str | None = error.where

def voxels() -> None:
    config = vt.VoxelConfig(n_iter=100)
    scene = vt.load_scene(folder, config)
    model: vt.VoxelModel = vt.train(scene, config, out=folder)
    vt.write_voxels(model, folder / "model.npz")
    mesh: vt.TriMesh = vt.make_mesh(vt.read_voxels(folder), vt.MeshOptions(seen_in=2))
    figures = vt.score_views(model, scene, folder, config)

def convert() -> None:
    model: vt.Reconstruction = vt.read_colmap(folder)
    vt.write_transforms(model, folder / "transforms.json")
    vt.write_colmap(vt.read_transforms(folder / "transforms.json"), folder, text=True)

def evaluate() -> None:
    poses: vt.PoseScore = vt.evaluate_poses(folder, folder, "cameras")
    depth: vt.DepthScore = vt.evaluate_depth(folder, folder, "scale")
    raster: vt.RasterScore = vt.evaluate_raster(folder, folder, of="mesh")
    surface: vt.SurfaceScore = vt.evaluate_surface(folder, folder, thresholds=(0.1,))
    geometry: vt.Geometry = vt.read_geometry(folder)
    dtu: vt.DtuScore = vt.score_dtu(geometry, vt.read_dtu_truth(folder, 24))
    tanks: vt.TanksScore = vt.score_tanks(geometry, vt.read_tanks_truth(folder, "Barn"), 0.01)
"""

WRONG = """
from pathlib import Path

import voxterra as vt

vt.reconstruct("nonsense", 3)  # wrong
vt.reconstrct  # wrong
vt.preset("previw")  # wrong
vt.run("photos", "runs/site", {"preset": "high"})  # wrong
vt.SfmConfig(max_feature=2000)  # wrong
vt.train(Path("photos"))  # wrong
mesh: vt.TriMesh = vt.load_scene(Path("photos"))  # wrong
vt.evaluate_poses(Path("run"), Path("truth"), "scale")  # wrong
vt.preset("preview").depth.max_sizes  # wrong
vt.events.StageEnded  # wrong
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory, request) -> dict[str, list[tuple[int, str]]]:
    """What mypy says: lines and messages by file."""
    folder = tmp_path_factory.mktemp("typed")
    names = [name for name in vt._PUBLIC if name not in MODULES]
    files = {
        "names.py": "import voxterra as vt\n" + "".join(f"reveal_type(vt.{n})\n" for n in names),
        "right.py": RIGHT,
        "wrong.py": WRONG,
        "mypy.ini": CONFIG,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    sources = [str(folder / name) for name in files if name.endswith(".py")]
    cache = request.config.cache.mkdir("mypy_of_typed_api")
    options = ["--config-file", str(folder / "mypy.ini"), "--cache-dir", str(cache)]
    out, err, _ = api.run([*options, *sources, *map(str, EXAMPLES)])
    assert not err and "wrong.py" in out, err or out
    said: dict[str, list[tuple[int, str]]] = {}
    for path, line, text in re.findall(r"^(.+?):(\d+): (.*)$", out, re.MULTILINE):
        said.setdefault(Path(path).name, []).append((int(line), text))
    return said


def revealed(checked: dict[str, list[tuple[int, str]]]) -> Iterator[tuple[str, str]]:
    """Public names with what mypy takes them for."""
    names = [name for name in vt._PUBLIC if name not in MODULES]
    for line, text in checked["names.py"]:
        yield names[line - 2], text


def test_checkers_see_the_names_that_python_sees():
    tree = ast.parse((REPO / "src/voxterra/__init__.py").read_text())
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name  # what has no `as` is not handed on
    }
    assert seen == vt._PUBLIC


def test_public_names_of_version_0_1_are_there():
    assert not set(VERSION_0_1.split()) - set(vt._PUBLIC)
    assert not set(EVENTS_0_1.split()) - set(dir(vt.events))


def test_every_public_name_has_a_type(checked):
    found = dict(revealed(checked))
    assert set(found) == set(vt._PUBLIC) - MODULES
    for name, text in found.items():
        kind = re.fullmatch(r'note: Revealed type is "(.*)"', text)
        assert kind, f"{name}: {text}"
        assert kind[1] != "Any" and not kind[1].endswith("-> Any"), f"{name}: {text}"
        if name.islower():  # a function: each argument, too
            assert not re.search(r": (builtins\.object|Any)\b(?! \|)", kind[1]), f"{name}: {text}"


def test_correct_calls_have_no_errors(checked):
    assert "right.py" not in checked


@pytest.mark.parametrize("line", [n for n, t in enumerate(WRONG.split("\n"), 1) if "# wrong" in t])
def test_wrong_calls_are_errors(checked, line):
    errors = [text for at, text in checked["wrong.py"] if at == line and text.startswith("error")]
    assert errors, WRONG.split("\n")[line - 1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_no_type_errors(checked, example):
    assert not checked.get(example.name)
