"""Normals of depth maps, and their agreement with rendered normals."""
# ruff: noqa: E402

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses import normals
from voxterra.surface.voxels.losses.normals import normal_consistency, normals_from_depth

H, W = 24, 30


@pytest.fixture(autouse=True, params=["loops", "torch"])
def either_way(request, monkeypatch):
    """By compiled loops, as on a CPU, and by torch, as on a GPU."""
    if request.param == "torch":
        monkeypatch.setattr(normals, "_by_loops", lambda _: False)


def camera(dtype=torch.float32, seed=1):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    row = np.zeros(km.CAMERA)
    row[:9] = rotation.ravel()
    row[9:12] = 1.0, -2.0, 0.5
    row[12:19] = 40.0, 35.0, 14.0, 11.0, W, H, 0.1
    return torch.tensor(row, dtype=dtype)


def plane_depth(cam, normal_in_cam, distance):
    """Depth of the plane n . x = -distance (n faces the camera)."""
    x = (torch.arange(W, dtype=cam.dtype) + 0.5 - cam[km.C_CX]) / cam[km.C_FX]
    y = (torch.arange(H, dtype=cam.dtype) + 0.5 - cam[km.C_CY]) / cam[km.C_FY]
    n = normal_in_cam
    return -distance / (n[0] * x[None] + n[1] * y[:, None] + n[2])


def slanted(dtype):
    n = torch.tensor([0.4, -0.3, -1.0], dtype=dtype)
    return n / n.norm()


@pytest.mark.parametrize("in_world", [True, False])
def test_plane_has_its_normal_everywhere_inside(in_world):
    cam, n = camera(), slanted(torch.float32)
    normals, known = normals_from_depth(plane_depth(cam, n, 5.0), cam, in_world=in_world)
    expected = cam[:9].view(3, 3) @ n if in_world else n
    assert known.sum() == (H - 2) * (W - 2)
    torch.testing.assert_close(
        normals[known], expected.expand(int(known.sum()), 3), atol=2e-5, rtol=0
    )
    assert (normals[~known] == 0).all()


def test_equals_the_cross_product_of_central_differences_on_a_bumpy_surface():
    cam = camera(torch.float64)
    rng = np.random.default_rng(0)
    depth = 4 + 0.01 * torch.tensor(rng.random((H, W)))
    normals, known = normals_from_depth(depth, cam, edge=1.0, in_world=False)
    x = (torch.arange(W, dtype=torch.float64) + 0.5 - cam[km.C_CX]) / cam[km.C_FX]
    y = (torch.arange(H, dtype=torch.float64) + 0.5 - cam[km.C_CY]) / cam[km.C_FY]
    grid = torch.stack((x[None].expand(H, W), y[:, None].expand(H, W), torch.ones_like(depth)), -1)
    points = grid * depth[..., None]
    across = points[1:-1, 2:] - points[1:-1, :-2]
    along = points[2:, 1:-1] - points[:-2, 1:-1]
    expected = torch.nn.functional.normalize(torch.linalg.cross(along, across), dim=-1)
    assert known[1:-1, 1:-1].all()
    torch.testing.assert_close(normals[1:-1, 1:-1], expected)


def test_depth_edges_unknown_pixels_and_nan_have_no_normal_and_no_gradient():
    cam, n = camera(), slanted(torch.float32)
    depth = plane_depth(cam, n, 5.0)
    depth[:, 15:] *= 1.5
    depth[5, 5] = 0.0
    depth[18, 5] = torch.nan
    depth.requires_grad_()
    normals, known = normals_from_depth(depth, cam)
    normals.square().sum().backward()
    assert not known[:, 14:16].any() and known[1:-1, 12].all() and known[1:-1, 17].all()
    for row in (5, 18):
        cross = [(row, 5), (row - 1, 5), (row + 1, 5), (row, 4), (row, 6)]
        assert not any(known[at] for at in cross)
        assert known[row - 1, 4]
    assert torch.isfinite(normals).all()
    assert torch.isfinite(depth.grad).all()


def test_gradient_by_finite_differences():
    cam = camera(torch.float64)
    rng = np.random.default_rng(2)
    depth = (4 + 0.05 * torch.tensor(rng.random((H, W))))[:6, :7].clone().requires_grad_()
    normal = torch.tensor(rng.normal(size=(6, 7, 3)), requires_grad=True)
    passed = (torch.tensor(rng.random((6, 7))) * 0.4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda d, n, t: normal_consistency(n, d, t, cam, edge=1.0), (depth, normal, passed)
    )


def test_agreement_is_zero_and_rises_with_the_angle():
    cam, n = camera(), slanted(torch.float32)
    depth = plane_depth(cam, n, 5.0)
    passed = torch.full((H, W), 0.2)
    in_world = cam[:9].view(3, 3) @ n
    rendered = (0.8 * in_world).expand(H, W, 3)
    assert normal_consistency(rendered, depth, passed, cam).item() == pytest.approx(0, abs=1e-6)
    other = torch.linalg.cross(in_world, torch.tensor([1.0, 0, 0]))
    other = other / other.norm()
    turned = 0.8 * (0.5 * in_world + 0.75**0.5 * other)  # by 60 degrees
    loss = normal_consistency(turned.expand(H, W, 3), depth, passed, cam)
    assert loss.item() == pytest.approx(0.8 * 0.5, abs=1e-5)


@pytest.mark.parametrize("empty", ["no depth", "seen through", "masked", "tiny"])
def test_nothing_valid_is_zero_with_zero_gradient(empty):
    cam = camera()
    size = (2, 2) if empty == "tiny" else (H, W)
    depth = torch.full(size, 0.0 if empty == "no depth" else 3.0, requires_grad=True)
    passed = torch.full(size, 1.0 if empty == "seen through" else 0.1, requires_grad=True)
    normal = torch.rand(*size, 3).requires_grad_()
    mask = torch.zeros(size) if empty == "masked" else None
    loss = normal_consistency(normal, depth, passed, cam, mask)
    loss.backward()
    assert loss.item() == 0
    for leaf in (normal, passed):
        assert (leaf.grad == 0).all()
    assert depth.grad is None or (depth.grad == 0).all()
