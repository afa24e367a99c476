"""What voxels need, told without torch."""

from __future__ import annotations


def voxel_bytes(degree: int) -> int:
    """Memory that training takes for each voxel, by estimate [bytes].

    Parameters and two moments of colours and (about 1.2) corners, records and their gradients,
    octree tables and entries; what the split of a level needs on top.
    """
    colors = 3 * (degree + 1) ** 2
    return 4 * (3 * colors + 4 * 2 + 20 + 16 + 40) + 4 * colors
