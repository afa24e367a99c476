"""Parts of sentences for a user: names that were meant, many names, distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def nearest(wrong: str, known: Iterable[str]) -> str:
    """End of a sentence: "; did you mean 'X'?" with the known name nearest to `wrong`, or ".".

    Of an option of a group ("map.crs"), the last part alone ("crs") is nearest, and so is one of
    the same name in another group ("georef.crs").
    """
    names, last = list(known), wrong.lstrip("-").split(".")[-1]
    matches = [name for name in names if name.endswith(f".{last}")]
    matches = matches or get_close_matches(wrong, names, n=1, cutoff=0.55)
    return f"; did you mean '{matches[0]}'?" if matches else "."


def listed(names: Sequence[str], most: int = 5) -> str:
    """ "a, b, and 7 more": the names, of many the first ones."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f", and {rest} more" if rest > 0 else "")


def distance(meters: float) -> str:
    """Such as "0.4 m", "12 m" or "9,120 km"."""
    if meters >= 5000:
        return f"{meters / 1000:,.0f} km"
    return f"{meters:.0f} m" if meters >= 10 else f"{meters:.1f} m"
