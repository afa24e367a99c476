"""Depth and normal priors, sparse points."""
# ruff: noqa: E402

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode

from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses import priors


def test_depth_has_its_known_value_weighted_by_confidence():
    depth = torch.tensor([[2.2, 2.0, 3.0]], requires_grad=True)
    prior = torch.tensor([[2.0, 2.0, 2.0]])
    confidence = torch.tensor([[0.5, 1.0, 0.0]])
    passed = torch.zeros(1, 3)
    loss = priors.prior_depth(depth, prior, confidence, passed, scale=0.1)
    assert loss.item() == pytest.approx(0.5 * 0.1 * math.log(2) / 3, rel=1e-5)
    loss.backward()
    assert depth.grad[0, 0].item() == pytest.approx(0.5 * 0.5 / 2 / 3, rel=1e-4)
    assert depth.grad[0, 2] == 0


def test_a_far_off_prior_pulls_less_and_not_at_all_behind_the_gate():
    depth = torch.tensor([[2.02, 3.0]], requires_grad=True)
    prior, passed = torch.full((1, 2), 2.0), torch.zeros(1, 2)
    priors.prior_depth(depth, prior, None, passed).backward()
    near, far = depth.grad[0].tolist()
    assert near > 10 * far > 0
    depth.grad = None
    priors.prior_depth(depth, prior, None, passed, gate=0.1).backward()
    assert depth.grad[0, 0] > 0 and depth.grad[0, 1] == 0


def camera():
    row = torch.zeros(km.CAMERA)
    row[:9] = torch.tensor([0.0, 0, 1, 1, 0, 0, 0, 1, 0])
    return row


def test_normal_prior_is_read_in_the_camera_frame():
    prior = torch.tensor([0.0, 0.0, -1.0]).expand(2, 2, 3)
    normal = (0.9 * torch.tensor([-1.0, 0.0, 0.0])).expand(2, 2, 3)  # the same in world
    passed = torch.full((2, 2), 0.1)
    same = priors.prior_normal(normal, prior, None, passed, camera()).item()
    assert same == pytest.approx(0, abs=1e-6)
    away = priors.prior_normal(-normal, prior, torch.full((2, 2), 0.5), passed, camera())
    assert away.item() == pytest.approx(0.5 * 2)
    gated = priors.prior_normal(-normal, prior, None, passed, camera(), gate_cos=0.5)
    assert gated.item() == 0


def test_normal_prior_turns_but_does_not_thin_the_surface():
    prior = torch.tensor([0.0, 0.0, -1.0]).expand(2, 2, 3)
    normal = (0.9 * torch.tensor([-0.8, 0.6, 0.0])).expand(2, 2, 3).clone().requires_grad_()
    passed = torch.full((2, 2), 0.1, requires_grad=True)
    priors.prior_normal(normal, prior, None, passed, camera()).backward()
    assert passed.grad is None
    along = (normal.grad * normal.detach()).sum(-1)
    torch.testing.assert_close(along, torch.zeros(2, 2), atol=1e-7, rtol=0)
    assert (normal.grad[..., 0] > 0).all()


def test_gradients_by_finite_differences():
    g = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    depth, passed = (2 + rand(3, 4)).requires_grad_(), (0.4 * rand(3, 4)).requires_grad_()
    normal = (rand(3, 4, 3) - 0.5).requires_grad_()
    prior, confidence, prior_n = 2 + rand(3, 4), rand(3, 4), rand(3, 4, 3) + 0.3
    xy, points = 3 * rand(6, 2), 2 + rand(6)

    def loss(d, n, t):
        first = priors.prior_depth(d, prior, confidence, t)
        second = priors.prior_normal(n, prior_n, confidence, t, camera().double())
        return first, second, priors.sparse_depth(d, xy, points)

    assert torch.autograd.gradcheck(loss, (depth, normal, passed))


def test_sparse_points_are_compared_in_their_pixel():
    depth = torch.full((3, 4), 5.0)
    depth[1, 2] = 2.2
    depth.requires_grad_()
    xy = torch.tensor([[2.9, 1.1], [-0.1, 1.0], [4.0, 1.0], [torch.nan, 1.0], [0.5, 0.5]])
    points = torch.tensor([2.0, 3.0, 3.0, 3.0, -1.0])
    loss = priors.sparse_depth(depth, xy, points, scale=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0.1 * math.log(2), rel=1e-5)
    assert (depth.grad != 0).sum() == 1 and depth.grad[1, 2] > 0


def test_many_sparse_points_in_a_pixel_repeat_bit_for_bit():
    """torch adds the gradients of 2^15 indices or more in any order on a CPU."""

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            out = op(*args, **(kwargs or {}))
            if op is torch.ops.aten.index.Tensor:
                reads.append(out.numel())
            return out

    reads: list[int] = []
    torch.manual_seed(0)
    depth = (1 + torch.rand(40, 60)).requires_grad_()
    xy, points = torch.rand(200_000, 2) * torch.tensor([30.0, 2.0]), 1 + torch.rand(200_000)
    gradients = [
        torch.autograd.grad(priors.sparse_depth(depth, xy, points), depth)[0] for _ in range(12)
    ]
    assert all(torch.equal(g, gradients[0]) for g in gradients) and gradients[0][0, 0] != 0
    with Reads():
        priors.sparse_depth(depth, xy, points)
    assert sum(reads) == 200_000 and max(reads) < 2**15
    few = [priors.sparse_depth(depth, xy[i::4], points[i::4]) for i in range(4)]
    wanted = torch.autograd.grad(torch.stack(few).mean(), depth)[0]
    torch.testing.assert_close(gradients[0], wanted, rtol=1e-4, atol=1e-8)


def test_unknown_nan_and_empty_are_zero_with_zero_gradient():
    depth = torch.zeros(2, 3, requires_grad=True)
    normal = torch.zeros(2, 3, 3, requires_grad=True)
    passed = torch.full((2, 3), 0.1, requires_grad=True)
    nan, nan3 = torch.full((2, 3), torch.nan), torch.full((2, 3, 3), torch.nan)
    loss = (
        priors.prior_depth(depth, nan, nan, passed)
        + priors.prior_depth(depth, torch.ones(2, 3), None, passed)
        + priors.prior_normal(normal, nan3, nan, passed, camera())
        + priors.sparse_depth(depth, torch.zeros(0, 2), torch.zeros(0))
        + priors.sparse_depth(depth, torch.ones(2, 2), torch.full((2,), torch.nan))
    )
    loss.backward()
    assert loss.item() == 0
    for leaf in (depth, normal, passed):
        assert leaf.grad is None or (leaf.grad == 0).all()
