"""Losses on weights along rays, and exposures."""
# ruff: noqa: E402

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from voxterra.surface.voxels.losses import exposure, rays


def blend(height=3, width=4, segments=5):
    """Moments of random rays, in float64."""
    g = torch.Generator().manual_seed(0)
    alpha = torch.rand(height, width, segments, generator=g, dtype=torch.float64) * 0.6
    color = torch.rand(height, width, segments, 3, generator=g, dtype=torch.float64)
    through = torch.cumprod(1 - alpha, -1)
    weight = alpha * torch.cat((torch.ones_like(through[..., :1]), through[..., :-1]), -1)
    photo = torch.rand(height, width, 3, generator=g, dtype=torch.float64)
    return weight, color, through[..., -1], photo


def test_color_concentration_equals_the_sum_over_segments():
    weight, color, passed, photo = blend()
    rgb = (weight[..., None] * color).sum(-2)
    rgb2 = (weight * color.square().sum(-1)).sum(-1)
    loss = rays.color_concentration(rgb, rgb2, passed, photo)
    slow = (weight * (color - photo[..., None, :]).square().sum(-1)).sum(-1).mean()
    torch.testing.assert_close(loss, slow)
    leaves = [x.clone().requires_grad_() for x in (rgb, rgb2, passed)]
    assert torch.autograd.gradcheck(lambda *x: rays.color_concentration(*x, photo), leaves)


def test_transmittance_terms_have_their_known_values():
    passed = torch.tensor([[0.0, 0.5, 1.0, 0.2]])
    squares = (0.5**4 + 0.16**2) / 4
    assert rays.transmittance_concentration(passed).item() == pytest.approx(squares)
    assert rays.transmittance_inside(passed).item() == pytest.approx((0.25 + 1 + 0.04) / 4)
    mask = torch.tensor([[1, 1, 0, 0]], dtype=torch.uint8)
    assert rays.mask_loss(passed, mask).item() == pytest.approx((0.25 + 0.64) / 4)
    only = torch.tensor([[True, True, True, False]])
    assert rays.mask_loss(passed, mask, only).item() == pytest.approx(0.25 / 3)


def test_mask_pulls_opacity_towards_the_mask():
    passed = torch.full((1, 2), 0.5, requires_grad=True)
    rays.mask_loss(passed, torch.tensor([[1.0, 0.0]])).backward()
    assert passed.grad[0, 0] > 0 > passed.grad[0, 1]


def test_distortion_does_not_depend_on_the_unit_of_length():
    values = torch.rand(4, 5)
    near = rays.distortion(values, 7.0)
    torch.testing.assert_close(rays.distortion(1000 * values, torch.tensor(7000.0)), near)


def test_a_rise_is_averaged_over_the_pixels():
    rise = torch.tensor([[0.0, 0.5, 0.1, 0.2]])
    assert rays.ascending(rise).item() == pytest.approx(0.2)
    only = torch.tensor([[True, True, False, False]])
    assert rays.ascending(rise, only).item() == pytest.approx(0.25)


def test_nothing_valid_is_zero_with_zero_gradient():
    passed = torch.rand(3, 4).requires_grad_()
    rgb = torch.rand(3, 4, 3).requires_grad_()
    none = torch.zeros(3, 4, dtype=torch.bool)
    photo = torch.full((3, 4, 3), torch.nan)
    loss = (
        rays.color_concentration(rgb, passed, passed, photo, none)
        + rays.transmittance_concentration(passed, none)
        + rays.transmittance_inside(passed, none)
        + rays.mask_loss(passed, torch.ones(3, 4), none)
        + rays.distortion(passed, 2.0, none)
    )
    loss.backward()
    assert loss.item() == 0
    assert (passed.grad == 0).all() and (rgb.grad == 0).all()


def test_exposures_of_known_photos_are_found_and_their_mean_is_the_identity():
    torch.manual_seed(0)
    gains = torch.tensor([[1.1, 1.0, 0.95], [0.9, 1.0, 1.05]])
    scene = torch.rand(20, 20, 3)
    exposures = exposure.create(2)
    torch.testing.assert_close(exposure.apply(scene, exposures.matrix[0]), scene)
    for i in range(600):
        view = i % 2
        matrix = exposures.matrix[view].clone().requires_grad_()
        (exposure.apply(scene, matrix) - scene * gains[view]).square().mean().backward()
        exposure.step(exposures, view, matrix.grad, lr=0.002)
    torch.testing.assert_close(exposures.matrix.mean(0), torch.eye(3, 4), atol=1e-6, rtol=0)
    for view in range(2):
        shown = exposure.apply(scene, exposures.matrix[view])
        assert (shown - scene * gains[view]).abs().max() < 0.01
    assert exposures.steps.tolist() == [300, 300]


def test_exposure_ignores_a_gradient_that_is_not_finite():
    exposures = exposure.create(3)
    exposure.step(exposures, 1, torch.full((3, 4), torch.nan), lr=0.1)
    torch.testing.assert_close(exposures.matrix[1], torch.eye(3, 4))


def test_exposure_gradient_by_finite_differences():
    rgb = torch.rand(3, 3, 3, dtype=torch.float64, requires_grad=True)
    matrix = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(exposure.apply, (rgb, matrix))
