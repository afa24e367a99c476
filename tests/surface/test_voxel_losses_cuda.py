"""The losses give the same values and gradients on an NVIDIA GPU as on the CPU."""
# ruff: noqa: E402

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from voxterra.kernels.voxels import math as km
from voxterra.surface.voxels.losses import exposure, multiview, normals, photometric, priors, rays
from voxterra.surface.voxels.losses import pixels as px

H, W = 70, 90
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")


def inputs():
    """A rendered image of a wavy, nearly opaque surface, a photo, a prior and a camera."""
    g = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(H) / H, torch.arange(W) / W, indexing="ij")
    image = torch.rand(H, W, km.PIXEL, generator=g)
    depth = 4 + 0.2 * torch.sin(3 * x + 2 * y)
    image[..., km.P_T] *= 0.3
    image[..., km.P_DEPTH] = depth * (1 - image[..., km.P_T])
    image[..., km.P_MEDIAN] = depth
    tilt = torch.tensor([0.1, -0.1, -0.9])
    image[..., km.P_NORMAL : km.P_NORMAL + 3] = tilt + 0.05 * image[..., :3]
    photo = torch.rand(H, W, 3, generator=g)
    camera = torch.zeros(km.CAMERA)
    camera[:9] = torch.eye(3).flatten()
    camera[12:19] = torch.tensor([80.0, 82.0, W / 2, H / 2, W, H, 0.1])
    other = camera.clone()
    other[9:12] = torch.tensor([0.2, 0.05, 0.0])
    pixels = multiview.draw_pixels(H, W, 50, g)
    return image, photo, camera, other, 1.01 * depth, pixels


def losses(device):
    """All losses and the gradient of their sum, on one device."""
    image, photo, camera, other, prior, pixels = (t.to(device) for t in inputs())
    c = px.split(image)
    mean = px.mean_depth(c.depth_sum, c.transmittance)
    grey = multiview.to_grey(photo)
    reference = multiview.MultiviewView(camera, grey)
    neighbor = multiview.MultiviewView(other, grey, prior)
    views = multiview.multiview_loss(reference, neighbor, c.median, c.normal, pixels)
    of_depth, _ = normals.normals_from_depth(prior, camera)
    matrix = exposure.create(2, device).matrix[0]
    sparse = pixels.flip(-1).float() + 0.5
    terms = {
        "photo": photometric.photometric(exposure.apply(c.rgb, matrix), photo),
        "ssim": photometric.ssim(c.rgb, photo),
        "normal": normals.normal_consistency(c.normal, mean, c.transmittance, camera),
        "concentration": rays.color_concentration(c.rgb, c.rgb2, c.transmittance, photo),
        "mask": rays.mask_loss(c.transmittance, photo[..., 0] > 0.5),
        "distortion": rays.distortion(c.distortion, 4.0),
        "depth": priors.prior_depth(mean, prior, photo[..., 0], c.transmittance),
        "direction": priors.prior_normal(c.normal, of_depth, None, c.transmittance, camera),
        "sparse": priors.sparse_depth(c.median, sparse, prior[pixels[:, 0], pixels[:, 1]]),
        "ncc": views.ncc,
        "geo": views.geo,
    }
    torch.stack(list(terms.values())).sum().backward()
    return {k: v.detach().cpu() for k, v in terms.items()}, px.gradient(c).cpu()


def test_every_loss_takes_part():
    terms, grad = losses("cpu")
    assert all(value.abs() > 1e-6 for value in terms.values()), terms
    assert torch.isfinite(grad).all()
    assert (grad[..., : km.P_DISTORTION + 1] != 0).flatten(0, 1).any(0).all()


@pytest.mark.gpu
@needs_gpu
def test_cuda_equals_cpu():
    (expected, grad), (found, grad_cuda) = losses("cpu"), losses("cuda")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(
        grad_cuda, grad, rtol=1e-3, atol=1e-6 * grad.abs().max().item() + 1e-8
    )
    assert ((grad_cuda != 0) == (grad != 0)).float().mean() > 0.999


@pytest.mark.gpu
@needs_gpu
def test_cuda_repeats_bit_by_bit():
    torch.testing.assert_close(losses("cuda")[1], losses("cuda")[1], rtol=0, atol=0)
