"""Colour differences, SSIM, PSNR."""
# ruff: noqa: E402

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d

torch = pytest.importorskip("torch")

from voxterra.errors import InputError
from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses import photometric as losses
from voxterra.surface.voxels.losses import pixels as px
from voxterra.surface.voxels.losses.photometric import photometric, psnr, ssim, ssim_map


@pytest.fixture(autouse=True, params=["loops", "torch"])
def either_way(request, monkeypatch):
    """By compiled loops, as on a CPU, and by torch, as on a GPU."""
    if request.param == "torch":
        monkeypatch.setattr(losses, "_by_loops", lambda _: False)


def slow_ssim(a, b):
    """Wang 2004 with scipy in float64, mean over the windows inside of the image."""
    x = np.arange(11) - 5.0
    g = np.exp(-(x**2) / (2 * 1.5**2))
    g /= g.sum()

    def blur(image):
        rows = correlate1d(image, g, axis=0)
        return correlate1d(rows, g, axis=1)[5:-5, 5:-5]

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def images(height=40, width=33, dtype=torch.float32):
    rng = np.random.default_rng(3)
    a = rng.random((height, width, 3))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    return torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)


def test_ssim_equals_the_written_out_one():
    a, b = images()
    assert ssim(a, b).item() == pytest.approx(slow_ssim(a.numpy(), b.numpy()), abs=2e-6)
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-6)


def test_ssim_gradient_by_finite_differences():
    a, b = images(15, 14, torch.float64)
    weight = torch.rand(3, 5, 4, dtype=torch.float64)
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: (ssim_map(x, b) * weight).sum(), (a,), fast_mode=True)


@pytest.mark.parametrize("kind", ["mse", "l1", "huber"])
def test_colour_difference_has_the_known_value_and_gradient(kind):
    rendered = torch.full((4, 5, 3), 0.5, requires_grad=True)
    photo = torch.full((4, 5, 3), 0.3)
    loss = photometric(rendered, photo, kind, huber_delta=0.1)
    # Huber: delta (|d| - delta / 2) / delta.
    expected = {"mse": 0.04, "l1": 0.2, "huber": 0.15}[kind]
    slope = {"mse": 0.4, "l1": 1.0, "huber": 1.0}[kind]
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(rendered.grad, torch.full((4, 5, 3), slope / 60))


def test_mask_counts_only_its_pixels_even_beside_nan():
    rendered = torch.full((12, 12, 3), 0.5)
    photo = rendered.clone()
    photo[0, 0] = 0.0
    photo[1, 1] = torch.nan
    mask = torch.ones(12, 12, dtype=torch.bool)
    mask[1, 1] = False
    rendered.requires_grad_()
    loss = photometric(rendered, photo, "mse", mask)
    loss.backward()
    assert loss.item() == pytest.approx(0.25 / 143, rel=1e-5)
    assert torch.isfinite(rendered.grad).all()
    assert (rendered.grad != 0).any(-1).sum() == 1


@pytest.mark.parametrize("kind", ["mse", "l1", "huber"])
def test_nothing_valid_is_zero_with_zero_gradient(kind):
    a, b = images()
    a.requires_grad_()
    mask = torch.zeros(a.shape[:2], dtype=torch.bool)
    loss = photometric(a, b, kind, mask) + 1 - ssim(a, b, mask)
    loss.backward()
    assert loss.item() == 0.0
    assert (a.grad == 0).all()


def test_black_photo_is_finite():
    black = torch.zeros(20, 20, 3)
    rendered = torch.zeros(20, 20, 3, requires_grad=True)
    (photometric(rendered, black) + 1 - ssim(rendered, black)).backward()
    assert torch.isfinite(rendered.grad).all()
    assert ssim(rendered, black).item() == pytest.approx(1.0)
    assert psnr(rendered, black).item() == pytest.approx(100.0)


def test_masked_ssim_sees_only_windows_of_the_mask():
    a, b = images()
    mask = torch.zeros(a.shape[:2], dtype=torch.bool)
    mask[:20] = True
    b[26:] = 0.0  # beyond the reach of the windows of row 19
    whole = ssim(a[:25], b[:25])
    assert ssim(a, b, mask).item() == pytest.approx(whole.item(), abs=1e-6)


def test_psnr_of_a_tenth_is_20_db():
    a = torch.zeros(6, 6, 3)
    assert psnr(a, a + 0.1).item() == pytest.approx(20.0, abs=1e-4)


def test_image_smaller_than_the_window_is_refused():
    with pytest.raises(InputError, match="10x20"):
        ssim(torch.zeros(20, 10, 3), torch.zeros(20, 10, 3))


def test_channels_are_split_and_their_gradients_put_together():
    image = torch.rand(3, 4, km.PIXEL)
    channels = px.split(image)
    scale = {"rgb": 1, "transmittance": 2, "depth_sum": 3, "median": 4, "normal": 5, "rgb2": 6}
    sum(k * getattr(channels, name).sum() for name, k in scale.items()).backward()
    expected = torch.tensor([1.0, 1, 1, 2, 3, 4, 5, 5, 5, 6, 0, 0])
    torch.testing.assert_close(px.gradient(channels), expected.expand(3, 4, km.PIXEL))


def test_mean_depth_where_nothing_is_hit_is_zero_with_zero_gradient():
    depth_sum = torch.tensor([[3.0, 0.0]], requires_grad=True)
    transmittance = torch.tensor([[0.25, 1.0]], requires_grad=True)
    depth = px.mean_depth(depth_sum, transmittance)
    depth.sum().backward()
    assert depth.tolist() == [[4.0, 0.0]]
    assert torch.isfinite(transmittance.grad).all()
    assert depth_sum.grad[0, 1] == 0 and transmittance.grad[0, 1] == 0
