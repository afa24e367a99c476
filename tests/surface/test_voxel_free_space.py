"""False surfaces and fog in front of what photos show go; what they show stays."""
# ruff: noqa: E402

from __future__ import annotations

import copy

import numpy as np
import pytest
import voxel_training

torch = pytest.importorskip("torch")

from voxterra.surface.voxels.mesh.extract import extract_mesh
from voxterra.surface.voxels.model.render import render_view, to_model
from voxterra.surface.voxels.octree import Cube, corner_positions
from voxterra.surface.voxels.octree.query import crossing, inside_main, voxel_centers
from voxterra.surface.voxels.start.first_state import start
from voxterra.surface.voxels.training.free_space import clear_free_space, find_free_space
from voxterra.surface.voxels.training.targets import make_targets

CONFIG = voxel_training.SMALL
CUBE = Cube((0.0, 0.0, 0.2), 2.0, 3)


@pytest.fixture(scope="module")
def made():
    """A start from exact depths with nothing cleared: voxels and the training views."""
    scene = voxel_training.scene()
    device = torch.device("cpu")
    targets, _ = make_targets(scene, CUBE, CONFIG, device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voxterra.surface.voxels.start.first_state.clear", lambda *_: 0)
        return start(scene, CUBE, targets, CONFIG, device, 20_000).voxels, targets


def blob(voxels, center, radius):
    """Corners within a sphere."""
    return (corner_positions(voxels.octree) - torch.tensor(center)).norm(dim=1) < radius


def test_a_sheet_that_faces_away_from_all_cameras_goes(made):
    voxels, targets = copy.deepcopy(made[0]), made[1]
    views = [t.kernel for t in targets]
    before = render_view(voxels, targets[0].view)
    # In the topmost voxels there are, negative from their upper end down: a lid seen from behind.
    positions = corner_positions(voxels.octree)
    high = (voxels.sdf > 0) & inside(positions)
    high &= positions[:, 2] > torch.quantile(positions[high, 2], 0.9)
    voxels.sdf[high] = -voxels.sdf[high]
    spoiled = extract_mesh(to_model(voxels))
    found = clear_free_space(voxels, views)
    assert found.corners[high].float().mean() > 0.6
    assert not found.corners[~high].any()
    cleared = extract_mesh(to_model(voxels))
    top = np.quantile(spoiled.vertices[:, 2], 0.99)
    assert (cleared.vertices[:, 2] > top).sum() < 0.5 * (spoiled.vertices[:, 2] > top).sum()
    after = render_view(voxels, targets[0].view)
    assert float((after.color - before.color).abs().mean()) < 0.02


def inside(positions):
    low = torch.tensor(CUBE.center) - CUBE.inside_edge / 2
    return ((positions > low) & (positions < low + CUBE.inside_edge)).all(1)


def test_what_the_photos_show_stays(made):
    voxels, targets = copy.deepcopy(made[0]), made[1]
    before = voxels.sdf.clone()
    found = clear_free_space(voxels, [t.kernel for t in targets])
    behind = (before < 0) & inside(corner_positions(voxels.octree))
    assert behind.sum() > 100
    assert found.corners[behind].float().mean() < 0.01
    assert torch.equal(voxels.sdf[~found.corners], before[~found.corners])


def test_fog_is_outside_of_the_bound_and_in_front_of_a_surface(made):
    voxels, targets = copy.deepcopy(made[0]), made[1]
    octree = voxels.octree
    found = find_free_space(voxels, [t.kernel for t in targets])
    assert not (found.fog & inside_main(octree)).any()
    assert not (found.fog & crossing(octree, voxels.sdf)).any()
    assert found.fog.any()
    centers, edge = voxel_centers(octree)[found.fog], octree.lo_size[found.fog, 3]
    in_front = torch.zeros(len(edge), dtype=torch.bool)
    for target in targets:
        xy, depth = target.view.project(centers.double().numpy())
        depth, xy = torch.from_numpy(depth), torch.from_numpy(xy)
        size = torch.tensor([target.view.width, target.view.height])
        looks = (depth > 0) & (xy >= 0).all(1) & (xy < size).all(1)
        surface = render_view(voxels, target.view).median_depth
        at = xy[looks].long()
        seen = surface[at[:, 1], at[:, 0]]
        gap = torch.where(seen > 0, seen, torch.inf) - depth[looks]
        assert ((gap > edge[looks]) | (gap < -edge[looks])).all()  # never at the surface
        in_front[looks] |= gap > edge[looks]
    assert in_front.all()


def test_a_start_has_neither():
    scene = voxel_training.scene(6, (3,))
    device = torch.device("cpu")
    targets, _ = make_targets(scene, CUBE, CONFIG, device)
    voxels = start(scene, CUBE, targets, CONFIG, device, 20_000).voxels
    found = find_free_space(voxels, [t.kernel for t in targets])
    assert not found.fog.any() and found.corners.float().mean() < 0.001


def test_one_view_alone_is_enough_where_there_is_no_other(made):
    voxels, targets = copy.deepcopy(made[0]), made[1]
    view = [targets[0].kernel]
    none = find_free_space(voxels, view, min_views=1)
    assert torch.equal(find_free_space(voxels, view).corners, none.corners)
