"""Files that the surface backend adds, such as a trained model."""

from __future__ import annotations

import shutil
from pathlib import Path

from voxterra.core.progress import Progress
from voxterra.io.files.atomic import atomic_path
from voxterra.products.exporter import ExportInputs, Product


class Artifacts:
    """Copies them: a product that is edited in place must not change the surface it came from."""

    name, group, license, version = "artifacts", "model", "Apache-2.0", 1
    needs, options = ("artifacts",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        products = []
        for number, artifact in enumerate(inputs.artifacts):
            progress(number / len(inputs.artifacts), artifact.name)
            path = out_dir / artifact.name
            with atomic_path(path) as temporary:
                shutil.copyfile(artifact.path, temporary)
            products.append(Product(artifact.name, path, artifact.kind, artifact.description))
        return tuple(products)
