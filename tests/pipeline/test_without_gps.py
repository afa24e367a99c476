"""Photos that record no position: no product, table or line claims metres or a CRS (slow: runs)."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import laspy
import pytest
import rasterio

from voxterra.cli.main import main

pytestmark = pytest.mark.slow
SMALL = (
    *("--preset", "preview", "--backend", "fusion", "--depth.max-size", "320"),
    *(
        "--depth.color-max-size",
        "640",
        "--sfm.max-image-size",
        "1000",
        "--sfm.max-features",
        "3000",
    ),
    *("--mesh.max-faces", "20000", "--texture.max-atlas-px", "512"),
)
# Lengths in metres and names of maps. "Rasters of metres" in a sentence would be one too.
CLAIM = re.compile(r"[\d.]\s?(?:mm|cm|m|km|m²)(?![\w/])|EPSG|UTM|WGS")


@pytest.fixture(scope="module", params=["uav_copr_gcp", "fountain_p11"])
def products(
    request: pytest.FixtureRequest,
    shared_data: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    images = shared_data(request.param) / "images"
    photos = sorted(p for p in images.iterdir() if p.suffix.lower() in (".jpg", ".png"))[:7]
    out = tmp_path_factory.mktemp(request.param) / "run"
    assert main(["run", *map(str, photos), "--out", str(out), *SMALL]) == 0
    return out / "products"


def visible(html: str) -> str:
    """The words of a page, of its drawings too."""
    for hidden in (r"<style.*?</style>", r"<img[^>]*>"):
        html = re.sub(hidden, " ", html, flags=re.S)
    return re.sub(r"<[^>]+>", " ", html)


def test_the_terminal(products: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--out", str(products.parent)]) == 0  # tells all of it again
    told = capfd.readouterr().out
    (line,) = [line for line in told.splitlines() if line.startswith("Accuracy:")]
    assert line == "Accuracy: local frame, not on the map (scale unknown)"
    stages = "\n".join(line for line in told.splitlines() if "up to date" in line)
    assert stages and not CLAIM.search(stages)


def test_the_report(products: Path) -> None:
    text = visible((products / "report.html").read_text(encoding="utf-8"))
    claims = [m[0] for m in CLAIM.finditer(text)]
    assert not claims, claims
    assert "Scale unknown" in " ".join(text.split()) or "scale unknown" in text


def test_metadata_and_cameras(products: Path) -> None:
    data = json.loads((products / "metadata.json").read_text())
    assert data["crs"] is None and data["origin"] is None
    assert data["scale"] == {"known": False, "unit": "model units"}
    assert "scale unknown" in data["accuracy"]["statement"]
    assert data["coverage"]["area_unit"] == "square model units"
    (component,) = data["accuracy"]["components"]
    metres = {k: v for k, v in component.items() if k.endswith(("_m", "_deg"))}
    assert metres and set(metres.values()) == {None} and component["scale_sigma"] is None
    assert not any(CLAIM.search(product["description"]) for product in data["products"])
    cameras = json.loads((products / "cameras.json").read_text())
    assert cameras["unit"] == "model units" and not (products / "cameras.geojson").exists()


def test_the_files(products: Path) -> None:
    for name in ("dsm.tif", "ortho.tif"):
        with rasterio.open(products / name) as raster:
            assert raster.crs is None and "scale unknown" in raster.tags()["SCALE"]
    for name in ("scene.ply", "cloud.ply", "scene.obj"):
        head = (products / name).read_bytes()[:600].decode("ascii", "replace")
        assert "unit: model units (scale unknown" in head and not CLAIM.search(head)
    glb = (products / "scene.glb").read_bytes()
    size = struct.unpack("<I", glb[12:16])[0]
    extras = json.loads(glb[20 : 20 + size])["asset"]["extras"]["voxterra"]
    assert extras["unit"] == "model units" and extras["crs"] is None
    assert not extras["scale_known"] and extras["ecef_from_world"] is None
    with laspy.open(products / "cloud.laz") as cloud:
        wkt = next(v.string for v in cloud.header.vlrs if hasattr(v, "string"))
    assert 'UNIT["unknown"' in wkt and "scale unknown" in wkt and not CLAIM.search(wkt)
