"""Patches and depths carried between neighbouring views, and the choice of neighbours."""
# ruff: noqa: E402

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses import multiview as mv
from voxterra.surface.voxels.losses.neighbors import NeighborConfig, choose_neighbors

H, W, F = 48, 64, 70.0
NORMAL = np.array([0.25, -0.2, -1.0]) / np.linalg.norm([0.25, -0.2, -1.0])
DISTANCE = 4.0
"""The plane NORMAL . x = -DISTANCE, in front of cameras near the origin that look along z."""


def camera(center, target=(0.0, 0.0, 4.0), dtype=torch.float64):
    z = np.asarray(target, float) - center
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    row = np.zeros(km.CAMERA)
    row[:9] = np.stack((x, np.cross(z, x), z), axis=1).ravel()
    row[9:12] = center
    row[12:19] = F, F, W / 2, H / 2, W, H, 0.1
    return torch.tensor(row, dtype=dtype)


def texture(points):
    """Smooth, without a period inside the picture."""
    x, y = points[..., 0], points[..., 1]
    waves = torch.sin(7 * x + 2 * y) + torch.sin(3 * x - 6 * y + 1) + torch.sin(5.1 * x * y + 4 * y)
    return 0.5 + 0.15 * waves


def plane_view(cam):
    """Photo and depth of the textured plane."""
    x = (torch.arange(W, dtype=cam.dtype) + 0.5 - W / 2) / F
    y = (torch.arange(H, dtype=cam.dtype) + 0.5 - H / 2) / F
    ray = torch.stack((x[None].expand(H, W), y[:, None].expand(H, W), torch.ones(H, W)), -1)
    ray = ray.to(cam.dtype) @ cam[:9].view(3, 3).T
    n = torch.tensor(NORMAL, dtype=cam.dtype)
    depth = (-DISTANCE - n @ cam[9:12]) / (ray @ n)
    return mv.MultiviewView(cam, texture(cam[9:12] + depth[..., None] * ray), depth)


def pair(dtype=torch.float64):
    reference = plane_view(camera((0.0, 0.0, 0.0), dtype=dtype))
    neighbor = plane_view(camera((0.5, 0.1, 0.1), dtype=dtype))
    normal = 0.95 * torch.tensor(NORMAL, dtype=dtype).expand(H, W, 3)
    inner = torch.zeros(H, W, dtype=torch.bool)
    inner[8:-8, 14:-14] = True
    drawn = mv.draw_pixels(*inner.shape, 300, torch.Generator().manual_seed(0))
    pixels = mv.sample_pixels(inner, drawn)
    return reference, neighbor, normal, pixels


def test_ncc_and_reprojection_are_least_at_the_true_depth():
    reference, neighbor, normal, pixels = pair()
    losses = {
        scale: mv.multiview_loss(reference, neighbor, scale * reference.depth, normal, pixels)
        for scale in (0.95, 0.98, 0.99, 1.0, 1.01, 1.02, 1.05, 0.8)
    }
    blind = dataclasses.replace(neighbor, depth=None)
    ncc = [
        mv.multiview_loss(reference, blind, s * reference.depth, normal, pixels).ncc.item()
        for s in losses
    ]
    assert ncc[3] < 0.01 and losses[1.0].geo < 1e-3 and losses[1.0].share > 0.95
    assert ncc[0] > 3 * ncc[1] > 6 * ncc[2] > 2 * ncc[3]
    assert ncc[6] > 3 * ncc[5] > 6 * ncc[4] > 2 * ncc[3]
    assert losses[0.99].geo > 10 * losses[1.0].geo and losses[1.01].geo > 10 * losses[1.0].geo
    # Past a pixel the sample counts as hidden.
    assert losses[0.8].share < 0.1


def test_gradient_leads_to_the_true_depth_and_normal():
    reference, neighbor, normal, pixels = pair()
    for scale in (0.99, 1.01):
        depth = (scale * reference.depth).requires_grad_()
        loss = mv.multiview_loss(reference, neighbor, depth, normal, pixels)
        for term in (loss.ncc, loss.geo):
            (grad,) = torch.autograd.grad(term, depth, retain_graph=True)
            assert (grad.sum() > 0) == (scale > 1)
            assert (grad != 0).sum() <= len(pixels)
    tilt = torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64)
    tilted = (normal + tilt).requires_grad_()
    loss = mv.multiview_loss(reference, neighbor, reference.depth, tilted, pixels).ncc
    assert loss > 1.5 * mv.multiview_loss(reference, neighbor, reference.depth, normal, pixels).ncc
    loss.backward()
    assert (tilted.grad.sum((0, 1)) * tilt).sum() > 0


def test_ncc_gradient_by_finite_differences():
    reference, neighbor, normal, pixels = pair()
    blind = dataclasses.replace(neighbor, depth=None)
    row, column = pixels[:6].T
    z = (1.01 * reference.depth[row, column]).requires_grad_()
    n = (normal[row, column] + 0.05).detach().requires_grad_()

    def loss(z, n):
        depth = reference.depth.index_put((row, column), z)
        normals = normal.index_put((row, column), n)
        return mv.multiview_loss(reference, blind, depth, normals, pixels[:6]).ncc

    assert torch.autograd.gradcheck(loss, (z, n), eps=1e-7, atol=1e-5, fast_mode=True)


def test_reprojection_gradient_by_finite_differences():
    reference, neighbor, normal, pixels = pair()
    row, column = pixels[:6].T
    z = (1.005 * reference.depth[row, column]).requires_grad_()

    def phi(z):
        depth = reference.depth.index_put((row, column), z)
        at = mv._at_samples(reference, neighbor, depth, normal, row, column)
        error, good = mv._there_and_back(reference.camera, neighbor, at)
        assert good.all()
        return error

    assert torch.autograd.gradcheck(phi, (z,), eps=1e-7, atol=1e-5)
    # The weight takes no gradient: d geo / d z = w d phi / d z / samples.
    depth = reference.depth.index_put((row, column), z)
    geo = mv.multiview_loss(reference, neighbor, depth, normal, pixels[:6]).geo
    (grad,) = torch.autograd.grad(geo, z)
    (slope,) = torch.autograd.grad(phi(z).sum(), z)
    torch.testing.assert_close(grad, slope * torch.exp(-phi(z).detach()) / 6)


def test_what_the_neighbour_does_not_see_is_left_out():
    reference, neighbor, normal, pixels = pair()
    hidden = dataclasses.replace(neighbor, depth=0.6 * neighbor.depth)
    depth = reference.depth.clone().requires_grad_()
    loss = mv.multiview_loss(reference, hidden, depth, normal, pixels)
    (loss.ncc + loss.geo).backward()
    assert loss.ncc == 0 and loss.geo == 0 and loss.share == 0
    assert (depth.grad == 0).all()


@pytest.mark.parametrize(
    "empty", ["no depth", "nan", "flat photo", "black", "behind", "masked", "no normal"]
)
def test_nothing_to_compare_is_zero_with_zero_gradient(empty):
    reference, neighbor, normal, pixels = pair(torch.float32)
    depth, valid = reference.depth, None
    if empty == "no depth":
        depth = torch.zeros_like(depth)
    elif empty == "nan":
        depth = torch.full_like(depth, torch.nan)
        neighbor = dataclasses.replace(neighbor, depth=depth)
    elif empty in ("flat photo", "black"):
        grey = torch.full_like(depth, 0.5 if empty == "flat photo" else 0.0)
        neighbor = dataclasses.replace(neighbor, grey=grey, depth=None)
    elif empty == "behind":
        away = camera((0.0, 0.0, 9.0), (0.5, 0.0, 12.0), torch.float32)
        neighbor = dataclasses.replace(neighbor, camera=away)
    elif empty == "masked":
        valid = torch.zeros(H, W, dtype=torch.bool)
    else:
        normal = torch.zeros_like(normal)
    depth, normal = depth.clone().requires_grad_(), normal.clone().requires_grad_()
    loss = mv.multiview_loss(reference, neighbor, depth, normal, pixels, valid)
    (loss.ncc + loss.geo).backward()
    assert loss.ncc == 0 and loss.geo == 0 and loss.share == 0
    for leaf in (depth, normal):
        assert leaf.grad is None or (leaf.grad == 0).all()


def test_samples_prefer_valid_pixels_and_stay_off_the_border():
    valid = torch.zeros(40, 50, dtype=torch.bool)
    valid[:, 20:] = True
    drawn = mv.draw_pixels(*valid.shape, 200, torch.Generator().manual_seed(1))
    pixels = mv.sample_pixels(valid, drawn)
    assert pixels.shape == (200, 2)
    assert valid[pixels[:, 0], pixels[:, 1]].all()
    assert pixels[:, 0].min() >= 3 and pixels[:, 0].max() < 37 and pixels[:, 1].max() < 47
    drawn = mv.draw_pixels(5, 4, 10, torch.Generator().manual_seed(1))
    none = mv.sample_pixels(torch.zeros(5, 4, dtype=torch.bool), drawn)
    assert none.shape == (10, 2) and (none >= 0).all() and (none < torch.tensor([5, 4])).all()


def test_bilinear_equals_grid_sample():
    image = torch.rand(9, 12, dtype=torch.float64)
    xy = torch.rand(50, 2, dtype=torch.float64) * torch.tensor([11.0, 8.0]) + 0.5
    value, least, inside = mv._bilinear(image, *xy.T)
    grid = 2 * xy / torch.tensor([12.0, 9.0]) - 1
    expected = torch.nn.functional.grid_sample(
        image[None, None], grid[None, None], align_corners=False
    )[0, 0, 0]
    assert inside.all() and (least <= value).all()
    torch.testing.assert_close(value, expected)
    outside = torch.tensor([[0.4, 3.0], [11.6, 3.0], [torch.nan, 1.0]], dtype=torch.float64)
    assert not mv._bilinear(image, *outside.T)[2].any()


def ring(degrees, radius=5.0):
    angles = np.radians(degrees)
    centers = np.stack((radius * np.sin(angles), 0 * angles, -radius * np.cos(angles)), axis=1)
    return np.stack([camera(c, (0.0, 0.0, 0.0)).numpy() for c in centers])


def test_neighbours_are_those_of_the_best_parallax():
    cameras = ring(np.array([0.0, 0.1, 4.0, 10.0, 21.0, 80.0, 180.0]))
    chosen = choose_neighbors(cameras, np.full(7, 5.0), NeighborConfig(count=4))
    assert chosen[0].tolist() == [3, 4, 2, -1]  # not itself, too near, nor too far around
    assert (chosen[6] == -1).all()
    larger = cameras.copy()
    larger[:, km.C_CENTER : km.C_CENTER + 3] *= 100
    np.testing.assert_array_equal(choose_neighbors(larger, np.full(7, 500.0)), chosen)


def test_views_without_depth_or_company_have_no_neighbours():
    cameras = ring(np.array([0.0, 10.0, 12.0]))
    chosen = choose_neighbors(cameras, np.array([5.0, np.nan, 0.0]))
    assert (chosen == -1).all()
    assert choose_neighbors(cameras[:1], np.array([5.0])).tolist() == [[-1] * 4]


def test_image_smaller_than_a_patch_has_nothing_to_compare():
    cam = camera((0.0, 0.0, 0.0), dtype=torch.float32)
    view = mv.MultiviewView(cam, torch.rand(4, 5), torch.ones(4, 5))
    normal = torch.tensor([0.0, 0.0, -1.0]).expand(4, 5, 3)
    pixels = mv.draw_pixels(4, 5, 10, torch.Generator().manual_seed(1))
    assert mv.multiview_loss(view, view, torch.ones(4, 5), normal, pixels).ncc == 0
