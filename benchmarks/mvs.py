"""Multi-view stereo: seconds per megapixel and photo, peak memory, completeness and error.

    python benchmarks/mvs.py                        # ours beside StereoSGBM, on synthetic_uav
    python benchmarks/mvs.py --baseline COMMIT      # and beside an earlier version, same run
    python benchmarks/mvs.py --device cuda          # ours on the GPU and on the CPU

Cameras and sparse points come from our own structure from motion, once, for all contestants. All
are scored on the same pixels: those with a true depth that the other photo of the pair shows too.
The time is that of the matching with compiled kernels; each contestant is a process of its own.
With --device cuda ours is measured on the GPU and, beside it, on this machine's CPU; the figures go
into mvs_cuda.json and leave those of the CPU alone.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from measure import DATA, REPO, read_result, setting, write_result

SET = "synthetic_uav"
# Photos with true depth; each is matched by SGBM with the photo that shares most points with it
# at a base of 0.1 to 0.45 of the depth: the range in which such a matcher does best.
BASE_TO_DEPTH = (0.1, 0.45)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", help="commit of an earlier version to measure beside")
    parser.add_argument("--work", type=Path, default=REPO / "runs" / "bench" / "mvs")
    parser.add_argument("--max-size", type=int, default=0, help="longer side of the depth maps")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where ours runs")
    parser.add_argument("--worker", choices=["prepare", "ours", "sgbm"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        workers = {"prepare": prepare, "ours": ours, "sgbm": sgbm}
        workers[given.worker](given.work, given.max_size, given.device)
        return 0
    given.work.mkdir(parents=True, exist_ok=True)
    if not (given.work / "input.pickle").is_file():
        _worker("prepare", given.work, given.max_size)
    rows = [{"name": "Voxterra", **_worker("ours", given.work, given.max_size, given.device)}]
    if given.device == "cuda":
        on_cpu = _worker("ours", given.work, given.max_size)
        rows = [{**rows[0], "name": "Voxterra on a GPU"}, {"name": "Voxterra on the CPU", **on_cpu}]
    rows.append({"name": "OpenCV StereoSGBM, one pair", **_worker("sgbm", given.work, 0)})
    if given.baseline:
        rows.append(_earlier(given.baseline, given.work, given.max_size))
    _write(rows, given)
    return 0


def _write(rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    arguments = f" --baseline {given.baseline}" if given.baseline else ""
    arguments += f" --max-size {given.max_size}" if given.max_size else ""
    arguments += " --device cuda" if given.device == "cuda" else ""
    result = {
        "command": f"python benchmarks/mvs.py{arguments}",
        "note": "All photos of `synthetic_uav`, cameras from our own structure from motion; scored "
        "after alignment by camera centres, on the pixels of the three photos with true depth "
        "that the other photo of SGBM's pair shows too.",
        **setting(),
        "rows": rows,
    }
    file = "mvs_cuda" if given.device == "cuda" else "mvs"
    first = read_result(file).get("first") or {
        "commit": result["commit"],
        "machine": result["machine"],
        "row": rows[0],
    }
    earlier = rows[-1] if given.baseline else first["row"]
    speed = rows[0]["seconds_per_megapixel"] / earlier["seconds_per_megapixel"]
    memory = rows[0]["peak_rss_bytes"] / earlier["peak_rss_bytes"]
    how = "measured in the same run" if given.baseline else f"recorded at {first['commit']}"
    result["ratio_to_first"] = {
        "seconds": speed,
        "memory": memory,
        "text": f"{speed:.2f} of its time, {memory:.2f} of its memory ({how}).",
    }
    write_result(file, {**result, "first": first})
    print(json.dumps(rows, indent=1))


def _worker(
    name: str, work: Path, max_size: int, device: str = "cpu", source: Path | None = None
) -> dict[str, Any]:
    """Run one contestant in a process of its own; its last line is its figures."""
    command = [sys.executable, str(Path(__file__)), "--worker", name, "--work", str(work)]
    command += ["--max-size", str(max_size), "--device", device]
    env = dict(os.environ)
    if source is not None:
        env["PYTHONPATH"] = str(source)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def _earlier(commit: str, work: Path, max_size: int) -> dict[str, Any]:
    """The same measurement with the package of an earlier commit, from a worktree of its own."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(REPO), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), commit], check=True)
        try:
            return {
                "name": f"Voxterra {commit}",
                **_worker("ours", work, max_size, source=tree / "src"),
            }
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=False)


# --- contestants, each in its own process -------------------------------------------------------


def prepare(work: Path, max_size: int, device: str) -> None:
    """Photos, cameras and sparse points for all contestants."""
    from voxterra.ingest.ingest import ingest_photos
    from voxterra.sfm.reconstruct import reconstruct

    photos = ingest_photos(DATA / SET / "images", work_dir=work / "ingest")
    components = reconstruct(photos, work_dir=work / "sfm").components
    (work / "input.pickle").write_bytes(pickle.dumps((components, photos)))


def ours(work: Path, max_size: int, device: str) -> None:
    """Our own depth maps of all photos."""
    from voxterra.core.photos import PhotoSet
    from voxterra.depth.config import DepthConfig
    from voxterra.depth.estimate import estimate_depth

    components, photos = pickle.loads((work / "input.pickle").read_bytes())
    assert isinstance(photos, PhotoSet)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        # Compile, or load, the kernels before the clock starts.
        where = {"device": device} if hasattr(DepthConfig(), "device") else {}
        small = DepthConfig(max_size=200, **where)
        estimate_depth(components, photos, small, out_dir=Path(folder) / "warm")
        config = DepthConfig(max_size=max_size or DepthConfig().max_size, **where)
        started = time.perf_counter()
        store = estimate_depth(components, photos, config, out_dir=Path(folder) / "depth")
        seconds = time.perf_counter() - started
        peak = _peak_rss()
        size = store.load(0).depth.size
        estimates = {}
        for name, view, truth, _ in _scored(store.views, components):
            from voxterra.evaluate.depth import pixels_in_view, sample_depth

            depth_map = store.load(view)
            pixels = pixels_in_view(depth_map.view, truth)
            estimates[name] = sample_depth(depth_map.depth, pixels)
        figures = _figures(estimates, store.views, components)
    megapixels = size / 1e6 * len(store.views)
    more = {"photos": len(store.views), "config": asdict(config)}
    if device == "cuda":
        import torch

        more["gpu"] = torch.cuda.get_device_name()
        more["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    _tell(seconds, megapixels, peak, figures, **more)


def sgbm(work: Path, max_size: int, device: str) -> None:
    """OpenCV's matcher on one rectified pair a scored photo."""
    from sgbm import rectify, sgbm_depth, to_rectified, warp
    from voxterra.evaluate.depth import pixels_in_view, sample_depth

    components, photos = pickle.loads((work / "input.pickle").read_bytes())
    views = _pinhole_views(components, photos)
    seconds, megapixels, estimates = 0.0, 0.0, {}
    points = components[0].points.positions_in_world
    for name, index, truth, other in _scored(tuple(v for v, _ in views), components):
        (left, image), (right, other_image) = views[index], views[other]
        z = left.project(points[components[0].points.observed_by(index)])[1]
        near, far = np.percentile(z, [1, 99]) * [0.9, 1.1]
        pair = rectify(left, right, near, far)
        depth, took = sgbm_depth(
            warp(image, left, pair, is_left=True),
            warp(other_image, right, pair, is_left=False),
            pair,
            near,
        )
        seconds += took
        megapixels += left.width * left.height / 1e6
        pixels = pixels_in_view(left, truth)
        xy, ratio = to_rectified(pixels.reshape(-1, 2), left, pair)
        estimates[name] = (sample_depth(depth, xy) * ratio).reshape(truth.depth_m.shape)
    figures = _figures(estimates, tuple(v for v, _ in views), components)
    _tell(seconds, megapixels, _peak_rss(), figures, opencv_threads=_opencv_threads())


def _scored(views: tuple, components: tuple) -> list[tuple[str, int, Any, int]]:
    """Photos with true depth: name, view index, truth, and index of the other photo of its pair."""
    from voxterra.io.truth.cameras import match_names
    from voxterra.io.truth.depth import read_truth_depth

    truths = read_truth_depth(DATA / SET)
    pairs = match_names(tuple(v.name for v in views), tuple(t.name for t in truths))
    points = components[0].points
    names = [image.name for image in components[0].images]
    seen = [set(points.observed_by(i).tolist()) for i in range(len(names))]
    out = []
    for i, j in pairs:
        if views[i].name not in names:
            continue
        view, me = views[i], names.index(views[i].name)
        own = points.positions_in_world[sorted(seen[me])]
        depth = float(np.median(view.project(own)[1]))
        best, most = -1, 0
        for k, other in enumerate(views):
            if k == i or other.name not in names:
                continue
            base = np.linalg.norm(other.center_in_world - view.center_in_world) / depth
            shared = len(seen[me] & seen[names.index(other.name)])
            if BASE_TO_DEPTH[0] <= base <= BASE_TO_DEPTH[1] and shared > most:
                best, most = k, shared
        out.append((views[i].name, i, truths[j], best))
    return out


def _figures(estimates: dict, views: tuple, components: tuple) -> dict[str, Any]:
    """Pooled figures on the pixels that the other photo of the pair shows too."""
    from voxterra.evaluate.align import truth_from_world
    from voxterra.evaluate.depth import DepthScore, PhotoDepth, pixels_in_view
    from voxterra.io.colmap.model import to_pycolmap_camera
    from voxterra.io.truth.cameras import posed_cameras, read_truth_cameras

    cameras = posed_cameras(components[0])
    scale = truth_from_world(cameras, read_truth_cameras(DATA / SET), "cameras").scale
    photos = []
    for name, index, truth, other in _scored(views, components):
        view, partner = views[index], views[other]
        pixels = pixels_in_view(view, truth).reshape(-1, 2)
        z = truth.depth_m.ravel() / scale
        pose, camera = partner.cam_from_world, partner.camera
        in_partner = view.unproject(pixels, z) @ pose[:, :3].T + pose[:, 3]
        depth = in_partner[:, 2]
        # In the photo as delivered, so that all contestants are scored on the same pixels.
        at = np.full((len(depth), 2), -1.0)
        front = depth > 0
        at[front] = to_pycolmap_camera(camera).img_from_cam(in_partner[front])
        inside = (at > 0).all(axis=1) & (at < [camera.width, camera.height]).all(axis=1)
        seen = ((depth > 0) & inside & (z > 0)).reshape(truth.depth_m.shape)
        photos.append(PhotoDepth(name, truth.depth_m, estimates[name] * scale, seen))
    return DepthScore("cameras", scale, tuple(photos), ()).to_dict()["pooled_seen"]


def _pinhole_views(components: tuple, photos: Any) -> list[tuple[Any, Any]]:
    """Undistorted views of the first component with their images."""
    import cv2

    from voxterra.core.camera import PinholeView
    from voxterra.io.colmap.model import to_pycolmap_camera
    from voxterra.io.images import read_rgb

    by_id, out = photos.by_id(), []
    for image in components[0].images:
        camera = components[0].camera_of(image)
        model = to_pycolmap_camera(camera)
        focal = float(np.mean(model.focal_length))
        K = np.array([[focal, 0, camera.width / 2], [0, focal, camera.height / 2], [0, 0, 1]])
        columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        rays = np.stack(
            [(columns - K[0, 2]) / focal, (rows - K[1, 2]) / focal, np.ones_like(rows)], axis=-1
        )
        xy = np.asarray(model.img_from_cam(rays.reshape(-1, 3))).reshape(*rows.shape, 2) - 0.5
        pixels = cv2.remap(
            read_rgb(by_id[image.name].path), xy.astype(np.float32), None, cv2.INTER_LINEAR
        )
        view = PinholeView(image.name, K, image.cam_from_world, camera.width, camera.height, camera)
        out.append((view, pixels))
    return out


def _opencv_threads() -> int:
    import cv2

    return cv2.getNumThreads()


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tell(seconds: float, megapixels: float, peak: int, figures: dict, **more: Any) -> None:
    print(
        json.dumps(
            {
                "seconds": seconds,
                "megapixels": megapixels,
                "seconds_per_megapixel": seconds / megapixels,
                "peak_rss_bytes": peak,
                "depth": figures,
                **more,
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
