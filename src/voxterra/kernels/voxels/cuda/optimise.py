"""Adam on NVIDIA GPUs, in place and sparse: what has no gradient keeps its value and moments."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from voxterra.kernels.cuda.launch import Kernel, import_numba_cuda
from voxterra.kernels.voxels.math import C_CENTER, F0, F1, HALF
from voxterra.kernels.voxels.sh import BASIS0, write_basis
from voxterra.kernels.voxels.train_math import LENGTH_MIN, adam_step

cuda = import_numba_cuda()
THREADS = 256
_FLOAT = np.float32


def _adam(param, grad, m, v, scale, rate, beta1, beta2, root2, eps):
    i = cuda.grid(1)
    if i >= param.shape[0]:
        return
    g = grad[i]
    if g == F0:
        return
    if scale.shape[0] > 0:
        rate *= scale[i]
    param[i], m[i], v[i] = adam_step(param[i], g, m[i], v[i], rate, beta1, beta2, root2, eps)


def _sh_adam(sh0, shs, m0, v0, ms, vs, grad, lo_size, camera, degree, stored, rate0, rates,
             beta1, beta2, root2, eps):  # fmt: skip
    """A warp a voxel: the 3 + 3 (terms - 1) numbers of a voxel lie side by side in memory."""
    voxel = cuda.grid(1) >> 5
    lane = cuda.grid(1) & 31
    if voxel >= lo_size.shape[0]:
        return
    at = 3 * voxel
    if grad[at] == F0 and grad[at + 1] == F0 and grad[at + 2] == F0:
        return
    half = HALF * lo_size[voxel, 3]
    dx = lo_size[voxel, 0] + half - camera[C_CENTER]
    dy = lo_size[voxel, 1] + half - camera[C_CENTER + 1]
    dz = lo_size[voxel, 2] + half - camera[C_CENTER + 2]
    inverse = F1 / max(math.sqrt(dx * dx + dy * dy + dz * dz), LENGTH_MIN)
    basis = cuda.local.array(16, _FLOAT)
    write_basis(degree, dx * inverse, dy * inverse, dz * inverse, basis)
    if lane < 3:
        j = at + lane
        sh0[j], m0[j], v0[j] = adam_step(
            sh0[j], BASIS0 * grad[j], m0[j], v0[j], rate0, beta1, beta2, root2, eps
        )
    count = 3 * (degree + 1) * (degree + 1) - 3
    for number in range(lane, count, 32):
        term = number // 3
        j = stored * voxel + number
        g = basis[term + 1] * grad[at + number - 3 * term]
        shs[j], ms[j], vs[j] = adam_step(shs[j], g, ms[j], vs[j], rates, beta1, beta2, root2, eps)


ADAM = Kernel(_adam, "f32[] f32[] f32[] f32[] f32[] f32 f32 f32 f32 f32")
SH_ADAM = Kernel(
    _sh_adam,
    "f32[] f32[] f32[] f32[] f32[] f32[] f32[] f32[,] f32[] i32 i64 f32 f32 f32 f32 f32 f32",
)


def adam(
    param: Tensor, grad: Tensor, m: Tensor, v: Tensor, scale: Tensor | None, *numbers: float
) -> None:
    """See `ops_train.adam`; numbers: rate, beta1, beta2, root2, eps, as of `adam_step`."""
    blocks = -(-param.numel() // THREADS)
    ADAM.launch(blocks, THREADS, param, grad, m, v, scale, *numbers)


def sh_adam(
    sh0: Tensor,
    shs: Tensor,
    m0: Tensor,
    v0: Tensor,
    ms: Tensor,
    vs: Tensor,
    grad: Tensor,
    lo_size: Tensor,
    camera: Tensor,
    degree: int,
    *numbers: float,
) -> None:
    """See `ops_train.sh_adam`; numbers: rate of sh0, rate of shs, beta1, beta2, root2, eps."""
    blocks = -(-32 * len(lo_size) // THREADS)
    stored = 3 * shs.shape[1]
    tensors = (sh0, shs, m0, v0, ms, vs, grad, lo_size, camera)
    SH_ADAM.launch(blocks, THREADS, *tensors, degree, stored, *numbers)
