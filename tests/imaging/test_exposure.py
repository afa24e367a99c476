"""Levelling: photos come to agree, at the brightness that they have in common."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from voxterra.core.exposure import Exposure
from voxterra.errors import FormatError
from voxterra.imaging.exposure import LevelledPhotos, find_exposure, levelled
from voxterra.io.depth_store import DepthStore, write_views
from voxterra.io.exposure import write_exposure
from voxterra.kernels.raster.exposure import apply_gains, with_gain
from voxterra.testing import MemoryDepthMaps, checker, look_at, photograph, plane_mesh

Maps = MemoryDepthMaps
FAIR: Mapping[int, float] = MappingProxyType({})


def flown(gains: Mapping[int, float] = FAIR, ramp: float = 0.0) -> tuple[Maps, Maps]:
    """Nine photos of a plane, and the same as exposed: darker or brighter, or a ramp over images.

    The ramp turns from photo to photo.
    The first are in the light that all photos have in common.
    """
    at = [(1.2 * x, 1.2 * y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    views = [
        look_at(f"{i}", (*p, 6), (*p, 0), width=160, height=120, focal_px=150)
        for i, p in enumerate(at)
    ]
    true = photograph(plane_mesh(14.0, 28), views, lambda p: 0.15 + 0.6 * checker(p, 2.5))
    x = np.linspace(-1, 1, 160)[None, :, None]
    colors = [
        np.rint(c * gains.get(i, 1.0) * np.exp(ramp * x * (-1) ** i)).clip(0, 255).astype(np.uint8)
        for i, c in enumerate(true.colors)
    ]
    return true, replace(true, colors=colors)


def off(maps: Maps, exposure: Exposure, true: Maps) -> np.ndarray:
    """(V,) mean difference of each photo from that in common light [of 255]."""
    shown = LevelledPhotos(maps, exposure)
    each = [shown.load_color(i).astype(float) - true.colors[i] for i in range(len(maps.views))]
    return np.array([np.abs(e).mean() for e in each])


def test_photos_come_to_what_most_show() -> None:
    true, maps = flown({1: 0.75, 6: 1.3})
    before, after = off(maps, Exposure.none(9), true), off(maps, find_exposure(maps), true)
    assert before[1] > 20 and before[6] > 20
    assert after.max() < 2.0  # the others stay, too


def test_ramps_over_images_are_taken_out() -> None:
    true, maps = flown(ramp=0.15)
    before, after = off(maps, Exposure.none(9), true), off(maps, find_exposure(maps), true)
    assert after.mean() < 0.5 * before.mean()


def test_one_flight_in_even_light_stays_as_it_is() -> None:
    _, maps = flown()
    assert not find_exposure(maps).log_gain.any()
    assert levelled(maps).load_color(0) is maps.colors[0]


def test_what_passes_before_one_photo_does_not_change_its_brightness() -> None:
    _, maps = flown({1: 0.75})
    maps.colors[4][:, :60] = (240, 30, 30)
    after = find_exposure(maps).log_gain
    assert np.abs(after[4, :, 0]).max() < 0.03


def test_highlights_keep_their_detail() -> None:
    values = np.arange(256.0)
    for gain in (0.67, 0.9, 1.2, 1.5):
        bent = np.array([with_gain(v, gain) for v in values])
        assert (np.diff(bent) > 0).all() and bent[255] == 255
        np.testing.assert_allclose(bent[:140], gain * values[:140])
        np.testing.assert_allclose([with_gain(v, 1 / gain) for v in bent], values, atol=1e-9)
    image = np.full((4, 6, 3), 100, np.uint8)
    image[1, 2] = 255
    gains = np.log([[1.2, 1.1, 1.0], [1.0, 1.0, 1.0], [0.8, 1.0, 1.25]])
    out = apply_gains(image, gains)
    assert (out[1, 2] == 255).all() and (out[..., 1][image[..., 1] == 100] == 100).all()
    x, y = 2 * 5.5 / 6 - 1, 2 * 0.5 / 4 - 1
    np.testing.assert_allclose(out[0, 5], 100 * np.exp(gains @ [1, x, y]), atol=0.51)


def test_what_was_found_is_kept_beside_the_photos(tmp_path: Path) -> None:
    _, maps = flown()
    write_views(maps.views, tmp_path)
    assert DepthStore(tmp_path).exposure is None
    kept = Exposure(np.random.default_rng(0).normal(0, 0.1, (9, 3, 3)).round(6))
    write_exposure(kept, tmp_path)
    np.testing.assert_array_equal(DepthStore(tmp_path).exposure.log_gain, kept.log_gain)
    write_exposure(Exposure.none(3), tmp_path)
    with pytest.raises(FormatError, match="exposure"):
        levelled(DepthStore(tmp_path))
