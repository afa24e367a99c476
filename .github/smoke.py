"""Smoke test of an installed Voxterra: three photos to products, and once more for nothing.

python .github/smoke.py [--photos FOLDER] [--out RUN]

Run it with the Python that Voxterra is installed in, on Linux, macOS or Windows; it needs nothing
else. Without `--photos` it takes three of the demo's. The run folder must not be there yet; without
`--out` it is a temporary one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "demo" / "photos"
THREE = ("DJI_0019.JPG", "DJI_0020.JPG", "DJI_0021.JPG")
SIGNATURES = {"scene.glb": (b"glTF",), "ortho.tif": (b"II*\0", b"II+\0")}
"""What the products begin with: binary glTF; TIFF and BigTIFF, little-endian."""


def voxterra(*args: str | Path, capture: bool = False) -> str:
    """Run the program; its output goes to the console, or is returned."""
    command = [sys.executable, "-m", "voxterra", *map(str, args)]
    print("$ voxterra", *args, flush=True)
    done = subprocess.run(
        command, stdout=subprocess.PIPE if capture else None, text=True, encoding="utf-8"
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout or ''}voxterra ended with exit code {done.returncode}")
    return done.stdout or ""


def check_products(folder: Path) -> None:
    """Stop unless the products that everybody looks at are there and begin as they should."""
    for name, signatures in SIGNATURES.items():
        product = folder / name
        if not product.is_file():
            raise SystemExit(
                f"{name} was not made; {folder} holds {sorted(p.name for p in folder.glob('*'))}"
            )
        if not product.read_bytes().startswith(signatures):
            raise SystemExit(f"{name} does not begin as such a file does")


def check_idle(output: str) -> None:
    """Stop unless these events are those of a run that found all its stages up to date."""
    events = [json.loads(line)["event"] for line in output.splitlines()]
    if "RunFinished" not in events or "StageSkipped" not in events or "StageStarted" in events:
        raise SystemExit(f"the second run was not idle:\n{output}")


def smoke(photos: Path, out: Path) -> None:
    """Run twice and check what came of it."""
    voxterra("--version")
    voxterra("run", photos, "--out", out, "--preset", "preview")
    check_products(out / "products")
    check_idle(voxterra("run", photos, "--out", out, "--preset", "preview", "--json", capture=True))
    print("smoke test passed: the products are there, and the second run did nothing")


def main() -> None:
    """Read the options, lay out the photos, run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--photos", type=Path, help="folder of photos (default: three of the demo's)"
    )
    parser.add_argument("--out", type=Path, help="run folder to make (default: a temporary one)")
    args = parser.parse_args()
    if args.out is not None and args.out.exists():
        parser.error(f"{args.out} is there already; a smoke test begins with nothing")
    with tempfile.TemporaryDirectory(prefix="voxterra smoke ") as folder:
        photos = args.photos
        if photos is None:
            photos = Path(folder) / "photos"
            photos.mkdir()
            for name in THREE:
                shutil.copy2(DEMO / name, photos)
        smoke(photos, args.out or Path(folder) / "run")


if __name__ == "__main__":
    main()
