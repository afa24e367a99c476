"""Parts of sentences."""

from __future__ import annotations

from voxterra.core.wording import distance, listed, nearest


def test_a_near_name_is_suggested_and_a_far_one_is_not() -> None:
    assert nearest("stopp", ["stop", "go"]) == "; did you mean 'stop'?"
    assert nearest("xyz", ["stop", "go"]) == "."
    assert nearest("--crs", ["--run", "--map.crs"]) == "; did you mean '--map.crs'?"
    assert nearest("--georef.crs", ["--map.crs"]) == "; did you mean '--map.crs'?"


def test_many_names_end_in_a_count() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e, and 2 more"
    assert listed(list("abc"), 1) == "a, and 2 more"


def test_distances_have_as_many_digits_as_help() -> None:
    assert distance(0.41) == "0.4 m" and distance(12.3) == "12 m" and distance(4999) == "4999 m"
    assert distance(9_120_400) == "9,120 km"
