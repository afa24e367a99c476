"""Components that the other products cannot hold, as they lie apart: at other sites."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.progress import Progress
from voxterra.products.exporter import ExportInputs, Product


class Sites:
    """Of each component that lies apart the list of its photos, and its sparse points."""

    name, group, license, version = "sites", "cloud", "Apache-2.0", 1
    needs, options = ("cameras",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.core.mesh import PointCloud
        from voxterra.io.files.atomic import atomic_path
        from voxterra.io.ply import write_ply_cloud

        georeference, products = inputs.georeference, []
        held = set(georeference.mappable_indices())
        for index, component in enumerate(georeference.components):
            if index in held:
                continue
            name, points = f"component_{index + 1}", component.points
            progress(index / len(georeference.components), name)
            path = out_dir / f"{name}.txt"
            with atomic_path(path) as temporary:
                listed = "".join(f"{image.name}\n" for image in component.images)
                temporary.write_text(listed, encoding="utf-8")
            text = f"Photos of component {index + 1}, which lies apart: for --ingest.only"
            products.append(Product(path.name, path, "list", text))
            if len(points):
                path = out_dir / f"{name}.ply"
                frame = georeference.frame_of(index)
                write_ply_cloud(PointCloud(points.positions_in_world, points.colors), path, frame)
                text = f"Sparse points of component {index + 1}, which lies apart: "
                products.append(Product(path.name, path, "cloud", text + frame.describe()))
        return tuple(products)
