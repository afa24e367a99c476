"""Ground truth of benchmarks, written in the formats in which they deliver it."""

import json

import numpy as np
import trimesh
from PIL import Image
from scipy.io import savemat


def plate(low, high, z=0.0, step=1.0):
    """A flat mesh from low (x, y) to high, with vertices `step` apart."""
    x, y = (np.linspace(a, b, round((b - a) / step) + 1) for a, b in zip(low, high))
    xx, yy = np.meshgrid(x, y)
    i = np.arange(xx.size, dtype=np.int32).reshape(xx.shape)
    a, b, c, d = (p.ravel() for p in (i[:-1, :-1], i[:-1, 1:], i[1:, :-1], i[1:, 1:]))
    vertices = np.column_stack([xx.ravel(), yy.ravel(), np.full(xx.size, z)])
    faces = np.vstack([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
    return vertices, faces.astype(np.int32)


def joined(*parts):
    """Several (vertices, faces) as one."""
    starts = np.cumsum([0, *(len(v) for v, _ in parts)])
    faces = [f + np.int32(s) for (_, f), s in zip(parts, starts)]
    return np.vstack([v for v, _ in parts]), np.vstack(faces)


def sphere(radius, center=(0.0, 0.0, 0.0), subdivisions=4):
    ball = trimesh.creation.icosphere(subdivisions, radius)
    return np.asarray(ball.vertices) + center, np.asarray(ball.faces, np.int32)


def sphere_points(radius, spacing, center=(0.0, 0.0, 0.0)):
    """Points spread evenly over a sphere (a Fibonacci spiral)."""
    count = int(4 * np.pi * radius**2 / spacing**2)
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, i * np.pi * (3 - np.sqrt(5))
    r = np.sqrt(1 - z**2)
    return radius * np.column_stack([r * np.cos(turn), r * np.sin(turn), z]) + center


def write_mesh(path, part):
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(*part, process=False).export(path)
    return path


def write_cloud(path, points):
    """With normals and colours, as the scanner's points of DTU have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [*"xyz", "nx", "ny", "nz"]
    kinds = [*((n, "<f4") for n in names), *((c, "u1") for c in ("red", "green", "blue"))]
    rows = np.zeros(len(points), kinds)
    for i, name in enumerate("xyz"):
        rows[name] = points[:, i]
    properties = [f"property float {n}" for n in names]
    properties += [f"property uchar {n}" for n in ("red", "green", "blue")]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    text = "\n".join([*head, *properties, "element face 0"])
    text += "\nproperty list uchar int vertex_indices\nend_header\n"
    path.write_bytes(text.encode() + rows.tobytes())
    return path


def write_dtu(root, scan, points, observed, low, resolution, plane):
    """`Points/stl/stlNNN_total.ply`, `ObsMask/ObsMaskN_10.mat`, `ObsMask/PlaneN.mat`."""
    write_cloud(root / "Points/stl" / f"stl{scan:03d}_total.ply", points)
    folder = root / "ObsMask"
    folder.mkdir(parents=True, exist_ok=True)
    low = np.asarray(low, float)
    box = np.stack([low, low + resolution * (np.array(observed.shape) - 1)])
    savemat(
        folder / f"ObsMask{scan}_10.mat",
        {"ObsMask": observed.astype(np.uint8), "BB": box, "Res": resolution, "Margin": 10},
    )
    savemat(folder / f"Plane{scan}.mat", {"P": np.asarray(plane, float).reshape(4, 1)})


def write_idr(folder, K, poses, masks, scale=1.0, center=(0.0, 0.0, 0.0)):
    """`cameras_sphere.npz` and `mask/000.png`; K with pixel centres at whole numbers."""
    (folder / "mask").mkdir(parents=True, exist_ok=True)
    arrays = {}
    for i, (pose, mask) in enumerate(zip(poses, masks)):
        projection = np.eye(4)
        projection[:3] = K @ pose
        sphere = np.diag([scale, scale, scale, 1.0])
        sphere[:3, 3] = center
        arrays |= {f"world_mat_{i}": projection, f"scale_mat_{i}": sphere}
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(
            folder / "mask" / f"{i:03d}.png"
        )
    np.savez(folder / "cameras_sphere.npz", **arrays)


def write_tanks(root, scene, points, polygon, axis, ends, matrix, world_from_cam=None):
    """`SCENE/SCENE.ply`, `.json`, `_trans.txt` and, where cameras are given, `.log`."""
    folder = root / scene
    write_cloud(folder / f"{scene}.ply", points)
    volume = {
        "axis_max": ends[1],
        "axis_min": ends[0],
        "bounding_polygon": np.asarray(polygon, float).tolist(),
        "class_name": "SelectionPolygonVolume",
        "orthogonal_axis": axis,
        "version_major": 1,
        "version_minor": 0,
    }
    (folder / f"{scene}.json").write_text(json.dumps(volume))
    np.savetxt(folder / f"{scene}_trans.txt", matrix)
    if world_from_cam is not None:
        write_log(folder / f"{scene}_COLMAP_SfM.log", world_from_cam)


def write_log(path, world_from_cam):
    lines = []
    for i, matrix in enumerate(world_from_cam):
        lines += [f"{i} {i} 0", *(" ".join(f"{v:.10f}" for v in row) for row in matrix)]
    path.write_text("\n".join(lines) + "\n")
