"""The mesh, in three formats."""

from __future__ import annotations

from pathlib import Path

from voxterra.core.geo import GeoFrame
from voxterra.core.progress import Progress
from voxterra.products.exporter import ExportInputs, Product


class Glb:
    """`scene.glb`: textured, y up, for viewers."""

    name, group, license, version = "glb", "mesh", "Apache-2.0", 1
    needs, settings, options = ("mesh",), ("jpeg_quality",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.gltf import write_glb

        progress(0.0, "scene.glb")
        path, quality = out_dir / "scene.glb", inputs.config.jpeg_quality
        write_glb(inputs.mesh, path, inputs.frame, jpeg_quality=quality, accuracy=inputs.accuracy)
        look = "textured" if inputs.mesh.texture is not None else "coloured"
        text = f"Mesh, {look}, y up, {inputs.frame.unit}"
        return (Product(path.name, path, "mesh", text),)


class Obj:
    """`scene.obj`, with its material and texture."""

    name, group, license, version = "obj", "mesh", "Apache-2.0", 1
    needs, settings, options = ("mesh",), ("jpeg_quality",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.obj import write_obj

        progress(0.0, "scene.obj")
        frame, quality = inputs.frame, inputs.config.jpeg_quality
        files = write_obj(
            inputs.mesh,
            out_dir / "scene.obj",
            frame,
            jpeg_quality=quality,
            accuracy=inputs.accuracy,
        )
        products = []
        for path in files:
            what = "Mesh" if path.suffix == ".obj" else f"Belongs to scene.obj ({path.suffix})"
            text = f"{what}, {_axes(frame)}, {frame.unit}"
            products.append(Product(path.name, path, "mesh", text))
        return tuple(products)


class MeshPly:
    """`scene.ply`: with vertex colours, in world coordinates."""

    name, group, license, version = "mesh_ply", "mesh", "Apache-2.0", 1
    needs, options = ("mesh",), None

    def requires(self, options: None) -> None:
        pass

    def export(
        self, inputs: ExportInputs, options: None, out_dir: Path, progress: Progress
    ) -> tuple[Product, ...]:
        from voxterra.io.ply import write_ply_mesh

        progress(0.0, "scene.ply")
        path, frame = out_dir / "scene.ply", inputs.frame
        write_ply_mesh(inputs.mesh, path, frame, accuracy=inputs.accuracy)
        text = f"Mesh, vertex colours, {_axes(frame)}, {frame.unit}"
        return (Product(path.name, path, "mesh", text),)


def _axes(frame: GeoFrame) -> str:
    return "local axes" if frame.is_local else "x east, y north, z up"
