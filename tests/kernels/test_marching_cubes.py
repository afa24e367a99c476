from __future__ import annotations

import numpy as np

from voxterra.kernels.fusion.blocks import pack_array, unpack_array
from voxterra.kernels.fusion.marching_cubes import EDGES, case_table


def segments_on_face(case: int, axis: int, side: int) -> set[tuple[int, int]]:
    """Directed boundary segments of a case's surface on one face of the cell."""
    table, count = case_table()
    directed = [
        (int(t[i]), int(t[(i + 1) % 3])) for t in table[case, : count[case]] for i in range(3)
    ]
    rim = [(a, b) for a, b in directed if (b, a) not in directed]

    def on_face(edge: int) -> bool:
        corner, along = EDGES[edge]
        return along != axis and (corner >> axis & 1) == side

    return {(a, b) for a, b in rim if on_face(a) and on_face(b)}


def test_every_case_crosses_exactly_the_edges_whose_ends_differ():
    table, count = case_table()
    for case in range(256):
        used = set(table[case, : count[case]].ravel().tolist())
        crossed = {
            e
            for e, (c, axis) in enumerate(EDGES)
            if (case >> c & 1) != (case >> (c | 1 << axis) & 1)
        }
        assert used == crossed


def test_neighbouring_cells_agree_on_their_common_face():
    for axis in range(3):
        for low in range(256):
            # Any cell above whose lower face has the signs of this cell's upper face.
            high = sum(1 << c for c in range(8) if not c >> axis & 1 and low >> (c | 1 << axis) & 1)
            moved = {
                (EDGES.index((EDGES[a][0] & ~(1 << axis), EDGES[a][1])),
                 EDGES.index((EDGES[b][0] & ~(1 << axis), EDGES[b][1])))
                for a, b in segments_on_face(low, axis, 1)
            }  # fmt: skip
            assert moved == {(b, a) for a, b in segments_on_face(high, axis, 0)}


def test_a_single_negative_corner_faces_outwards():
    table, _ = case_table()
    middle = np.array(
        [[(c >> a & 1) + (0.5 if a == axis else 0) for a in range(3)] for c, axis in EDGES]
    )
    for corner in range(8):
        a, b, c = middle[table[1 << corner, 0]]
        at = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        assert np.dot(np.cross(b - a, c - a), a - at) > 0


def test_block_keys_round_trip_and_sort():
    coords = np.random.default_rng(0).integers(-(1 << 20), 1 << 20, (1000, 3)).astype(np.int32)
    assert np.array_equal(unpack_array(pack_array(coords)), coords)
    order = np.argsort(pack_array(coords))
    assert (np.diff(coords[order, 2]) >= 0).all()
