from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from voxterra.core.camera import Camera, PinholeView
from voxterra.core.mesh import TriMesh
from voxterra.errors import ReconstructionError, UsageError
from voxterra.mesh.texture.labels import face_adjacency
from voxterra.mesh.texture.split import split_large_faces
from voxterra.mesh.texture.texture import TextureConfig, texture_mesh
from voxterra.mesh.texture.views import Candidates, sharpness
from voxterra.testing import (
    MemoryDepthMaps,
    checker,
    look_at,
    photograph,
    plane_mesh,
    render_textured,
    sample_texture,
    textured_plane_scene,
)

ABOVE = look_at("above", (0.3, -0.2, 6.5), (0.0, 0.0, 0.0))
EXPOSURES = (1.0, 0.75, 1.2, 0.9)


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Against a truth known up to one factor a channel, which exposure is."""
    picture, truth = picture.astype(float), truth.astype(float)
    factor = (picture * truth).sum(0) / (picture * picture).sum(0)
    return float(10 * np.log10(255**2 / ((factor * picture - truth) ** 2).mean()))


def seam_step(mesh: TriMesh) -> tuple[float, int]:
    """Mean colour step across edges where the atlas is not continuous, and their number."""
    assert mesh.texture is not None
    adjacency = face_adjacency(mesh.faces)
    colors, uvs = [], []
    for which in range(2):
        f, s = adjacency.edge_faces[:, which], adjacency.edge_sides[:, which]
        uv = mesh.texture.uv[f]
        middle = 0.5 * (uv[np.arange(len(f)), s] + uv[np.arange(len(f)), (s + 1) % 3])
        uvs.append(middle)
        inside = 0.9 * middle + 0.1 * uv.mean(axis=1)
        colors.append(sample_texture(mesh.texture.image, inside).astype(float))
    seam = np.abs(uvs[0] - uvs[1]).max(axis=1) > 1e-4
    return float(np.abs(colors[0] - colors[1])[seam].mean()), int(seam.sum())


def seen_by_all(maps: MemoryDepthMaps, view: PinholeView, mesh: TriMesh) -> np.ndarray:
    """Pixels of `view` whose point of the plane z = 0 lies well inside every photo."""
    depth = photograph(mesh, [view], checker).depths[0]
    rows, columns = np.nonzero(depth > 0)
    points = view.unproject(
        np.column_stack([columns, rows]).astype(float) + 0.5, depth[rows, columns].astype(float)
    )
    inside = np.ones(len(points), bool)
    for other in maps.views:
        xy, _ = other.project(points)
        inside &= (xy > 12).all(1) & (xy < [other.width - 12, other.height - 12]).all(1)
    out = np.zeros(depth.shape, bool)
    out[rows[inside], columns[inside]] = True
    return out


@pytest.fixture(scope="module")
def scene() -> tuple[TriMesh, MemoryDepthMaps]:
    mesh, maps, _ = textured_plane_scene(EXPOSURES)
    return mesh, maps


@pytest.fixture(scope="module")
def textured(scene):
    """Function from a config to the textured mesh of `scene`, made once each."""
    return cache(lambda config=TextureConfig(): texture_mesh(*scene, config))


NOT_LEVELLED = TextureConfig(level_exposure=False, level_seams=False)


def test_exposure_is_levelled_and_seams_are_hidden(scene, textured):
    mesh, maps = scene
    truth = photograph(mesh, [ABOVE], checker).colors[0]
    where = seen_by_all(maps, ABOVE, mesh)
    assert where.sum() > 10_000
    plain, full = textured(NOT_LEVELLED), textured()
    step_plain, count = seam_step(plain)
    assert count > 30 and step_plain > 10  # else the scene tests nothing
    assert seam_step(full)[0] < pattern_step() + 0.5
    quality = [psnr(render_textured(m, ABOVE)[0][where], truth[where]) for m in (plain, full)]
    assert quality[0] < 30 and quality[1] > 42


@cache
def pattern_step() -> float:
    """What `seam_step` measures of the pattern itself, where all photos have one exposure."""
    mesh, maps, _ = textured_plane_scene((1.0,) * 4)
    return seam_step(texture_mesh(mesh, maps, TextureConfig(level_seams=False)))[0]


def test_smooth_seams_also_without_gains(textured):
    plain, levelled = textured(NOT_LEVELLED), textured(TextureConfig(level_exposure=False))
    excess = [seam_step(m)[0] - pattern_step() for m in (levelled, plain)]
    assert excess[0] < 0.5 * excess[1]


def test_what_is_hidden_in_a_photo_is_not_painted_from_it():
    ground = plane_mesh(8.0, 40)
    lid = plane_mesh(1.6, 8)  # hovers over the ground and hides a part of it from each photo
    mesh = TriMesh(
        np.concatenate([ground.vertices, lid.vertices + np.float32([0, 0, 1.5])]),
        np.concatenate([ground.faces, lid.faces + len(ground.vertices)]),
    )

    def color(points: np.ndarray) -> np.ndarray:
        red, green = np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.6, 0.2])
        return np.where(points[:, 2:] > 0.75, red, green + 0.05 * np.sin(4 * points[:, :1]))

    angle = np.linspace(0, 2 * np.pi, 7)[:-1]
    views = [
        look_at(str(i), (4 * np.cos(a), 4 * np.sin(a), 5), (0, 0, 0)) for i, a in enumerate(angle)
    ]
    out = texture_mesh(mesh, photograph(mesh, views, color))
    below = look_at("low", (0.0, -3.2, 1.0), (0, 0, 0))
    picture, shown = render_textured(out, below)
    truth = photograph(mesh, [below], color).colors[0]
    wrong = np.abs(picture[shown].astype(int) - truth[shown]).max(axis=1) > 60
    assert wrong.mean() < 0.01


CARELESS = TextureConfig(outlier_level=9.0, level_exposure=False, level_seams=False)


@cache
def moved_scene() -> tuple[TriMesh, MemoryDepthMaps, np.ndarray]:
    """Something red passes before a camera, where its photo is the best of several."""
    mesh, maps, _ = textured_plane_scene((1.0,) * 6)
    numbered = [np.full_like(c, 40 * i) for i, c in enumerate(maps.colors)]
    picture, shown = render_textured(
        texture_mesh(mesh, replace(maps, colors=numbered), CARELESS), ABOVE
    )
    which = picture[..., 0] // 40
    several = shown & seen_by_all(replace(maps, views=maps.views[:3]), ABOVE, mesh)
    best = int(np.bincount(which[several]).argmax())
    rows, columns = np.nonzero(several & (which == best))
    near = np.hypot(rows - np.median(rows), columns - np.median(columns)) < 20
    pixels = np.column_stack([columns, rows])[near] + 0.5
    depth = photograph(mesh, [ABOVE], checker).depths[0][rows[near], columns[near]]
    points = ABOVE.unproject(pixels, depth.astype(float))
    xy = maps.views[best].project(points)[0]
    (left, top), (right, bottom) = xy.min(0).astype(int) - 4, xy.max(0).astype(int) + 5
    colors = [c.copy() for c in maps.colors]
    colors[best][top:bottom, left:right] = (255, 0, 0)
    masks = [np.ones(c.shape[:2], bool) for c in maps.colors]
    masks[best][top:bottom, left:right] = False
    return mesh, replace(maps, colors=colors, masks=masks), points


def redness(mesh: TriMesh, points: np.ndarray) -> float:
    """Part of the plane's points that look red from above."""
    picture, _ = render_textured(mesh, ABOVE)
    xy = np.floor(ABOVE.project(points)[0]).astype(int)
    xy = xy[((xy >= 0) & (xy < [ABOVE.width, ABOVE.height])).all(1)]
    assert len(xy) > 500
    color = picture[xy[:, 1], xy[:, 0]].astype(int)
    return float(((color[:, 0] > 225) & (color[:, 1:].max(1) < 30)).mean())


def test_things_that_move_are_outvoted():
    mesh, maps, points = moved_scene()
    maps = replace(maps, masks=None)
    assert redness(texture_mesh(mesh, maps, CARELESS), points) > 0.5  # the scene does lure
    assert redness(texture_mesh(mesh, maps), points) < 0.01


def test_masked_pixels_are_not_used():
    mesh, maps, points = moved_scene()
    assert redness(texture_mesh(mesh, maps, CARELESS), points) < 0.01


def box() -> TriMesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (0, 2)], np.float32)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return TriMesh(
        corners, np.array([[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)], np.int32)
    )


def box_scene(mesh: TriMesh) -> MemoryDepthMaps:
    angle = np.linspace(0, 2 * np.pi, 9)[:-1]
    views = [
        look_at(str(i), (5 * np.cos(a), 5 * np.sin(a), 4), (0, 0, 1)) for i, a in enumerate(angle)
    ]
    return photograph(mesh, views, lambda p: 0.3 + 0.6 * checker(p, 1.5))


def test_large_faces_are_split_without_gaps():
    mesh, views = box(), box_scene(box()).views
    top = np.where((mesh.vertices[mesh.faces][:, :, 2] > 1.9).all(axis=1), 2, 1).astype(np.uint8)
    marked = replace(mesh, colors=np.full((8, 3), 9, np.uint8), face_source=top)
    split = split_large_faces(marked, views, 20.0)
    at_top = (split.vertices[split.faces][:, :, 2] > 1.9).all(axis=1)
    assert np.array_equal(split.face_source == 2, at_top) and at_top.any()
    trimesh = pytest.importorskip("trimesh")
    solid = trimesh.Trimesh(split.vertices, split.faces, process=False)
    assert len(split.faces) > 100 and solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx(8.0) and (split.vertices[:8] == mesh.vertices).all()
    assert split.colors is not None and (split.colors == 9).all()
    assert len(split.colors) == len(split.vertices)


def test_box_of_twelve_faces_looks_like_its_photos():
    mesh = box()
    maps = box_scene(mesh)
    out = texture_mesh(mesh, maps)
    held_out = look_at("held", (3.5, 3.0, 4.5), (0, 0, 1))
    truth = photograph(mesh, [held_out], lambda p: 0.3 + 0.6 * checker(p, 1.5))
    picture, shown = render_textured(out, held_out)
    assert psnr(picture[shown], truth.colors[0][shown]) > 32


def test_faces_without_photo_get_plain_colors_and_never_black():
    mesh = box()
    maps = box_scene(mesh)
    below = look_at("below", (0.2, 0.1, -4.0), (0, 0, 0))
    picture, shown = render_textured(texture_mesh(mesh, maps), below)
    assert shown.sum() > 5000 and picture[shown].min() > 30
    colored = replace(mesh, colors=np.full((8, 3), (40, 90, 200), np.uint8))
    blind = photograph(mesh, [look_at("away", (9, 9, 9), (20, 20, 20))], checker)
    out = texture_mesh(colored, blind)
    picture, shown = render_textured(out, below)
    assert np.abs(picture[shown].astype(int) - (40, 90, 200)).max() <= 1
    assert (out.colors == (40, 90, 200)).all()


def test_vertex_colors_match_the_surface(scene):
    mesh, maps = scene
    out = texture_mesh(mesh, replace(maps, colors=[np.full_like(c, 77) for c in maps.colors]))
    assert out.colors is not None and len(out.colors) == len(out.vertices)
    assert np.abs(out.colors.astype(int) - 77).max() <= 1


def test_atlas_stays_in_its_budget(scene, textured):
    mesh, maps = scene
    full = textured()
    small = texture_mesh(mesh, maps, TextureConfig(max_atlas_px=160))
    assert full.texture is not None and small.texture is not None
    assert max(full.texture.image.shape) > 200 and max(small.texture.image.shape) <= 160
    where = seen_by_all(maps, ABOVE, mesh)
    truth = photograph(mesh, [ABOVE], checker).colors[0]
    assert psnr(render_textured(small, ABOVE)[0][where], truth[where]) > 24
    with pytest.raises(UsageError, match="cannot hold"):
        texture_mesh(mesh, maps, TextureConfig(max_atlas_px=8))


def test_coordinates_are_inside_and_mip_maps_do_not_bleed(scene):
    mesh, maps = scene
    white = [np.full_like(c, 250) for c in maps.colors]
    out = texture_mesh(mesh, replace(maps, colors=white))
    assert out.texture is not None
    assert out.texture.uv.shape == (len(out.faces), 3, 2) and out.texture.uv.dtype == np.float32
    assert out.texture.uv.min() >= 0 and out.texture.uv.max() <= 1
    assert out.texture.image.min() >= 248


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_any_unit_gives_the_same_texture(scene, textured, unit):
    mesh, maps = scene
    views = tuple(
        replace(
            v,
            cam_from_world=np.column_stack(
                [v.cam_from_world[:, :3], v.cam_from_world[:, 3] * unit]
            ),
        )
        for v in maps.views
    )
    depths = [depth * np.float32(unit) for depth in maps.depths]
    scaled = texture_mesh(
        replace(mesh, vertices=mesh.vertices * np.float32(unit)),
        replace(maps, views=views, depths=depths),
    )
    same = textured()
    assert scaled.texture is not None and same.texture is not None
    a, b = (render_textured(m, v)[0] for m, v in ((same, maps.views[0]), (scaled, views[0])))
    assert np.abs(a.astype(int) - b).mean() < 0.5


def test_same_result_twice_and_progress_to_the_end(scene, textured):
    mesh, maps = scene
    steps: list[float] = []
    one = texture_mesh(mesh, maps, progress=lambda fraction, message="": steps.append(fraction))
    two = textured()
    assert one.texture is not None and two.texture is not None
    assert (one.texture.image == two.texture.image).all() and (
        one.texture.uv == two.texture.uv
    ).all()
    assert steps == sorted(steps) and steps[-1] == 1.0 and len(steps) > 8


def test_empty_mesh_is_a_clear_error(scene):
    nothing = TriMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(ReconstructionError, match="no faces"):
        texture_mesh(nothing, scene[1])


def test_survey_looks_like_a_photo_that_was_held_out(shared_data):
    """True mesh of a synthetic drone survey, 14 photos at half size, all exposed differently."""
    cv2, trimesh = pytest.importorskip("cv2"), pytest.importorskip("trimesh")
    folder = shared_data("synthetic_uav")
    truth = json.loads((folder / "truth/cameras.json").read_text())
    solid = trimesh.load(folder / "truth/mesh.ply", process=False)
    solid.merge_vertices(merge_tex=True, merge_norm=True)
    mesh = TriMesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32))
    K, size = np.array(truth["K"], float), (512, 384)
    centred = K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]  # OpenCV counts from pixel centres
    distortion = np.array([truth["distortion"]["k1"], truth["distortion"]["k2"], 0, 0])
    camera = Camera("RADIAL", truth["width"], truth["height"], tuple(truth["colmap_params"]))
    rng, views, photos = np.random.default_rng(0), [], []
    for image in truth["images"][10:]:
        photo = cv2.imread(str(folder / "images" / image["name"]))[..., ::-1]
        photo = cv2.undistort(np.ascontiguousarray(photo), centred, distortion, None, centred)
        photos.append(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        pose = np.array(image["cam_from_world"])
        view = PinholeView(image["name"], K, pose, truth["width"], truth["height"], camera)
        views.append(view.resized(*size))
    exposed = [np.clip(p * rng.uniform(0.7, 1.0, 3), 0, 255).astype(np.uint8) for p in photos[:-1]]
    depths = photograph(mesh, views[:-1], checker).depths
    out = texture_mesh(mesh, MemoryDepthMaps(tuple(views[:-1]), depths, exposed))
    picture, shown = render_textured(out, views[-1])
    assert shown.mean() > 0.6
    assert psnr(picture[shown], photos[-1][shown]) > 25


def test_sharpness_of_thousands_of_photos_is_found_in_little_memory():
    rng, photos, faces, seen = np.random.default_rng(0), 4000, 20_000, 6
    view = (rng.integers(0, photos, (faces, 1)) + np.arange(seen)) % photos  # along a strip
    factor = np.exp(rng.normal(0, 0.1, photos))
    value = (
        rng.uniform(60, 120, (faces, 1)) * factor[view] * np.exp(rng.normal(0, 0.01, view.shape))
    )
    found = Candidates(
        view.astype(np.int32),
        np.ones(view.shape, np.float32),
        np.repeat(value[..., None], 4, axis=2).astype(np.float32),
    )
    tracemalloc.start()
    sharp = sharpness(found, photos)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * photos**2  # less than one dense matrix of all pairs
    neighbours = np.diff(np.log(sharp / factor))
    assert np.abs(neighbours).max() < 0.02
