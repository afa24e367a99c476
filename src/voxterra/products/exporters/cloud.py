"""The dense point cloud, in two formats."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.progress import Progress
from voxterra.products.exporter import ExportInputs, Product


class Laz:
    """`cloud.laz`: in map coordinates."""

    name, group, license, version = "laz", "cloud", "Apache-2.0", 1
    needs, options = ("cloud",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.las import write_las

        path, frame = out_dir / "cloud.laz", inputs.frame
        write_las(inputs.cloud, path, frame, accuracy=inputs.accuracy, progress=progress)
        return (Product(path.name, path, "cloud", f"Point cloud, {frame.describe()}"),)


class CloudPly:
    """`cloud.ply`: in world coordinates."""

    name, group, license, version = "cloud_ply", "cloud", "Apache-2.0", 1
    needs, options = ("cloud",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.ply import write_ply_cloud

        progress(0.0, "cloud.ply")
        path, frame = out_dir / "cloud.ply", inputs.frame
        write_ply_cloud(inputs.cloud, path, frame, accuracy=inputs.accuracy)
        text = f"Point cloud in world coordinates, {frame.unit}"
        return (Product(path.name, path, "cloud", text),)
