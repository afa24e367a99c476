import numpy as np
import pytest

from voxterra.core.geo import GeoFrame
from voxterra.core.transforms import Similarity, rotation_from_vector
from voxterra.errors import GeoError, InputError
from voxterra.evaluate.frame import evaluate_frame


def poses(reconstruction):
    return np.array([i.cam_from_world for i in reconstruction.images])


def test_a_known_wrong_frame_is_measured(survey):
    s = survey(n=9)
    tilt, heading = np.radians(2.0), np.radians(5.0)
    # A model turned clockwise seen from above turns about -z.
    turn = rotation_from_vector(np.array([tilt, 0, 0])) @ rotation_from_vector(
        np.array([0, 0, -heading])
    )
    center = s.truth.centers_in_world().mean(0)
    shift = np.array([1.0, -2.0, 3.0])
    wrong = s.truth.transformed(Similarity(1.01, turn, center + shift - 1.01 * turn @ center))
    error = evaluate_frame(poses(wrong), s.frame, poses(s.truth), s.frame)
    assert error.tilt_deg == pytest.approx(2.0) and error.heading_deg == pytest.approx(5.0)
    assert error.scale_ratio == pytest.approx(1.01)
    assert np.allclose(error.offset_m, shift, atol=1e-5)
    assert error.shape_rmse_m < 1e-6


def test_another_origin_is_no_error(survey):
    s = survey(n=9)
    other = GeoFrame("geo", s.frame.lon + 0.01, s.frame.lat - 0.01, 20.0)
    moved_axes = other.ecef_from_world_matrix()
    world = np.linalg.inv(moved_axes) @ s.frame.ecef_from_world_matrix()
    same = s.truth.transformed(Similarity(1.0, world[:3, :3], world[:3, 3]))
    error = evaluate_frame(poses(same), other, poses(s.truth), s.frame)
    assert error.tilt_deg < 1e-6 and abs(error.heading_deg) < 1e-6
    assert np.abs(error.offset_m).max() < 1e-5 and error.scale_ratio == pytest.approx(1)


def test_what_cannot_be_compared(survey):
    s = survey(n=4)
    p = poses(s.truth)
    with pytest.raises(GeoError):
        evaluate_frame(p, GeoFrame.local(), p, s.frame)
    with pytest.raises(InputError):
        evaluate_frame(p[:1], s.frame, p[:1], s.frame)
