"""The scene of a run, or a trained model, in the browser: mesh, cloud, voxels and cameras, each
with a switch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxterra.errors import MissingPartError
from voxterra.viewer.scene import Scene

Float = NDArray[np.float64]

# glTF is y up, the world z up: a quarter turn about x, as a quaternion.
_WORLD_FROM_GLTF_WXYZ = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)


def serve(scene: Scene, *, host: str, port: int, device: str = "auto") -> Any:
    """Start a viser server that shows the scene; returns it (`stop()` ends it).

    Args:
        scene: what to show.
        host, port: to listen on.
        device: that voxels are rendered on: auto, cpu or cuda.

    Raises:
        MissingPartError: viser, or what renders voxels, is not installed.
        UsageError: there is no such device.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingPartError(
            "The viewer is not installed.",
            where="voxterra view",
            next_step=f"Install it: pip --python {sys.executable} install viser",
        ) from error
    if scene.model is not None and not scene.components and not _shows_voxels(scene):
        raise MissingPartError(
            "Sparse voxels need PyTorch, which is not installed.",
            where="torch",
            next_step="pip install 'voxterra[voxels]' (for an NVIDIA GPU: 'voxterra[voxels,gpu]').",
        )
    server = viser.ViserServer(host=host, port=port, label=scene.title, verbose=False)
    position, target, up, size = _start(scene)
    server.scene.set_up_direction(tuple(up))
    server.gui.configure_theme(show_logo=False)
    if _shows_voxels(scene) and scene.model is not None:
        from voxterra.viewer.voxel_layer import add_voxels

        add_voxels(server, scene.model, device)
    elif scene.model is not None:
        server.gui.add_markdown("Voxels are shown once PyTorch is installed: `pip install torch`.")
    layers = {
        "mesh": _add_mesh(server, scene),
        "cloud": _add_cloud(server, scene, size),
        "cameras": _add_cameras(server, scene, size),
    }
    _add_controls(server, scene, layers)
    server.initial_camera.look_at = tuple(target)
    server.initial_camera.position = tuple(position)
    server.initial_camera.up = tuple(up)
    return server


def _shows_voxels(scene: Scene) -> bool:
    """Whether there are voxels, and what renders them."""
    return scene.model is not None and importlib.util.find_spec("torch") is not None


def _start(scene: Scene) -> tuple[Float, Float, Float, float]:
    """Initial camera position, target and up direction, and the size of the scene."""
    up = np.array([0.0, 0.0, 1.0])
    if scene.components or scene.model is None:
        target, size = _extent(scene, np.vstack([c.centers_in_world() for c in scene.components]))
    else:
        target, size = scene.model.center, float(scene.model.inside_edge)
    if scene.components or not scene.views:
        return target + size * np.array([0.0, -0.6, 0.6]), target, up, size
    first = scene.views[0]  # a model of its own knows no up: that of its photos
    forward, up = first.cam_from_world[2, :3], -first.cam_from_world[1, :3]
    ahead = max(float((target - first.center_in_world) @ forward), 0.1 * size)
    return first.center_in_world, first.center_in_world + ahead * forward, up, size


def _extent(scene: Scene, centers: Float) -> tuple[Float, float]:
    """Centre and size of the scene, without far outliers."""
    points = centers if scene.cloud is None else scene.cloud.positions_in_world
    low, high = np.percentile(points, [2, 98], axis=0)
    return (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0


def _add_mesh(server: Any, scene: Scene) -> Any:
    if scene.glb is None:
        return None
    shown = not _shows_voxels(scene)
    return server.scene.add_glb("/mesh", scene.glb, wxyz=_WORLD_FROM_GLTF_WXYZ, visible=shown)


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
        visible=scene.glb is None and not _shows_voxels(scene),
    )


def _add_cameras(server: Any, scene: Scene, size: float) -> Any:
    from scipy.spatial.transform import Rotation

    parent = server.scene.add_frame("/cameras", show_axes=False)
    for number, image, width, height, focal_px in _cameras(scene):
        rotation = Rotation.from_matrix(image.cam_from_world[:, :3].T)
        handle = server.scene.add_camera_frustum(
            f"/cameras/{number}/{image.name}",
            fov=2 * float(np.arctan(height / 2 / focal_px)),
            aspect=width / height,
            scale=size / 40,
            wxyz=tuple(rotation.as_quat(scalar_first=True)),
            position=tuple(image.center_in_world),
            color=(214, 96, 38) if number == 0 else (38, 110, 214),
            thickness=1.5,
            thickness_units="screen",
        )
        handle.on_click(_look_through(image))
    return parent


def _cameras(scene: Scene) -> Iterator[tuple[int, Any, int, int, float]]:
    """Each camera: number of its component, name and pose, width and height, focal length [px]."""
    for number, component in enumerate(scene.components):
        for image in component.images:
            camera = component.camera_of(image)
            yield number, image, camera.width, camera.height, camera.params[0]
    for view in scene.views:
        yield view.component, view, view.width, view.height, float(view.K[1, 1])


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
        "cameras": f"Cameras ({sum(1 for _ in _cameras(scene))})",
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
