"""Guessing which name was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(wrong: str, known: Iterable[str]) -> str:
    """End of a sentence: "; did you mean 'X'?" with the known name nearest to `wrong`, or "."."""
    matches = get_close_matches(wrong, list(known), n=1, cutoff=0.55)
    return f"; did you mean '{matches[0]}'?" if matches else "."
