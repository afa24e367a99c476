"""Area averages of images."""

import numpy as np
import pytest
import torch

from voxterra.kernels.voxels import resample


def _weights(small, large):
    """(small, large) share of each large pixel in each small one."""
    ratio = large / small
    edges = np.arange(small + 1) * ratio
    out = np.zeros((small, large))
    for i in range(small):
        for k in range(large):
            out[i, k] = max(0.0, min(k + 1, edges[i + 1]) - max(k, edges[i])) / ratio
    return torch.tensor(out)


@pytest.mark.parametrize("large", [(12, 18), (9, 13), (8, 12), (17, 12)])
def test_shrink_is_the_mean_over_the_area_and_its_gradient_the_transpose(large):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(*large, 5, generator=generator)
    rows, columns = _weights(8, large[0]), _weights(12, large[1])
    expected = torch.einsum("ay,bx,yxc->abc", rows, columns, image.double())
    small = resample.shrink(image, 8, 12)
    assert torch.allclose(small.double(), expected, atol=1e-6)

    grad = torch.rand(8, 12, 5, generator=generator)
    expected = torch.einsum("ay,bx,abc->yxc", rows, columns, grad.double())
    back = resample.shrink_backward(grad, *large)
    assert torch.allclose(back.double(), expected, atol=1e-6)


def test_the_gpu_pixel_by_pixel_does_the_same():
    """What a CUDA thread runs, called for every pixel."""
    image = torch.rand(13, 18, 2, generator=torch.Generator().manual_seed(2))
    shape, ratio = (13, 18, 2), (np.float32(13 / 8), np.float32(18 / 12))
    small, large = list(np.ndindex(8, 12, 2)), list(np.ndindex(13, 18, 2))
    flat = image.reshape(-1).numpy()
    found = torch.tensor([resample.average(flat, *at, *shape, *ratio) for at in small])
    torch.testing.assert_close(found.reshape(8, 12, 2), resample.shrink(image, 8, 12))
    grad = found.reshape(8, 12, 2)
    flat, shape = found.numpy(), (8, 12, 2)
    back = torch.tensor([resample.spread(flat, *at, *shape, *ratio) for at in large])
    torch.testing.assert_close(back.reshape(13, 18, 2), resample.shrink_backward(grad, 13, 18))


def test_constant_images_stay_constant():
    small = resample.shrink(torch.full((15, 21, 3), 0.7), 10, 14)
    assert torch.allclose(small, torch.tensor(0.7), atol=1e-6)


def test_larger_is_refused():
    with pytest.raises(ValueError, match="reduction"):
        resample.shrink(torch.zeros(4, 4, 1), 8, 8)


def test_cuda_source_compiles_without_double_precision():
    for kernel in resample._cuda_kernels():
        assert ".f64" not in kernel.ptx((9, 0))
