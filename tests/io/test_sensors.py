from __future__ import annotations

import pytest

from voxterra.io.sensors import _WIDTH_MM, sensor_width_mm


@pytest.mark.parametrize(
    ("make", "model", "width"),
    [
        ("DJI", "FC6310", 13.2),
        ("dji ", "fc300s", 6.17),
        ("Canon", "Canon EOS DIGITAL REBEL XSi", 22.2),
        ("NIKON CORPORATION", "NIKON D800", 35.9),
        ("SONY", "ILCE-7RM2", 35.9),
        ("Hasselblad", "L1D-20c", 13.2),
        ("DJI", "SYNTH-FC6310", None),
        (None, None, None),
        ("Canon", None, None),
    ],
)
def test_names_as_cameras_write_them(make: str | None, model: str | None, width: float) -> None:
    assert sensor_width_mm(make, model) == width


def test_table_is_credible() -> None:
    assert len(_WIDTH_MM) >= 30
    for name, width in _WIDTH_MM.items():
        assert name == name.lower() and 3.0 < width < 60.0
