"""Codes of cells and corners: the same from NumPy, torch and Numba."""

import numpy as np
import pytest

from voxterra.core import morton


def test_spread_and_compact_are_inverse():
    values = np.arange(morton.LATTICE)
    spread = morton.spread(values)
    for v in (0, 1, 0x8001, 0xFFFF):
        assert spread[v] == sum((v >> i & 1) << 3 * i for i in range(16))
    assert (morton.compact(spread | (spread << 1) | (spread << 2)) == values).all()


def test_torch_and_numba_get_the_same_codes():
    torch = pytest.importorskip("torch")
    from voxterra.kernels.voxels.lookup import cell_path, compact

    ends = [[0, 0, 0], [morton.LATTICE - 1] * 3]
    xyz = np.random.default_rng(0).integers(0, morton.LATTICE, (1000, 3))
    xyz = np.concatenate([xyz, ends]).astype(np.int64)
    path, key = morton.path_of(*xyz.T), morton.key_of(*xyz.T)
    x, y, z = torch.from_numpy(xyz).unbind(1)
    assert (morton.path_of(x, y, z).numpy() == path).all()
    assert (morton.key_of(x, y, z).numpy() == key).all()
    assert (torch.stack(morton.lattice_of(torch.from_numpy(path)), 1).numpy() == xyz).all()
    assert (torch.stack(morton.coordinates_of(torch.from_numpy(key)), 1).numpy() == xyz).all()
    assert [cell_path(*row) for row in xyz] == path.tolist()
    assert [compact(np.int64(code)) for code in path] == xyz[:, 2].tolist()
