"""The files of each exporter, kept from run to run: what is still right is not made again.

A part is what one exporter made. Its key is a hash of the exporter's name and version, of the
options that count, and of what it read; the record of parts, a JSON file beside the products'
folder, has the key with size, time and sha256 of each file. A part whose key is still the one asked
for, and whose files are still what they were, is used again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxterra.errors import UsageError
from voxterra.io.files.atomic import temporary_name
from voxterra.io.files.disk import cannot_write
from voxterra.io.files.json_file import read_json, write_json
from voxterra.products.exporter import Product

log = logging.getLogger(__name__)

RECORD_FILE = "parts.json"
RESERVED = ("metadata.json", "report.html")
"""Files beside the products that no exporter may write."""

FileFacts = tuple[int, int, str]
"""Size [bytes], time of change [ns] and sha256 of a file."""


@dataclass(frozen=True)
class Part:
    """What an exporter made.

    Attributes:
        key: of what it was made from.
        products: in the folder of the products.
        files: all its files, by their paths in that folder.
        warnings: that were logged while it was made; they are logged again when it is used again.
    """

    key: str
    products: tuple[Product, ...]
    files: Mapping[str, FileFacts]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartCache:
    """How a run keeps parts.

    Attributes:
        record: file of the parts that are made now.
        earlier: (record, folder of the products) of the run before.
        inputs: what stands for each of `exporter.INPUTS`, and for "frame", in keys.
        plain: options as JSON-ready values, without those that do not count.
        collecting: context in which the warnings that are logged are collected.
    """

    record: Path
    earlier: tuple[Path, Path]
    inputs: Mapping[str, str]
    plain: Callable[[Any], Any]
    collecting: Callable[[], AbstractContextManager[list[str]]]


class PartStore:
    """The parts of one call of `make_products`.

    Args:
        folder: of the products.
        cache: None: nothing is kept, all is made.
    """

    def __init__(self, folder: Path, cache: PartCache | None = None):
        self.folder, self._cache = folder, cache
        self.parts: dict[str, Part] = {}
        folder.mkdir(parents=True, exist_ok=True)
        # What a stopped run left, then the run before.
        self._known = (
            [] if cache is None else [(_read(cache.record, folder), folder), _earlier(cache)]
        )

    def key(self, content: Mapping[str, Any], inputs: list[str], exporters: list[str]) -> str:
        """The key of a part: hash of `content`, of inputs by name and of exporters' files."""
        if self._cache is None:
            return ""
        made = {n: {f: facts[2] for f, facts in self.parts[n].files.items()} for n in exporters}
        whole = {
            "content": self._cache.plain(content),
            "inputs": {name: self._cache.inputs.get(name) for name in ("frame", *inputs)},
            "files": made,
        }
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def find(self, name: str, key: str) -> Part | None:
        """The part of an exporter that is still right, in the folder now; None where there is
        none."""
        for parts, folder in self._known:
            known = parts.get(name)
            if known is None or known.key != key:
                continue
            part = _as_now(known, folder, self.folder)
            if part is None:
                continue
            if folder != self.folder:
                for file in part.files:
                    _link(folder / file, self.folder / file)
            for message in part.warnings:
                log.warning("%s", message)
            self._note(name, part)
            return part
        return None

    @contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """An empty folder for an exporter to write in; what is left in it goes."""
        folder = temporary_name(self.folder / name.replace("/", "_"))
        try:
            folder.mkdir(parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def collecting(self) -> AbstractContextManager[list[str]]:
        """What is logged as warnings, for `keep`."""
        return _nothing() if self._cache is None else self._cache.collecting()

    def keep(
        self, name: str, key: str, room: Path, products: tuple[Product, ...], warnings: list[str]
    ) -> Part:
        """Put what an exporter wrote in `room` among the products.

        Raises:
            UsageError: it wrote a file that another exporter wrote, or names one that it did not
                write.
            OutputError: the disk refuses.
        """
        files = {p.relative_to(room).as_posix(): p for p in sorted(room.rglob("*")) if p.is_file()}
        self._check(name, files, room, products)
        facts: dict[str, FileFacts] = {}
        for file, path in files.items():
            target = self.folder / file
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
                facts[file] = _facts(target)
            except OSError as error:
                raise cannot_write(error, target) from error
        moved = tuple(
            replace(p, path=self.folder / Path(p.path).relative_to(room)) for p in products
        )
        part = Part(key, moved, facts, tuple(warnings))
        self._note(name, part)
        return part

    def drop_others(self, own: tuple[str, ...]) -> None:
        """Delete files of parts that a stopped run had begun with and that are not asked for now.

        Only where parts are kept: else the folder may hold files of a user.
        """
        if self._cache is None:
            return
        ours = {*own, *(file for part in self.parts.values() for file in part.files)}
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in ours:
                path.unlink()

    def sha256(self, product: Product) -> str:
        """Of a product of a part, as it was made."""
        file = product.path.relative_to(self.folder).as_posix()
        return next(p.files[file][2] for p in self.parts.values() if file in p.files)

    def _check(
        self, name: str, files: Mapping[str, Path], room: Path, products: tuple[Product, ...]
    ) -> None:
        wrong = ""
        missing = [p.name for p in products if Path(p.path) not in files.values()]
        if missing:
            wrong = f"names {', '.join(missing)}, which it did not write into its folder"
        for file in files:
            others = [other for other, part in self.parts.items() if file in part.files]
            if others or file in RESERVED:
                owner = f"the exporter '{others[0]}'" if others else "Voxterra itself"
                wrong = f"writes {file}, which {owner} writes too"
        if wrong:
            raise UsageError(
                f"The exporter '{name}' {wrong}.",
                where=name,
                next_step=f"Tell its authors; without it: --products.skip {name}.",
            )

    def _note(self, name: str, part: Part) -> None:
        self.parts[name] = part
        if self._cache is not None:
            known = {n: _to_dict(p, self.folder) for n, p in self.parts.items()}
            write_json(known, self._cache.record)


@contextmanager
def _nothing() -> Iterator[list[str]]:
    yield []


def _earlier(cache: PartCache) -> tuple[dict[str, Part], Path]:
    record, folder = cache.earlier
    return _read(record, folder), folder


def _facts(path: Path) -> FileFacts:
    stat = path.stat()
    with path.open("rb") as file:
        return stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()


def _as_now(part: Part, folder: Path, target: Path) -> Part | None:
    """A part in `folder`, as it will be in `target`; None where a file is not what it was.

    A file is read only where its time of change is another, as after a copy.
    """
    files = dict(part.files)
    for file, known in part.files.items():
        try:
            stat = (folder / file).stat()
            if (stat.st_size, stat.st_mtime_ns) == known[:2]:
                continue
            now = _facts(folder / file)
        except OSError:
            return None
        if now[2] != known[2]:
            return None
        files[file] = now
    moved = tuple(replace(p, path=target / p.path.relative_to(folder)) for p in part.products)
    return replace(part, products=moved, files=files)


def _link(source: Path, target: Path) -> None:
    """The same file at another place: a second name for it, or a copy where there are none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _to_dict(part: Part, folder: Path) -> dict[str, Any]:
    products = [
        vars(p) | {"path": p.path.relative_to(folder).as_posix(), "facts": dict(p.facts)}
        for p in part.products
    ]
    return vars(part) | {"products": products, "files": dict(part.files)}


def _read(record: Path, folder: Path) -> dict[str, Part]:
    """The parts of a record, without those that cannot be read."""
    data, found = read_json(record), {}
    for name, part in data.items() if isinstance(data, dict) else ():
        try:
            products = tuple(
                Product(**(p | {"path": folder / _inside(p["path"])})) for p in part["products"]
            )
            files = {
                _inside(k): (int(v[0]), int(v[1]), str(v[2])) for k, v in part["files"].items()
            }
            found[name] = Part(str(part["key"]), products, files, tuple(part["warnings"]))
        except (AttributeError, LookupError, TypeError, ValueError):
            log.info("the record of the products of '%s' cannot be read; they are made again", name)
    return found


def _as_facts(values: Any) -> FileFacts:
    size, time, sha256 = values
    return int(size), int(time), str(sha256)


def _inside(name: str) -> str:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise ValueError("a file outside the folder of the products")
    return name
