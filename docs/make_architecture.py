"""Draw the house from its code: rooms, their sizes, and who imports whom.

python docs/make_architecture.py [--package surface/voxels] [--out docs/pictures/architecture.png]

Boxes are the folders of `src/voxterra` (or of one package), in the layers that `pyproject.toml`
tells import-linter; a package without such a contract is laid out by its chains of imports. Imports
inside functions, and those for the type checker, are drawn lighter. It also prints how many
modules, lines, floors and circles there are: a module that imports none is on floor 1, any other
one floor above the highest that it imports.
"""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from architecture_picture import Room, draw

ROOT = "voxterra"
REPO = Path(__file__).resolve().parent.parent
OWN = "own files"
Pair = tuple[str, str]


@dataclass(frozen=True)
class Module:
    """A file, and the modules it imports: as it is loaded, inside functions, or for types only."""

    lines: int
    at_once: frozenset[str]
    later: frozenset[str]
    types: frozenset[str]


def read_modules(source: Path) -> dict[str, Module]:
    """All modules below a package's folder, by their dotted names."""
    files = {_dotted(file, source): file for file in sorted(source.rglob("*.py"))}
    modules = {}
    for name, file in files.items():
        text = file.read_text(encoding="utf-8")
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        found = set(_imports(ast.parse(text), package, files))
        at_once, later, types = (
            frozenset(target for target, when in found if when == kind and target != name)
            for kind in ("at once", "later", "types")
        )
        later -= at_once
        modules[name] = Module(len(text.splitlines()), at_once, later, types - at_once - later)
    return modules


def _dotted(file: Path, source: Path) -> str:
    parts = [source.name, *file.relative_to(source).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(
    node: ast.AST, package: str, known: Mapping[str, Path], when: str = "at once"
) -> Iterator[Pair]:
    """Modules of the tree that a piece of code imports, and when it does."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            up = package.split(".")[: 1 - child.level or None] if child.level else []
            base = ".".join([*up, *([child.module] if child.module else [])])
            inside = [f"{base}.{alias.name}" for alias in child.names]
            names = [name if name in known else base for name in inside]
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child, package, known, "later")
            continue
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from _imports(child, package, known, "types")
            continue
        else:
            yield from _imports(child, package, known, when)
            continue
        yield from ((name, when) for name in names if name in known)


def read_layers(pyproject: Path, package: str) -> list[list[str]]:
    """Rooms of a package from top to bottom, as its contract of import-linter has them; or none."""
    tables = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]
    for contract in tables["contracts"]:
        if contract["type"] != "layers":
            continue
        rows = [re.findall(r"[\w.]+", layer) for layer in contract["layers"]]
        if package in contract.get("containers", ()):
            return rows
        if all(name.rpartition(".")[0] == package for row in rows for name in row):
            return [[name.rpartition(".")[2] for name in row] for row in rows]
    return []


def divide(modules: Mapping[str, Module], package: str) -> dict[str, str]:
    """Of each module of a package, its room: a folder or file. What hands names on has none."""
    faces = {package, f"{package}.__main__"}
    return {
        name: name.removeprefix(f"{package}.").split(".")[0]
        for name in modules
        if name.startswith(f"{package}.") and name not in faces
    }


def make_rooms(modules: Mapping[str, Module], package: str) -> dict[str, Room]:
    """Rooms of a package with their sizes and what is in them."""
    home = divide(modules, package)
    rooms = {}
    for room in dict.fromkeys(home.values()):
        path = f"{package}.{room}"
        lines = {name: modules[name].lines for name in home if home[name] == room}
        is_folder = any(name != path for name in lines)
        inside = _inside({name[len(path) + 1 :]: n for name, n in lines.items()}, package)
        rooms[room] = Room(room, is_folder, len(lines), sum(lines.values()), inside)
    return rooms


def _inside(lines: Mapping[str, int], package: str) -> list[tuple[str, int]]:
    """Lines of a room's folders and of its own files together; inside a package, of each file."""
    sizes: dict[str, int] = {}
    for name, number in lines.items():
        if name:
            first = name.split(".")[0]
            alone = package == ROOT and not any(n.startswith(f"{first}.") for n in lines)
            key = OWN if alone else first
            sizes[key] = sizes.get(key, 0) + number
    if set(sizes) == {OWN}:
        return []
    return sorted(sizes.items(), key=lambda item: (item[0] == OWN, item[0]))


def arrows(modules: Mapping[str, Module], home: Mapping[str, str]) -> dict[Pair, tuple[int, int]]:
    """From room to room: how many imports as modules load, and how many others."""
    counts: dict[Pair, tuple[int, int]] = {}
    for name, start in home.items():
        module = modules[name]
        for targets, step in ((module.at_once, (1, 0)), (module.later | module.types, (0, 1))):
            for end in (home[target] for target in targets if target in home):
                if start != end:
                    old = counts.get((start, end), (0, 0))
                    counts[start, end] = (old[0] + step[0], old[1] + step[1])
    return dict(sorted(counts.items()))


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan 1972), each after those that it reaches."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_, groups = [], []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        open_.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in open_:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = open_.index(node)
            groups.append(sorted(open_[at:]))
            del open_[at:]

    for node in graph:
        if node not in order:
            visit(node)
    return groups


def floors(graph: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """The floor of each node: 1 on the ground; nodes of one circle share theirs."""
    floor: dict[str, int] = {}
    for group in circles(graph):
        below = {floor[other] for node in group for other in graph[node] if other not in group}
        floor.update(dict.fromkeys(group, 1 + max(below, default=0)))
    return floor


def rows_of(
    rooms: Mapping[str, Room], layers: Sequence[Sequence[str]], counts: Mapping[Pair, object]
) -> list[list[Room]]:
    """Rooms from top to bottom: by the layers, or by floors where there are none."""
    uses = {name: [b for a, b in counts if a == name] for name in rooms}
    if layers:
        rows = [[rooms[name] for name in row if name in rooms] for row in layers]
        rows = [row for row in rows if row]
    else:
        floor = floors(uses)
        rows = [
            [room for name, room in rooms.items() if floor[name] == level]
            for level in range(max(floor.values()), 0, -1)
        ]
        for above, row in pairwise(rows):
            place = {room.name: i / len(above) for i, room in enumerate(above)}
            row.sort(key=lambda room: _middle(place, room.name, counts))
    placed = {room.name: i for i, row in enumerate(rows) for room in row}
    for name, room in rooms.items():  # not in the contract: just above what it imports
        if name not in placed:
            below = [placed[other] for other in uses[name] if other in placed]
            rows[max(min(below, default=len(rows)) - 1, 0)].append(room)
    for i, row in enumerate(rows):
        for room in row:
            room.row = i
    return rows


def _middle(place: Mapping[str, float], name: str, counts: Mapping[Pair, object]) -> float:
    users = [place[a] for a, b in counts if b == name and a in place]
    return sum(users) / len(users) if users else 0.5


def count(modules: Mapping[str, Module], package: str) -> list[str]:
    """Figures of a package: modules and lines, floors, circles; with and without late imports."""
    own = {name: modules[name] for name in modules if f"{name}.".startswith(f"{package}.")}
    at_once = {name: sorted(own.keys() & module.at_once) for name, module in own.items()}
    every = {name: sorted(own.keys() & (m.at_once | m.later)) for name, m in own.items()}
    facts = [f"{len(own)} modules, {sum(module.lines for module in own.values()):,} lines"]
    for graph, how in ((at_once, "as modules load"), (every, "with imports inside functions")):
        tied = [group for group in circles(graph) if len(group) > 1]
        names = [
            "{" + ", ".join(name.removeprefix(f"{package}.") for name in g) + "}" for g in tied
        ]
        told = f"{len(tied) or 'no'} circle{'s' * (len(tied) > 1)} {' '.join(names)}".rstrip()
        facts.append(f"{how}: {max(floors(graph).values())} floors, {told}")
    return facts


def neighbours(modules: Mapping[str, Module], package: str) -> str:
    """Of a package, what it imports of the rest of the house and who imports it, in words."""
    uses: dict[str, int] = {}
    users: dict[str, int] = {}
    for name, module in modules.items():
        for other in module.at_once | module.later | module.types:
            inside = [f"{n}.".startswith(f"{package}.") for n in (name, other)]
            if inside[0] != inside[1]:
                far, sums = (other, uses) if inside[0] else (name, users)
                room = ".".join(far.split(".")[1:2]) or ROOT
                sums[room] = sums.get(room, 0) + 1
    told = [", ".join(f"{name} {n}" for name, n in sorted(sums.items())) for sums in (uses, users)]
    return f"imports {told[0] or 'nothing'}; imported by {told[1] or 'nobody'}"


def main() -> None:
    """Read the options; print counts; draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", help="draw the inside of this folder, such as surface/voxels")
    parser.add_argument("--out", type=Path, help="PNG or SVG (default: in docs/pictures)")
    parser.add_argument("--repo", type=Path, default=REPO, help="checkout to read (default: this)")
    args = parser.parse_args()
    package = ".".join([ROOT, *(args.package or "").strip("/").split("/")]).rstrip(".")
    name = "_".join(["architecture", *package.split(".")[1:]])
    out = args.out or REPO / "docs" / "pictures" / f"{name}.png"

    modules = read_modules(args.repo / "src" / ROOT)
    rooms = make_rooms(modules, package)
    if not rooms:
        parser.error(f"no folder {args.package} with modules in src/{ROOT}")
    counts = arrows(modules, divide(modules, package))
    rows = rows_of(rooms, read_layers(args.repo / "pyproject.toml", package), counts)
    size, *floor_facts = count(modules, package)
    facts = [f"{size}; {len(rooms)} rooms in {len(rows)} rows, {len(counts)} arrows", *floor_facts]
    if package != ROOT:
        facts.append(neighbours(modules, package))
    print(*facts, sep="\n")
    draw(package.replace(".", "/"), facts, rows, counts, out)
    print(out)


if __name__ == "__main__":
    main()
