"""What a mesh looks like in the views of a scene: images, silhouettes, smoothness of its depth."""

from __future__ import annotations

import time

import numpy as np
import torch

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import TriMesh
from voxterra.kernels.raster.zbuffer import rasterize_depth
from voxterra.surface.fusion.fuse import fuse
from voxterra.surface.voxels.evaluate import means, score_view, smooth_share
from voxterra.surface.voxels.mesh.extract import everywhere, extract_mesh
from voxterra.surface.voxels.mesh.unseen import only_measured, only_seen, seen_leaves
from voxterra.surface.voxels.model.render import Rendered, Voxels, to_model
from voxterra.surface.voxels.scene.scene import Scene, SceneView


def draw(mesh: TriMesh, image: SceneView) -> Rendered:
    """The mesh with its vertex colours as a view sees it."""
    view = image.view
    in_cam = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
    depth, face = rasterize_depth(in_cam, mesh.faces, view.K, view.width, view.height)
    row, column = np.nonzero(face >= 0)
    at = np.column_stack([column + 0.5, row + 0.5])
    points = view.unproject(at, depth[row, column].astype(np.float64))
    corners = mesh.faces[face[row, column]]
    a, b, c = (mesh.vertices[corners[:, k]].astype(np.float64) for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal * normal).sum(1), 1e-20)
    wb = (np.cross(points - a, c - a) * normal).sum(1) / area
    wc = (np.cross(b - a, points - a) * normal).sum(1) / area
    weights = np.clip(np.column_stack([1 - wb - wc, wb, wc]), 0, 1)
    weights /= weights.sum(1, keepdims=True)
    color = np.zeros((view.height, view.width, 3), np.float32)
    color[row, column] = (mesh.colors[corners] * weights[..., None]).sum(1) / 255.0
    tensor = torch.from_numpy(color)
    known = torch.from_numpy(depth > 0)
    z = torch.from_numpy(np.where(depth > 0, depth, 0).astype(np.float32))
    return Rendered(tensor, (~known).float(), z, z, torch.zeros_like(tensor))


def silhouette_iou(mesh: TriMesh, scene: Scene) -> float | None:
    """Mean intersection over union of the mesh's silhouettes and the masks, over all views."""
    values = []
    for image in scene.views:
        if image.mask is None:
            continue
        view = image.view
        in_cam = mesh.vertices @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
        depth, _ = rasterize_depth(in_cam, mesh.faces, view.K, view.width, view.height)
        ours, mask = depth > 0, image.mask > 127
        values.append((ours & mask).sum() / max(1, (ours | mask).sum()))
    return float(np.mean(values)) if values else None


def score_mesh(mesh: TriMesh, scene: Scene) -> dict[str, float | None]:
    """Silhouettes of a mesh against the masks, and how smooth its depth is on held-out views."""
    depths = (draw(mesh, view).depth for view in scene.views if view.held_out)
    return {
        "mesh_depth_smooth": float(np.mean([smooth_share(depth) for depth in depths])),
        "silhouette_iou": silhouette_iou(mesh, scene),
        "faces": len(mesh.faces),
    }


def run_mesh(voxels: Voxels, scene: Scene) -> TriMesh:
    """The mesh of trained voxels as a run cuts it: what two photos see and depth maps measured."""
    views = [image.view for image in scene.training]
    model = to_model(voxels)
    mesh = extract_mesh(model, bounds=everywhere(model))
    mesh = only_seen(mesh, voxels.octree, seen_leaves(voxels, views))
    return only_measured(mesh, (v.prior for v in scene.training if v.prior is not None))


def score_fused(maps: DepthMaps, scene: Scene) -> dict[str, float | None]:
    """Images and silhouettes of the mesh that `fusion` makes of depth maps, on held-out views."""
    begun = time.perf_counter()
    mesh = fuse(maps)
    seconds = time.perf_counter() - begun
    scores = tuple(score_view(view, draw(mesh, view)) for view in scene.views if view.held_out)
    return {**means(scores), **score_mesh(mesh, scene), "seconds": seconds}
