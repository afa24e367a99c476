"""Which photos found a place and which did not: what structure from motion gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from voxterra.core.reconstruction import Reconstruction

UnregisteredKind = Literal[
    "few_features", "no_matches", "few_inliers", "small_group", "weak_ties", "unknown"
]
"""Why a photo has no place: it shows too little detail; nothing that another photo shows; things
that look alike but agree on no view; it belongs to a group too small for a model; it matches
photos that have a place, but shares too few points with them."""


@dataclass(frozen=True)
class UnregisteredPhoto:
    """A photo that is in no component.

    Attributes:
        name: photo id, equal to `Photo.id`.
        kind: of the reason.
        reason: why, in words with figures, without a full stop.
        advice: what to shoot to mend it, a sentence or two.
    """

    name: str
    kind: UnregisteredKind
    reason: str
    advice: str

    def to_dict(self) -> dict[str, str]:
        """A JSON-ready dictionary; `UnregisteredPhoto(**data)` is its inverse."""
        return dict(vars(self))


@dataclass(frozen=True)
class Registration:
    """Components of a photo set, and the photos that are in none of them.

    Attributes:
        components: most photos first, each in a frame of its own.
        unregistered: sorted by name.
        warnings: what a user should know about the shapes of the components.
    """

    components: tuple[Reconstruction, ...]
    unregistered: tuple[UnregisteredPhoto, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary of all but the components."""
        return {
            "unregistered": [photo.to_dict() for photo in self.unregistered],
            "warnings": list(self.warnings),
        }
