"""Adam on the CPU, in place and sparse: what has no gradient keeps its value and its moments."""

import math

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels.math import C_CENTER, F0, F1, HALF
from voxterra.kernels.voxels.sh import BASIS0, write_basis
from voxterra.kernels.voxels.train_math import LENGTH_MIN, adam_step

_CHUNK = 4096
_kernel = njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)


@_kernel
def _adam(param, grad, m, v, scale, rate, beta1, beta2, root2, eps):
    count = param.shape[0]
    scaled = scale.shape[0] > 0
    for chunk in prange(-(-count // _CHUNK)):
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            g = grad[i]
            if g != F0:
                own = rate * scale[i] if scaled else rate
                param[i], m[i], v[i] = adam_step(
                    param[i], g, m[i], v[i], own, beta1, beta2, root2, eps
                )


@_kernel
def _sh_adam(sh0, shs, m0, v0, ms, vs, grad, lo_size, camera, degree, rate0, rates, beta1, beta2,
             root2, eps):  # fmt: skip
    count = grad.shape[0]
    terms = (degree + 1) * (degree + 1)
    for chunk in prange(-(-count // _CHUNK)):
        basis, slope = np.empty(16, np.float32), np.empty(45, np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            if grad[i, 0] == F0 and grad[i, 1] == F0 and grad[i, 2] == F0:
                continue
            half = HALF * lo_size[i, 3]
            dx = lo_size[i, 0] + half - camera[C_CENTER]
            dy = lo_size[i, 1] + half - camera[C_CENTER + 1]
            dz = lo_size[i, 2] + half - camera[C_CENTER + 2]
            inverse = F1 / max(math.sqrt(dx * dx + dy * dy + dz * dz), LENGTH_MIN)
            write_basis(degree, dx * inverse, dy * inverse, dz * inverse, basis)
            for c in range(3):
                sh0[i, c], m0[i, c], v0[i, c] = adam_step(
                    sh0[i, c], BASIS0 * grad[i, c], m0[i, c], v0[i, c],
                    rate0, beta1, beta2, root2, eps,
                )  # fmt: skip
            for k in range(1, terms):
                for c in range(3):
                    slope[3 * k - 3 + c] = basis[k] * grad[i, c]
            p, m, v = shs[i], ms[i], vs[i]
            for j in range(3 * terms - 3):  # several at once
                p[j], m[j], v[j] = adam_step(
                    p[j], slope[j], m[j], v[j], rates, beta1, beta2, root2, eps
                )


def adam(param, grad, m, v, scale, *numbers):
    """See `ops_train.adam`; flat NumPy arrays, `scale` empty for none, numbers as of `adam_step`
    (rate, beta1, beta2, root2, eps)."""
    _adam(param, grad, m, v, scale, *(np.float32(x) for x in numbers))


def sh_adam(sh0, shs, moments0, moments, grad, lo_size, camera, degree, *numbers):
    """See `ops_train.sh_adam`; NumPy arrays, numbers (rate of sh0, rate of shs, beta1, ...)."""
    rows = [a.reshape(len(a), 3 * a.shape[1]) for a in (shs, *moments)]
    state = (sh0, rows[0], *moments0, *rows[1:], grad, lo_size, camera, degree)
    _sh_adam(*state, *(np.float32(x) for x in numbers))
