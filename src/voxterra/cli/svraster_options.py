"""Accept SVRaster's spelling of command lines, for the verbs of trained models.

Options have the names of SVRaster and SVRecon where they exist there. What differs is how they are
written: `--n_iter 8000` is `--n-iter 8000` for the other verbs, `--eval true` is `--eval`, and
`--model_path OUT` may stand where those take OUT without a name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

_SWITCHED = {"true": "--", "false": "--no-"}


def plain_words(
    args: Sequence[str], *, switches: Collection[str] = (), positional: str | None = None
) -> list[str]:
    """Rewrite a command line in the spelling of the other verbs.

    Args:
        args: as typed.
        switches: names of the options that are on or off (with underscores).
        positional: the option whose value may be given without its name.
    """
    known = {f"--{name.replace('_', '-')}" for name in switches}
    return list(_plain(list(args), known, positional and f"--{positional.replace('_', '-')}"))


def _plain(words: list[str], switches: set[str], positional: str | None) -> Iterator[str]:
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            yield word
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if name in switches and not equals and words and words[0].lower() in _SWITCHED:
            equals, value = "=", words.pop(0)
        if name in switches and value.lower() in _SWITCHED:
            yield _SWITCHED[value.lower()] + name.removeprefix("--")
        elif name == positional:
            if equals:
                yield value
        else:
            yield f"{name}{equals}{value}"
