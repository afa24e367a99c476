"""Result of structure from motion: components of registered photos, and photos left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from voxterra.core.reconstruction import Reconstruction

UnregisteredKind = Literal[
    "few_features", "no_matches", "few_inliers", "small_group", "weak_ties", "unknown"
]
"""Why a photo is not registered: too little detail; no overlap with another photo; matches that
agree on no relative pose; a group too small for a model; too few points shared with the registered
photos it matches."""


@dataclass(frozen=True)
class UnregisteredPhoto:
    """A photo that is in no component.

    Attributes:
        name: photo id, equal to `Photo.id`.
        kind: of the reason.
        reason: with figures, without a full stop.
        advice: what to shoot instead, a sentence or two.
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
        warnings: about the shapes of the components.
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
