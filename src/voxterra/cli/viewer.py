"""The scene of a run in the browser: mesh, cloud and cameras, each with a switch."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.core.geo import GeoFrame
from voxterra.core.mesh import PointCloud
from voxterra.core.reconstruction import Reconstruction
from voxterra.errors import InputError, MissingPartError

MAX_CLOUD_POINTS = 1_000_000  # what a browser on a laptop still turns smoothly

# glTF is y up, the world z up: a quarter turn about x, as a quaternion.
_WORLD_FROM_GLTF_WXYZ = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """What there is to look at in a run, as far as the run got.

    Attributes:
        title: for the browser's tab.
        glb: bytes of the mesh as GLB, or None.
        cloud: dense if there is one, else the sparse points; or None.
        components: cameras, in the world.
        frame: of the world; None when the run has no georeference yet.
    """

    title: str
    glb: bytes | None
    cloud: PointCloud | None
    components: tuple[Reconstruction, ...]
    frame: GeoFrame | None


def load_scene(run: Path) -> Scene:
    """Read mesh, cloud and cameras of a run folder.

    Raises:
        InputError: no run, or one without cameras yet.
    """
    from voxterra.pipeline.stages import read_components, read_georeferenced

    stages, frame = run / "stages", None
    if (stages / "georef").is_dir():
        placed = read_georeferenced(stages / "georef")
        components, frame = placed.components, placed.frame
    elif (stages / "sfm").is_dir():
        components = read_components(stages / "sfm")
    else:
        raise InputError(
            "There is nothing to look at yet.",
            where=str(run),
            next_step="Give the folder of a run that got as far as its cameras (stage sfm).",
        )
    return Scene(run.resolve().name, _glb(run, frame), _cloud(run, components), components, frame)


def serve(scene: Scene, *, host: str, port: int) -> Any:
    """Start a viser server that shows the scene; returns it (`stop()` ends it).

    Raises:
        MissingPartError: viser is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingPartError(
            "The viewer is not installed.",
            where="voxterra view",
            next_step=f"Install it: pip --python {sys.executable} install viser",
        ) from error
    server = viser.ViserServer(host=host, port=port, label=scene.title, verbose=False)
    server.scene.set_up_direction("+z")
    server.gui.configure_theme(show_logo=False)
    centers = np.vstack([c.centers_in_world() for c in scene.components])
    target, size = _extent(scene, centers)
    layers = {
        "mesh": _add_mesh(server, scene),
        "cloud": _add_cloud(server, scene, size),
        "cameras": _add_cameras(server, scene, size),
    }
    _add_controls(server, scene, layers)
    server.initial_camera.look_at = tuple(target)
    server.initial_camera.position = tuple(target + size * np.array([0.0, -0.6, 0.6]))
    server.initial_camera.up = (0.0, 0.0, 1.0)
    return server


def _glb(run: Path, frame: GeoFrame | None) -> bytes | None:
    product = run / "products" / "scene.glb"
    if product.is_file():
        return product.read_bytes()
    mesh_file = run / "stages" / "mesh" / "mesh.npz"
    if not mesh_file.is_file():
        return None
    from voxterra.io.arrays import read_mesh
    from voxterra.io.gltf import write_glb

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.glb"
        write_glb(read_mesh(mesh_file), path, frame or GeoFrame.local())
        return path.read_bytes()


def _cloud(run: Path, components: tuple[Reconstruction, ...]) -> PointCloud | None:
    dense = run / "stages" / "surface" / "cloud.npz"
    if dense.is_file():
        from voxterra.io.arrays import read_cloud

        cloud = read_cloud(dense)
    elif components:
        cloud = PointCloud(
            np.vstack([c.points.positions_in_world for c in components]),
            np.vstack([c.points.colors for c in components]),
        )
    else:
        return None
    if not len(cloud):
        return None
    step = -(-len(cloud) // MAX_CLOUD_POINTS)
    return PointCloud(cloud.positions_in_world[::step], cloud.colors[::step])


def _extent(scene: Scene, centers: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Centre and size of what there is to see, far outliers left out."""
    points = centers if scene.cloud is None else scene.cloud.positions_in_world
    low, high = np.percentile(points, [2, 98], axis=0)
    return (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0


def _add_mesh(server: Any, scene: Scene) -> Any:
    if scene.glb is None:
        return None
    return server.scene.add_glb("/mesh", scene.glb, wxyz=_WORLD_FROM_GLTF_WXYZ)


def _add_cloud(server: Any, scene: Scene, size: float) -> Any:
    if scene.cloud is None:
        return None
    return server.scene.add_point_cloud(
        "/cloud",
        scene.cloud.positions_in_world.astype(np.float32),
        scene.cloud.colors,
        point_size=0.7 * size / np.sqrt(len(scene.cloud)),  # so that a surface looks closed
        point_shape="circle",
        precision="float32",
        visible=scene.glb is None,
    )


def _add_cameras(server: Any, scene: Scene, size: float) -> Any:
    from scipy.spatial.transform import Rotation

    parent = server.scene.add_frame("/cameras", show_axes=False)
    for number, component in enumerate(scene.components):
        for image in component.images:
            camera = component.camera_of(image)
            rotation = Rotation.from_matrix(image.cam_from_world[:, :3].T)
            focal_px = camera.params[0]
            handle = server.scene.add_camera_frustum(
                f"/cameras/{number}/{image.name}",
                fov=2 * float(np.arctan(camera.height / 2 / focal_px)),
                aspect=camera.width / camera.height,
                scale=size / 40,
                wxyz=tuple(rotation.as_quat(scalar_first=True)),
                position=tuple(image.center_in_world),
                color=(214, 96, 38) if number == 0 else (38, 110, 214),
                thickness=1.5,
                thickness_units="screen",
            )
            handle.on_click(_look_through(image))
    return parent


def _look_through(image: Any) -> Any:
    """A click on a camera moves the viewer to it."""

    def move(event: Any) -> None:
        forward, down = image.cam_from_world[2, :3], image.cam_from_world[1, :3]
        event.client.camera.position = tuple(image.center_in_world)
        event.client.camera.look_at = tuple(image.center_in_world + forward)
        event.client.camera.up_direction = tuple(-down)

    return move


def _add_controls(server: Any, scene: Scene, layers: dict[str, Any]) -> None:
    counts = {
        "mesh": "Mesh",
        "cloud": f"Cloud ({len(scene.cloud):,} points)" if scene.cloud else "Cloud",
        "cameras": f"Cameras ({sum(len(c.images) for c in scene.components)})",
    }
    for name, layer in layers.items():
        if layer is not None:
            box = server.gui.add_checkbox(counts[name], initial_value=layer.visible)
            box.on_update(_switch(box, layer))
    if scene.frame is not None:
        server.gui.add_markdown(scene.frame.describe())


def _switch(box: Any, layer: Any) -> Any:
    def update(_: Any) -> None:
        layer.visible = box.value

    return update
