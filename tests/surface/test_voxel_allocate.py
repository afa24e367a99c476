"""The first octree around analytic surfaces, and the index logic that adapts it later."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxterra.core.camera import Camera, PinholeView  # noqa: E402
from voxterra.core.morton import coordinates_of, lattice_of  # noqa: E402
from voxterra.errors import ReconstructionError  # noqa: E402
from voxterra.surface.voxels.octree import (  # noqa: E402
    Cube,
    corner_positions,
    interpolate,
    locate,
    make_octree,
    uniform,
    voxel_centers,
)
from voxterra.surface.voxels.octree.footprint import (  # noqa: E402
    pixel_footprints,
    smallest_footprint,
)
from voxterra.surface.voxels.octree.lattice import world_of  # noqa: E402
from voxterra.surface.voxels.octree.query import (  # noqa: E402
    crossing,
    inside_main,
    locate_lattice,
    min_abs,
)
from voxterra.surface.voxels.start.allocate import allocate, graded  # noqa: E402

CUBE = Cube((0.2, -0.1, 0.4), 2.0, 3)
CENTER = torch.tensor(CUBE.center)


@pytest.fixture(autouse=True)
def one_thread():
    """Torch's threads wait for each other on a busy machine, for tensors this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sphere(points):
    return (points - CENTER).norm(dim=1) - 0.61


def box(points):
    q = (points - CENTER).abs() - torch.tensor([0.7, 0.33, 0.52])
    return q.clamp(min=0).norm(dim=1) + q.amax(dim=1).clamp(max=0)


def plane(points):
    return (points - CENTER) @ torch.tensor([0.36, 0.48, 0.8]) + 0.07


def thin(points):
    """A plate thinner than the coarsest cells, with distances that are only half of the truth."""
    return 0.5 * (((points - CENTER)[:, 2]).abs() - 0.01)


def start(sdf_at, footprint=None, *, first=4, last=6, most=10**6, band=1.0, cube=CUBE):
    levels = {"start_level": cube.outside_level + first, "max_level": cube.outside_level + last}
    return allocate(cube, sdf_at, footprint, max_voxels=most, band=band, **levels)


def lattice_edges(cube, level):
    """All edges of the main bound's grid at a level from it, and lattice points of their ends."""
    low, high = cube.inside
    step = (high - low) >> level
    ticks = torch.arange(low, high + 1, step)
    a = torch.cartesian_prod(ticks, ticks, ticks)
    for axis in range(3):
        b = a.clone()
        b[:, axis] += step
        fits = b[:, axis] <= high
        yield axis, step, a[fits], b[fits]


@pytest.mark.parametrize("sdf_at", [sphere, box, plane, thin])
@pytest.mark.parametrize("band", [0.0, 1.0])
def test_the_surface_has_no_holes(sdf_at, band):
    octree, sdf = start(sdf_at, band=band)
    tested = 0
    for axis, step, a, b in lattice_edges(CUBE, 6):
        crossed = (sdf_at(world_of(CUBE, *a.unbind(1))) < 0) != (
            sdf_at(world_of(CUBE, *b.unbind(1))) < 0
        )
        # The four cells around an edge of the finest grid.
        for side in range(4):
            cell = a[crossed].clone()
            cell[:, axis] += step // 2
            cell[:, (axis + 1) % 3] -= side & 1
            cell[:, (axis + 2) % 3] -= side >> 1
            inside = ((cell >= CUBE.inside[0]) & (cell < CUBE.inside[1])).all(1)
            leaf = locate_lattice(octree, *cell[inside].unbind(1))
            assert (leaf >= 0).all()
            assert (octree.level[leaf] == CUBE.outside_level + 6).all()
            tested += len(leaf)
    assert tested > 10000
    assert torch.equal(sdf, sdf_at(corner_positions(octree)))


def test_a_band_is_kept_with_its_ring_and_no_more():
    octree, sdf = start(sphere)
    value, edge = sphere(voxel_centers(octree)).abs(), octree.lo_size[:, 3]
    finest = octree.level == CUBE.outside_level + 6
    near = finest & ((value <= math.sqrt(3) * edge) | crossing(octree, sdf))
    assert near[crossing(octree, sdf)].all()
    coarser = CUBE.outside_level + 6 - octree.level.long()
    assert (
        coarser.max() <= 2 and (coarser == 2).float().mean() < 0.01 < (coarser == 1).float().mean()
    )
    assert 0.6 < near.float().mean() < 1
    # All eight cells around each corner of a near leaf are there.
    corner = torch.zeros(octree.corner_count, dtype=torch.bool)
    corner[octree.corner_index[near].flatten().long()] = True
    point = coordinates_of(octree.corner_key[corner])
    touched = torch.zeros(octree.count, dtype=torch.bool)
    for c in range(8):
        leaf = locate_lattice(octree, *(p - (c >> bit & 1) for p, bit in zip(point, (2, 1, 0))))
        assert (leaf >= 0).all()
        touched[leaf] = True
    assert touched.all()
    wide, _ = start(sphere, band=2.0)
    assert wide.count > 1.2 * octree.count


def test_interpolated_distances_are_those_of_the_field():
    octree, sdf = start(plane, last=5)
    points = voxel_centers(octree) + 0.3 * octree.lo_size[:, 3:] * torch.tensor([1.0, -0.5, 0.2])
    torch.testing.assert_close(interpolate(octree, sdf, points), plane(points), atol=2e-6, rtol=0)
    octree, sdf = start(sphere)
    points = voxel_centers(octree)[crossing(octree, sdf)]
    error = (interpolate(octree, sdf, points) - sphere(points)).abs()
    assert error.max() < 0.05 * octree.lo_size[:, 3].min()


def test_cells_are_as_fine_as_pixels():
    def footprint(points):
        return torch.where(points[:, 0] < CUBE.center[0], 0.009, 0.035)

    octree, sdf = start(sphere, footprint, first=3, last=9)
    crossed, left = crossing(octree, sdf), voxel_centers(octree)[:, 0] < CUBE.center[0]
    assert set(octree.level[crossed & left].tolist()) == {CUBE.outside_level + 7}
    assert set(octree.level[crossed & ~left].tolist()) == {CUBE.outside_level + 5}
    unseen, _ = start(sphere, lambda p: torch.full((len(p),), torch.inf), first=4, last=9)
    assert int(unseen.level.max()) == CUBE.outside_level + 4


def test_the_budget_goes_to_the_cells_with_most_pixels():
    def footprint(points):
        return 0.008 * (1.1 + (points[:, 2] - CUBE.center[2]).clamp(-1, 1))

    full, _ = start(sphere, footprint, last=7)
    octree, sdf = start(sphere, footprint, last=7, most=full.count // 2)
    assert full.count // 5 < octree.count <= full.count // 2
    crossed, level = crossing(octree, sdf), octree.level
    z = voxel_centers(octree)[:, 2]
    finest = level == level.max()
    assert z[crossed & finest].mean() < z[crossed & ~finest].mean() - 0.3
    points = CENTER + 0.61 * torch.nn.functional.normalize(torch.randn(5000, 3), dim=1)
    assert (locate(octree, points) >= 0).all()


def test_a_far_shell_is_closed_with_few_cells():
    radius = 0.8 * CUBE.edge / 2

    def scene(points):
        return torch.minimum(sphere(points), radius - (points - CENTER).norm(dim=1))

    octree, sdf = start(scene, lambda p: torch.full((len(p),), 0.001))
    outside = ~inside_main(octree)
    assert 5000 < int(outside.sum()) < 120_000
    points = CENTER + radius * torch.nn.functional.normalize(torch.randn(5000, 3), dim=1)
    assert (locate(octree, points) >= 0).all()
    # Along the diagonals the shell lies in the doubling before the last.
    sizes = set(octree.lo_size[crossing(octree, sdf) & outside, 3].tolist())
    assert sizes == {CUBE.edge / 64, CUBE.edge / 128}


def test_what_is_no_start_is_refused():
    with pytest.raises(ReconstructionError, match="no surface"):
        start(lambda p: p.norm(dim=1) + 1.0)
    with pytest.raises(ReconstructionError, match="no surface"):
        start(lambda p: 6.0 - (p - CENTER).norm(dim=1))
    with pytest.raises(ValueError, match="not finite"):
        start(lambda p: sphere(p) * torch.nan)


@pytest.mark.parametrize(("outside", "inside", "shell"), [(0, 3, 2), (3, 4, 3), (5, 1, 2)])
def test_graded_cells_fill_the_root(outside, inside, shell):
    cube = Cube((0, 0, 0), 1.0, outside)
    path, level = graded(cube, inside, shell)
    octree = make_octree(cube, path, level)
    assert (8.0 ** -octree.level.double()).sum() == 1
    main = inside_main(octree)
    assert int(main.sum()) == 8**inside and (octree.level[main] == outside + inside).all()
    assert octree.count == 8**inside + outside * (8**shell - 8 ** (shell - 1))
    distance = torch.stack(lattice_of(octree.path), 1)  # shells at their levels
    middle = (
        distance + (octree.cube.inside[1] - 2**15) * 0 + 2 ** (15 - octree.level.long())[:, None]
    )
    ring = torch.ceil(torch.log2((middle - 2**15).abs().amax(1) / (cube.inside[1] - 2**15)))
    assert torch.equal(octree.level[~main].long(), outside - ring[~main].long() + shell)


def test_signs_and_magnitudes_of_leaves():
    octree = uniform(CUBE, 3)
    sdf = torch.randn(octree.corner_count, generator=torch.Generator().manual_seed(0)) + 1.0
    sdf[::7] = 0.0
    values = sdf[octree.corner_index.long()]
    expected = (values < 0).any(1) & (values >= 0).any(1)
    assert torch.equal(crossing(octree, sdf), expected) and 0 < expected.sum() < len(expected)
    assert torch.equal(min_abs(octree, sdf), values.abs().amin(1))
    corner = (octree.lo_size[:, :3] + octree.lo_size[:, 3:] / 2 - CENTER).abs().amax(1)
    assert torch.equal(inside_main(octree), corner < CUBE.inside_edge / 2)


def views(count=3, width=64, height=48):
    """Cameras around the centre that look at it, from ever farther away."""
    for i in range(count):
        angle, distance = 2.1 * i, 3.0 + i
        forward = -np.array([math.cos(angle), 0.3, math.sin(angle)])
        forward /= np.linalg.norm(forward)
        right = np.cross([0, -1, 0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        position = np.array(CUBE.center) - distance * forward
        K = np.array([[50.0 + i, 0, width / 2], [0, 50.0 + i, height / 2], [0, 0, 1]])
        pose = np.concatenate([rotation, -(rotation @ position)[:, None]], axis=1)
        camera = Camera("PINHOLE", width, height, (50.0 + i, 50.0 + i, width / 2, height / 2))
        yield PinholeView(f"v{i}", K, pose, width, height, camera)


def test_footprints_are_those_of_the_nearest_view_that_looks():
    cameras = list(views())
    rng = np.random.default_rng(0)
    points = np.array(CUBE.center) + rng.uniform(-3, 3, (400, 3))
    expected = np.full(len(points), np.inf)
    for view in cameras:
        in_cam = points @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
        pixel = in_cam @ view.K.T
        with np.errstate(all="ignore"):
            u, v = pixel[:, 0] / pixel[:, 2], pixel[:, 1] / pixel[:, 2]
        sees = (in_cam[:, 2] > 0) & (u >= -3.2) & (u <= 67.2) & (v >= -2.4) & (v <= 50.4)
        size = in_cam[:, 2] / view.K[0, 0]
        expected[sees] = np.minimum(expected[sees], size[sees])
    assert 20 < np.isinf(expected).sum() < 380
    found = smallest_footprint(torch.from_numpy(points), cameras)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    octree = uniform(CUBE, 2)
    np.testing.assert_array_equal(
        pixel_footprints(octree, cameras), smallest_footprint(voxel_centers(octree), cameras)
    )
    assert torch.isinf(smallest_footprint(voxel_centers(octree), [])).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_allocates_the_same():
    def on_device(points):
        return (points.cpu() - CENTER).norm(dim=1).to(points.device) - 0.61

    cpu, gpu = (
        allocate(
            CUBE, on_device, lambda p: smallest_footprint(p, list(views())),
            start_level=7, max_level=9, max_voxels=10**6, band=1.0, device=device,
        )
        for device in ("cpu", "cuda")
    )  # fmt: skip
    assert torch.equal(cpu[0].path, gpu[0].path.cpu())
    assert torch.equal(cpu[1], gpu[1].cpu())
