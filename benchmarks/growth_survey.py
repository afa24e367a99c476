"""A generated survey of any number of photos, for `growth.py`: a nadir flight over waves.

Overlap 75 / 65 %, so that only the area grows with the photos. Photos and depth maps of 96x72
are exact but for 0.1 % of noise; sparse points, features and matches are what structure from motion
would leave, with 0.1 px of noise. All comes from the number of photos alone.
"""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import voxterra as vt
from voxterra.core.photos import Gps
from voxterra.core.raster import Grid

WIDTH, HEIGHT, FOCAL, FLIGHT_M = 96, 72, 75.0, 50.0  # a photo covers 64 x 48 m
APART_X, APART_Y = 22.4, 12.0
NEIGHBOURS = 20  # that a photo is matched with, as `sfm.spatial_neighbours`


def ground(x: Any, y: Any) -> Any:
    """Heights [m]."""
    return 1.5 * np.sin(x / 17) + 1.2 * np.sin(y / 23 + 1) + 0.4 * np.sin((x + y) / 5)


class Survey:
    """A flight of `n` photos; also the `DepthMaps` of the dense stages.

    What takes time is made once and kept in `folder`.
    """

    def __init__(self, n: int, observations: int, folder: Path):
        self.n, self.observations, self.folder = n, observations, folder / str(n)
        self.folder.mkdir(parents=True, exist_ok=True)
        rng, index = np.random.default_rng(n), np.arange(n)
        columns = int(np.ceil(np.sqrt(n)))
        places = [index % columns * APART_X, index // columns * APART_Y, np.full(n, FLIGHT_M)]
        self.centers = np.column_stack(places) + rng.normal(0, 0.3, (n, 3))
        self.gps = self.centers + rng.normal(0, 0.8, (n, 3))
        self.brightness = np.exp(rng.normal(0, 0.1, n))
        half = np.array([32.0, 24.0])
        self.low, self.high = self.centers[:, :2].min(0) - half, self.centers[:, :2].max(0) + half
        K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
        params = (FOCAL, WIDTH / 2, HEIGHT / 2, 0.0)
        self.camera = vt.Camera("SIMPLE_RADIAL", WIDTH, HEIGHT, params)
        views = []
        for i, (center, (a, b)) in enumerate(zip(self.centers, rng.normal(0, 0.04, (n, 2)))):
            turned, signs = np.linalg.qr([[1, 0, a], [0, 1, b], [-a, -b, 1]])
            R = (turned * np.sign(np.diag(signs))).T * [[1.0], [-1], [-1]]
            pose = np.column_stack([R, -R @ center])
            views.append(vt.PinholeView(f"{i:06d}.jpg", K, pose, WIDTH, HEIGHT, self.camera))
        self.views = tuple(views)

    # --- photos and depth maps

    def _made(self, index: int) -> np.ndarray:
        """(H, W, 7): depth, normal, RGB."""
        path = self.folder / f"{index}.npy"
        if path.exists():
            return np.asarray(np.load(path))
        v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        rays = np.stack([(u - WIDTH / 2) / FOCAL, (v - HEIGHT / 2) / FOCAL, np.ones_like(u)], -1)
        R, center = self.views[index].cam_from_world[:, :3], self.centers[index]
        rays, depth = rays @ R, np.full(u.shape, FLIGHT_M)
        for _ in range(5):
            x, y, _ = np.moveaxis(center + depth[..., None] * rays, -1, 0)
            depth = (ground(x, y) - center[2]) / rays[..., 2]
        e = 0.01
        slope = [(ground(x + e, y) - ground(x, y)) / e, (ground(x, y + e) - ground(x, y)) / e]
        normal = np.stack([-slope[0], -slope[1], np.ones_like(x)], -1)
        normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True) @ R.T
        grey = 110 + 30 * np.sin(x) * np.sin(1.2 * y) + 20 * np.sin(x / 3 + y / 4)
        color = np.clip(grey[..., None] * [1.0, 0.95, 0.8] * self.brightness[index], 0, 255)
        noise = np.random.default_rng(index).normal(1, 0.001, depth.shape)
        made = np.dstack([depth * noise, normal, color]).astype(np.float32)
        np.save(path, made)
        return made

    @cached_property
    def maps(self) -> Survey:
        for index in range(self.n):
            self._made(index)
        return self

    def load(self, index: int) -> vt.DepthMap:
        made = self._made(index)
        depth, normal = made[..., 0].copy(), made[..., 1:4].copy()
        return vt.DepthMap(self.views[index], depth, normal, np.ones_like(depth))

    def load_color(self, index: int) -> np.ndarray:
        return self._made(index)[..., 4:].astype(np.uint8)

    def load_mask(self, index: int) -> None:
        return None

    @cached_property
    def files(self) -> Path:
        """A folder of JPEG files of 320x240, all different."""
        from PIL import Image

        folder = self.folder / "photos"
        folder.mkdir(exist_ok=True)
        for i, view in enumerate(self.views):
            if not (folder / view.name).exists():
                noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
                Image.fromarray(noise).resize((320, 240)).save(folder / view.name)
        return folder

    @cached_property
    def photos(self) -> vt.PhotoSet:
        """As ingested, with GPS of 0.8 m."""
        frame = vt.GeoFrame("geo", 9.9158, 51.5413, 200.0, "EPSG:32632")
        found = []
        for i, (lon, lat, height) in enumerate(frame.to_lonlat(self.gps).tolist()):
            name, gps = self.views[i].name, Gps(lon, lat, height, "ellipsoidal")
            photo = vt.Photo(name, self.folder / name, WIDTH, HEIGHT, name, gps, focal_px=FOCAL)
            found.append(photo)
        return vt.PhotoSet(self.folder, tuple(found))

    # --- what structure from motion leaves

    @cached_property
    def tracks(self) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Ground points (P, 3); for each photo the indices of those it sees, and their pixels."""
        rng = np.random.default_rng(self.n + 1)
        count = int(self.observations * np.prod(self.high - self.low) / (64 * 48))
        x, y = rng.uniform(self.low, self.high, (count, 2)).T
        points = np.column_stack([x, y, ground(x, y)])[np.argsort(y)]
        near = np.searchsorted(points[:, 1], self.centers[:, 1, None] + [-35, 35])
        seen, pixels = [], []
        for view, (start, end) in zip(self.views, near):
            at = view.project(points[start:end])[0]
            inside = ((at > 0) & (at < [WIDTH, HEIGHT])).all(1)
            seen.append(start + np.flatnonzero(inside))
            pixels.append(at[inside] + rng.normal(0, 0.1, (int(inside.sum()), 2)))
        return points, seen, pixels

    @cached_property
    def component(self) -> vt.Reconstruction:
        points, seen, pixels = self.tracks
        image = np.repeat(np.arange(self.n, dtype=np.int32), [len(s) for s in seen])
        point, xy = np.concatenate(seen), np.concatenate(pixels)
        count = np.bincount(point, minlength=len(points))
        kept = np.flatnonzero(count >= 2)
        order = np.argsort(point, kind="stable")
        order = order[count[point[order]] >= 2]
        sparse = vt.SparsePoints(
            points[kept], np.full((len(kept), 3), 128, np.uint8), np.full(len(kept), 0.1),
            np.concatenate([[0], np.cumsum(count[kept])]).astype(np.int64), image[order], xy[order],
        )  # fmt: skip
        images = tuple(vt.Image(view.name, 1, view.cam_from_world) for view in self.views)
        return vt.Reconstruction({1: self.camera}, images, sparse)

    def database(self, path: Path) -> Path:
        """COLMAP's, with features, and matches of each photo with its neighbours."""
        import pycolmap
        from scipy.spatial import cKDTree

        if path.exists():
            return path
        _, seen, pixels = self.tracks
        near = cKDTree(self.centers).query(self.centers, k=min(NEIGHBOURS + 1, self.n))[1]
        pairs = {(min(i, j), max(i, j)) for i, row in enumerate(near) for j in row if i != j}
        opened = pycolmap.Database.open(path)
        with closing(opened) as database, pycolmap.DatabaseTransaction(database):
            camera = pycolmap.Camera.create_from_model_name(
                1, self.camera.model, FOCAL, WIDTH, HEIGHT
            )
            database.write_camera(camera, use_camera_id=True)
            for i, view in enumerate(self.views, 1):
                image = pycolmap.Image(name=view.name, camera_id=1, image_id=i)
                database.write_image(image, use_image_id=True)
                database.write_keypoints(i, pixels[i - 1].astype(np.float32))
            for a, b in sorted(pairs):
                _, *rows = np.intersect1d(seen[a], seen[b], True, return_indices=True)
                if len(rows[0]):
                    geometry = pycolmap.TwoViewGeometry()
                    geometry.inlier_matches = np.column_stack(rows).astype(np.uint32)
                    database.write_two_view_geometry(a + 1, b + 1, geometry)
        return path

    # --- surface and raster

    def mesh(self, step_m: float) -> vt.TriMesh:
        nodes = [np.arange(a, b, step_m) for a, b in zip(self.low, self.high)]
        x, y = np.meshgrid(*nodes)
        i = np.arange(x.size).reshape(x.shape)
        a, b, c, d = (k.ravel() for k in (i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]))
        faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
        vertices = np.column_stack([x.ravel(), y.ravel(), ground(x, y).ravel()])
        return vt.TriMesh(vertices.astype(np.float32), faces.astype(np.int32))

    def raster(self) -> tuple[Grid, np.ndarray]:
        """Grid of cells as large as the photos' pixels, and heights."""
        cell = FLIGHT_M / FOCAL
        width, height = (int(k) for k in np.ceil((self.high - self.low) / cell))
        grid = Grid(float(self.low[0]), float(self.high[1]), cell, width, height)
        x, y = grid.cell_centers()
        return grid, ground(x[None], y[:, None]).astype(np.float32)
