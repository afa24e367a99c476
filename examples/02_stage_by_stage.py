"""The first stages as plain functions, without a run folder: photos to cameras on the map.

python examples/02_stage_by_stage.py [--photos demo/photos]
"""

import argparse
import tempfile
from pathlib import Path

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=REPO / "demo" / "photos")
    parser.add_argument("--out", type=Path, help="not used here: nothing is kept")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        photos = vt.ingest_photos(args.photos, work_dir=work_dir)
        config = vt.SfmConfig(max_image_size=800, max_features=2000)
        found = vt.reconstruct(photos, config, work_dir=work_dir)
        placed = vt.georeference(found.components, photos)

    print(
        f"{len(photos)} photos, {len(found.components[0].images)} of them in the largest component"
    )
    for photo in found.unregistered:
        print(f"  {photo.name} is not registered: {photo.reason}. {photo.advice}")
    print(f"world: {placed.frame.describe()}")
    for component in placed.components:
        on_map = placed.frame.to_map(component.centers_in_world())
        for image, (east, north, height) in zip(component.images, on_map):
            print(f"  {image.name}: E {east:.2f}  N {north:.2f}  height {height:.2f} m")


if __name__ == "__main__":
    main()
