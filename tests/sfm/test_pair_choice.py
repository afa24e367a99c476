"""Which pairs are matched again, from databases made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_database import database_of

from voxterra.sfm.features.database import feature_counts
from voxterra.sfm.retry.cost import Effort
from voxterra.sfm.retry.pair_choice import Choice, Pair, choose_pairs_to_retry

# Photos 0 to 2 are placed; 3 and 4 have no place, 3 with more matches.
PAIRS: dict[Pair, tuple[int, int]] = {
    (0, 1): (200, 150), (0, 2): (200, 150), (1, 2): (200, 150),
    (0, 3): (90, 60), (1, 3): (80, 50), (0, 4): (60, 30), (1, 4): (60, 20), (2, 4): (40, 0),
}  # fmt: skip


def choose(
    tmp_path: Path,
    way="guided",
    limit: float = np.inf,
    pairs=PAIRS,
    models=({0, 1, 2},),
    features=(4000,) * 5,
    positions=None,
) -> Choice:
    path = tmp_path / "made.db"
    path.unlink(missing_ok=True)
    database_of(path, list(features), pairs)
    count = len(features)
    effort = Effort(np.ones(count), feature_counts(path, count), len(pairs), 100)
    left = frozenset(range(count)) - set(models[0] if models else ())
    where = np.full((count, 3), np.nan) if positions is None else positions
    return choose_pairs_to_retry(way, path, left, models, where, effort, limit)


def chosen(choice: Choice) -> list[Pair]:
    return [(int(a), int(b)) for a, b in choice.pairs]


def test_pairs_of_unregistered_photos_and_of_their_partners(tmp_path):
    choice = choose(tmp_path)
    assert chosen(choice) == [(0, 1), (0, 3), (0, 4), (1, 3), (1, 4)]
    assert choice.effort > 0 and not choice.cut
    # What looks alike without agreeing on a view is for the hardened way.
    hardened = chosen(choose(tmp_path, "hardened"))
    assert (2, 4) in hardened and (0, 2) in hardened


@pytest.mark.parametrize("way", ["guided", "hardened"])
def test_within_a_limit_the_most_promising_come_first(tmp_path, way):
    whole = choose(tmp_path, way)
    part = choose(tmp_path, way, 0.7 * whole.effort)
    assert part.effort <= 0.7 * whole.effort
    assert set(chosen(part)) < set(chosen(whole))
    assert {(0, 3), (1, 3)} <= set(chosen(part)) and part.cut == {4}
    # Fewer partners rather than none, those that match best.
    less = choose(tmp_path, way, 0.25 * whole.effort)
    assert (1, 3) not in chosen(less) and 3 in less.cut
    assert (0, 3) in chosen(less) or way == "hardened"
    none = choose(tmp_path, way, 0.0)
    assert not chosen(none) and none.cut == {3, 4} and none.effort == 0


@pytest.mark.parametrize("way", ["guided", "hardened"])
def test_what_cannot_work_is_not_tried(tmp_path, way):
    # 5 has no features, 6 looks like nothing else.
    choice = choose(tmp_path, way, features=(4000,) * 5 + (0, 4000))
    assert not {5, 6} & {i for pair in chosen(choice) for i in pair}
    # A second model that nothing ties to the first.
    apart = {(0, 1): (200, 150), (0, 2): (90, 60), (1, 2): (90, 60), (3, 4): (200, 150)}
    assert not chosen(choose(tmp_path, way, pairs=apart, models=({0, 1, 2}, {3, 4})))


def test_a_second_model_is_connected_to_others_first(tmp_path):
    """Its photos match each other best, which brings them nowhere."""
    features = (4000,) * 12
    pairs = {(a, b): (300, 200) for a in range(3) for b in range(a + 1, 3)}
    pairs |= {(a, b): (300, 200) for a in range(3, 12) for b in range(a + 1, 12)}
    pairs |= {(0, 3): (60, 30), (2, 3): (60, 20)}
    models = (set(range(3)), set(range(3, 12)))
    choice = choose(tmp_path, pairs=pairs, models=models, features=features)
    assert {(0, 3), (2, 3)} <= set(chosen(choice))
    assert not any(a >= 4 for a, _ in chosen(choice))  # what shows only its own model


def test_pairs_that_are_far_apart_by_gps_are_not_tried(tmp_path):
    positions = np.zeros((5, 3))
    positions[:, 0] = [0, 10, 20, 15, 50]
    pairs = {**PAIRS, (0, 4): (60, 0), (1, 4): (60, 0)}
    found = chosen(choose(tmp_path, "hardened", pairs=pairs, positions=positions))
    assert (2, 4) in found and (0, 4) not in found  # 30 and 50 m, where 20 m match
