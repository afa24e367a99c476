"""Real spherical harmonics of degrees 0 to 3, compiled for the CPU and for CUDA alike.

The basis functions are orthonormal on the sphere, in the order m = -l .. l within each degree l
and with the signs customary in view synthesis (Plenoxels, arXiv 2112.05131). A colour is
max(0, 0.5 + sum of coefficient times basis); `sh0` holds the coefficients of degree 0, `shs` those
of the higher degrees, one after the other.

Every function takes and returns float32 scalars, like those in `voxels.math`.
"""

import numpy as np

from voxterra.kernels.voxels.math import scalar

BASIS0 = np.float32(0.28209479177387814)
"""The basis function of degree 0, a constant."""
_C1 = np.float32(0.4886025119029199)
_C2_XY = np.float32(1.0925484305920792)
_C2_ZZ = np.float32(0.31539156525252005)
_C2_XX = np.float32(0.5462742152960396)
_C3_XXX = np.float32(0.5900435899266435)
_C3_XYZ = np.float32(2.890611442640554)
_C3_YZZ = np.float32(0.4570457994644658)
_C3_ZZZ = np.float32(0.3731763325901154)
_C3_ZXX = np.float32(1.445305721320277)
_1, _2, _3, _4 = np.float32(1.0), np.float32(2.0), np.float32(3.0), np.float32(4.0)


def terms(degree: int) -> int:
    """Number of basis functions up to a degree: 1, 4, 9, 16."""
    return (degree + 1) ** 2


@scalar
def basis1(x, y, z):
    """The 3 basis functions of degree 1 in the unit direction (x, y, z)."""
    return -_C1 * y, _C1 * z, -_C1 * x


@scalar
def basis2(x, y, z):
    """The 5 basis functions of degree 2 in the unit direction (x, y, z)."""
    return (
        _C2_XY * x * y,
        -_C2_XY * y * z,
        _C2_ZZ * (_3 * z * z - _1),
        -_C2_XY * x * z,
        _C2_XX * (x * x - y * y),
    )


@scalar
def basis3(x, y, z):
    """The 7 basis functions of degree 3 in the unit direction (x, y, z)."""
    xx, yy, zz = x * x, y * y, z * z
    return (
        -_C3_XXX * y * (_3 * xx - yy),
        _C3_XYZ * x * y * z,
        -_C3_YZZ * y * (_4 * zz - xx - yy),
        _C3_ZZZ * z * (_2 * zz - _3 * xx - _3 * yy),
        -_C3_YZZ * x * (_4 * zz - xx - yy),
        _C3_ZXX * z * (xx - yy),
        -_C3_XXX * x * (xx - _3 * yy),
    )


@scalar
def write_basis(degree, x, y, z, out):
    """Write the basis functions up to a degree into out[:(degree + 1)**2] (a local array)."""
    out[0] = BASIS0
    if degree >= 1:
        out[1], out[2], out[3] = basis1(x, y, z)
    if degree >= 2:
        out[4], out[5], out[6], out[7], out[8] = basis2(x, y, z)
    if degree >= 3:
        (out[9], out[10], out[11], out[12], out[13], out[14], out[15]) = basis3(x, y, z)
