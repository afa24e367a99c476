"""Exporters for tests: they write a line of text."""

from __future__ import annotations

from dataclasses import dataclass

from voxterra.products.exporter import Product


@dataclass(frozen=True)
class StepOptions:
    step_m: float = 1.0
    """Between contours [m]."""


class Written:
    """Writes its options and what it read into `NAME.txt`."""

    group, license, version, options = "survey", "MIT", 1, StepOptions
    needs: tuple[str, ...] = ()

    def __init__(self, name, needs=(), uses=(), text=None):
        self.name, self.needs, self.uses, self.text = name, needs, uses, text
        self.calls = 0

    def requires(self, options):
        pass

    def export(self, inputs, options, out_dir, progress):
        self.calls += 1
        path = out_dir / f"{self.name}.txt"
        text = self.text(inputs, out_dir) if self.text else f"{options.step_m}"
        path.write_text(text)
        return (Product(path.name, path, "list", self.name),)
