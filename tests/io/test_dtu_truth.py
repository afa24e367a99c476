"""DTU's ground truth, read from files in the data set's own formats."""

import numpy as np
import pytest
from benchmark_files import write_dtu
from scipy.io import savemat

from voxterra.errors import FormatError, InputError
from voxterra.io.truth.dtu import read_dtu_truth

POINTS = np.array([[1.0, 2.0, 3.0], [4.5, 5.5, 6.5]])


@pytest.fixture
def root(tmp_path):
    observed = np.zeros((3, 4, 5), bool)
    observed[0, 1, 2] = observed[2, 3, 4] = True
    write_dtu(tmp_path, 7, POINTS, observed, (10, 20, 30), 2.0, (0, 0, 1, -4))
    return tmp_path


def test_what_is_written_is_read(root):
    truth = read_dtu_truth(root, 7)
    np.testing.assert_allclose(truth.points, POINTS)
    assert truth.observed.shape == (3, 4, 5) and truth.observed.sum() == 2
    np.testing.assert_allclose([truth.low, truth.high], [[10, 20, 30], [14, 26, 38]])
    assert truth.resolution == 2.0
    assert truth.is_above_plane(POINTS).tolist() == [False, True]


def test_cells_are_centred_on_the_grid(root):
    truth = read_dtu_truth(root, 7)
    around = np.array([[0, 0, 0], [0.99, -0.99, 0.99], [1.01, 0, 0], [-0.99, 0, 0], [-1.01, 0, 0]])
    assert truth.is_observed(around + np.array([10, 22, 34])).tolist() == [
        True,
        True,
        False,
        True,
        False,
    ]
    last = np.array([[14, 26, 38], [14, 26, 38.9], [14, 26, 39.1]])
    assert truth.is_observed(last).tolist() == [True, True, False]
    assert truth.is_near_box(np.array([[14, 26, 43.0]]), 6.0).all()
    assert not truth.is_near_box(np.array([[14, 26, 43.0]]), 4.0).any()


def test_files_may_lie_in_one_folder(root, tmp_path_factory):
    flat = tmp_path_factory.mktemp("flat")
    for path in [*root.rglob("*.ply"), *root.rglob("*.mat")]:
        (flat / path.name).write_bytes(path.read_bytes())
    np.testing.assert_allclose(read_dtu_truth(flat, 7).points, POINTS)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("Points/stl/stl007_total.ply", "the points of the scanner"),
        ("ObsMask/ObsMask7_10.mat", "the observed volume"),
        ("ObsMask/Plane7.mat", "the ground plane"),
    ],
)
def test_missing_and_damaged_files_are_said(root, file, said):
    (root / file).write_bytes(b"no such thing")
    with pytest.raises(FormatError) as damaged:
        read_dtu_truth(root, 7)
    assert damaged.value.where == str(root / file) and damaged.value.next_step
    (root / file).unlink()
    with pytest.raises(InputError, match=said) as missing:
        read_dtu_truth(root, 7)
    assert file in missing.value.what and missing.value.where == str(root)


def test_wrong_variables_are_said(root):
    plane = root / "ObsMask/Plane7.mat"
    savemat(plane, {"Q": np.zeros(4)})
    with pytest.raises(FormatError, match="P cannot be read"):
        read_dtu_truth(root, 7)
    savemat(plane, {"P": np.zeros(3)})
    with pytest.raises(FormatError, match="has 3"):
        read_dtu_truth(root, 7)
    mask = root / "ObsMask/ObsMask7_10.mat"
    savemat(mask, {"ObsMask": np.ones((2, 2)), "BB": np.zeros((2, 3)), "Res": 1.0})
    with pytest.raises(FormatError, match="no grid"):
        read_dtu_truth(root, 7)
    mask.write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"0" * 99
    )
    with pytest.raises(FormatError, match=r"version 7\.3"):
        read_dtu_truth(root, 7)
