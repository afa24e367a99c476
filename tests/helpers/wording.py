"""Messages as users read them, all in one file, so that a new wording changes no test.

The file holds sections `## name` with the text below. `pytest --update-wording -n0` rewrites the
sections that its tests see; read the diff as a user would.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


def read_wording(path: Path) -> dict[str, str]:
    """Text by name."""
    sections = ("\n" + path.read_text(encoding="utf-8")).split("\n## ")[1:]
    parts = (section.partition("\n") for section in sections)
    return {name: text.strip("\n") for name, _, text in parts}


def write_wording(path: Path, texts: dict[str, str]) -> None:
    sections = (f"## {name}\n{text}\n" for name, text in sorted(texts.items()))
    path.write_text("\n".join(sections), encoding="utf-8")


@dataclass(frozen=True)
class Wording:
    """Compares texts with the file.

    Attributes:
        path: the file.
        folder: of the test; the file has TMP in its place.
        update: rewrite the file instead.
    """

    path: Path
    folder: Path
    update: bool = False

    def __call__(self, name: str, text: object) -> None:
        found = str(text).replace(str(self.folder), "TMP").replace(sys.executable, "PYTHON")
        found = "\n".join(line.rstrip() for line in found.strip("\n").splitlines())
        texts = read_wording(self.path)
        if self.update:
            write_wording(self.path, texts | {name: found})
            return
        assert name in texts, f"'{name}' has no wording yet: pytest --update-wording -n0"
        assert found == texts[name], f"'{name}' reads differently: see --update-wording"
