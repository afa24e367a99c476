"""Slow twin of the spherical harmonics: the real basis up to degree 3, with the Condon-Shortley
phase, in the order (degree, order) = (0,0), (1,-1), (1,0), (1,1), (2,-2), ... (Sloan, "Stupid
Spherical Harmonics Tricks", 2008, appendix A2)."""

from __future__ import annotations

import torch
from torch import Tensor


def sh_basis(direction: Tensor, degree: int) -> Tensor:
    """Basis values [..., (degree + 1)^2] of unit directions [..., 3]."""
    x, y, z = direction.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    terms = [torch.full_like(x, 0.28209479177387814)]
    if degree > 0:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree > 1:
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree > 2:
        terms += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(terms, -1)


def sh_color(sh0: Tensor, shs: Tensor, direction: Tensor, degree: int) -> Tensor:
    """Colour [N, 3] = max(0, 0.5 + basis . coefficients) toward directions [N, 3].

    Args:
        sh0: [N, 3] coefficients of degree 0.
        shs: [N, K - 1, 3] the higher ones; those beyond `degree` are left out.
        direction: [N, 3] unit vectors from the camera to the voxels.
        degree: highest degree used, 0 to 3.
    """
    basis = sh_basis(direction, degree)
    coefficients = torch.cat([sh0[:, None], shs[:, : basis.shape[1] - 1]], 1)
    return torch.clamp(0.5 + (basis[..., None] * coefficients).sum(1), min=0.0)
