"""Where each photo was taken, and what it shows of the ground."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.progress import Progress
from voxterra.products.exporter import ExportInputs, Product


class Cameras:
    """`cameras.geojson`; of a model that lies on no map `cameras.json`."""

    name, group, license, version = "cameras", "vector", "Apache-2.0", 1
    needs, uses, options = ("cameras", "photos"), ("mesh",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.core.footprint import ground_points
        from voxterra.io.files.json_file import write_json
        from voxterra.io.geojson import write_geojson
        from voxterra.products.camera_features import camera_features, footprint_features

        progress(0.0, "cameras")
        frame, georeference = inputs.frame, inputs.georeference
        features = camera_features(georeference, inputs.photos)
        if frame.is_local:
            path = out_dir / "cameras.json"
            cameras = [feature["properties"] for feature in features]
            head = {"frame": frame.to_dict(), "unit": frame.unit, "accuracy": inputs.accuracy}
            write_json(head | {"cameras": cameras}, path)
            return (Product(path.name, path, "vector", f"Cameras, {frame.describe()}"),)
        path = out_dir / "cameras.geojson"
        ground = ground_points(inputs.mesh if inputs.has("mesh") else None, georeference)
        features += footprint_features(tuple(inputs.maps.views), ground, georeference)
        write_geojson(features, path, frame, name="cameras", accuracy=inputs.accuracy)
        return (Product(path.name, path, "vector", "Cameras and footprints, WGS 84 lon/lat"),)
