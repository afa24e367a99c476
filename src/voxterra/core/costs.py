"""What work takes: seconds, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a stage, or a part of one, takes.

    Attributes:
        seconds: wall time [s].
        memory_bytes: at its peak.
        disk_bytes: that its result keeps.
    """

    seconds: float
    memory_bytes: float
    disk_bytes: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Both, with their memory in use at the same time."""
        return Cost(
            self.seconds + other.seconds,
            self.memory_bytes + other.memory_bytes,
            self.disk_bytes + other.disk_bytes,
        )
