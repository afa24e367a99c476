import numpy as np
import pytest
from numba import njit

from voxterra.kernels.voxels.sh import terms, write_basis


@njit
def basis_of(directions, degree):
    out = np.zeros((len(directions), 16), np.float32)
    for i in range(len(directions)):
        write_basis(degree, directions[i, 0], directions[i, 1], directions[i, 2], out[i])
    return out


def sphere(count):
    """Points of a Fibonacci spiral: equal weights integrate low degrees well."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    phi = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], 1).astype(np.float32)


def test_the_basis_is_orthonormal_on_the_sphere():
    basis = basis_of(sphere(20000), 3).astype(np.float64)
    assert np.abs(basis.T @ basis * (4 * np.pi / len(basis)) - np.eye(16)).max() < 1e-4


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_only_the_terms_of_the_degree_are_written_and_they_have_its_parity(degree):
    directions = sphere(50)
    basis, opposite = basis_of(directions, degree), basis_of(-directions, degree)
    assert basis.dtype == np.float32
    assert np.all(basis[:, terms(degree) :] == 0)
    for d in range(degree + 1):
        band = slice(d * d, terms(d))
        assert np.abs(basis[:, band]).max() > 0.2
        assert np.allclose(opposite[:, band], (-1) ** d * basis[:, band], atol=1e-6)


def test_the_first_degree_follows_the_direction():
    (x,) = basis_of(np.eye(3, dtype=np.float32)[:1], 1)
    assert np.allclose(x[1:4], [0, 0, -0.48860251], atol=1e-6)
