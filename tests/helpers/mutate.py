"""Damaged copies of good files: what a bad disk, a cut-off copy, an editor or an attacker makes.

Seeded, so that a case can be made again from its number. Bytes are damaged as bytes; of text, the
numbers, separators, quotes, lines and nesting are damaged too, so that parsers get past the start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

NUMBER = re.compile(rb"(?<![\w.])[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
WORD = re.compile(rb"[A-Za-z_]\w*")
# Where a number stood: not a number, not finite, too large for a double, an int64, an int at all.
HOSTILE = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"", b" ", b"99999999999999999999", b"1e308",
    b"9" * 5000, b"null", b"true", b"[]", b"{}", b'"x"', b"2147483648", b"-9223372036854775809",
    b"1,5", b"0x1F", b"1_000", "\u0663".encode(), b"\x00", b"\xff\xfe", b"NaN", b"1e-400",
)  # fmt: skip
LENGTHS = (b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\x00\x10\xa5\xd4\xe8\x00\x00\x00", b"\x7f" * 8)
"""Length fields: the largest, none, 10^12, and a large positive one."""


def flip_bits(data: bytes, random: np.random.Generator) -> bytes:
    out = bytearray(data)
    for at in random.integers(0, max(len(out), 1), random.integers(1, 9)):
        if out:
            out[at] ^= 1 << int(random.integers(8))
    return bytes(out)


def set_bytes(data: bytes, random: np.random.Generator) -> bytes:
    out = bytearray(data)
    for at in random.integers(0, max(len(out), 1), random.integers(1, 40)):
        if out:
            out[at] = int(random.integers(256))
    return bytes(out)


def cut_off(data: bytes, random: np.random.Generator) -> bytes:
    return data[: int(random.integers(0, len(data) + 1))]


def lose_a_part(data: bytes, random: np.random.Generator) -> bytes:
    a, b = sorted(int(i) for i in random.integers(0, len(data) + 1, 2))
    return data[:a] + data[b:]


def repeat_a_part(data: bytes, random: np.random.Generator) -> bytes:
    a, b = sorted(int(i) for i in random.integers(0, len(data) + 1, 2))
    return data[:b] + data[a:b] * int(random.integers(1, 4)) + data[b:]


def zero_a_part(data: bytes, random: np.random.Generator) -> bytes:
    a, b = sorted(int(i) for i in random.integers(0, len(data) + 1, 2))
    return data[:a] + bytes(b - a) + data[b:]


def forge_a_length(data: bytes, random: np.random.Generator) -> bytes:
    """A length field of 10^12 where some number was; most such fields stand near the start."""
    length = LENGTHS[random.integers(len(LENGTHS))]
    last = min(len(data), 64) if random.random() < 0.5 else len(data)
    at = int(random.integers(0, max(last, 1)))
    return data[:at] + length + data[at + len(length) :]


def junk(data: bytes, random: np.random.Generator) -> bytes:
    return random.bytes(int(random.integers(0, 2000)))


def hostile_numbers(data: bytes, random: np.random.Generator) -> bytes:
    found = list(NUMBER.finditer(data))
    if not found:
        return data + HOSTILE[random.integers(len(HOSTILE))]
    chosen = {int(i) for i in random.integers(0, len(found), random.integers(1, 4))}
    for index in sorted(chosen, reverse=True):
        value = HOSTILE[random.integers(len(HOSTILE))]
        data = data[: found[index].start()] + value + data[found[index].end() :]
    return data


def other_words(data: bytes, random: np.random.Generator) -> bytes:
    found = list(WORD.finditer(data))
    if not found:
        return data
    a, b = (found[int(i)] for i in random.integers(0, len(found), 2))
    return data[: a.start()] + b.group() + data[a.end() :]


def lost_separators(data: bytes, random: np.random.Generator) -> bytes:
    places = [i for i, c in enumerate(data) if c in b",;:{}[]\"'\n\t ()<>="]
    out = bytearray(data)
    for index in random.integers(0, max(len(places), 1), random.integers(1, 6)):
        if places:
            out[places[index]] = int(random.choice(list(b",;:{}[]\"'\n\t x")))
    return bytes(out)


def mixed_lines(data: bytes, random: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    for _ in range(int(random.integers(1, 4))):
        a, b = (int(i) for i in random.integers(0, len(lines), 2))
        match int(random.integers(3)):
            case 0:
                lines[a], lines[b] = lines[b], lines[a]
            case 1:
                lines.insert(a, lines[b])
            case 2:
                lines[a] = b""
    return b"\n".join(lines)


def other_encoding(data: bytes, random: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    encoding = ("utf-16", "utf-32", "utf-8-sig", "cp1252", "utf-7")[random.integers(5)]
    return text.replace("a", "ä").encode(encoding, "replace")


def deep_nesting(data: bytes, random: np.random.Generator) -> bytes:
    opening = (b"[", b"{", b'{"a":', b"(", b"- ", b"<a>")[random.integers(6)]
    at = int(random.integers(0, len(data) + 1))
    return data[:at] + opening * int(random.choice([200, 5000, 100_000])) + data[at:]


def a_long_line(data: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, len(data) + 1))
    return data[:at] + b"A" * 300_000 + data[at:]


def other_values(data: bytes, random: np.random.Generator) -> bytes:
    """JSON that is still JSON: values of other types, keys lost, lists cut and doubled."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    strange = (None, True, -1, 0, 1e308, 10**40, "", "x", "../../x", [], {}, [[]], {"a": 1}, [None])
    for _ in range(int(random.integers(1, 4))):
        places = list(_containers(tree))
        if not places:
            break
        node, key = places[int(random.integers(len(places)))]
        match int(random.integers(4)):
            case 0:
                del node[key]
            case 1 if isinstance(node, list):
                node.extend(deepcopy(node[:20]))
            case _:
                node[key] = deepcopy(strange[int(random.integers(len(strange)))])
    return json.dumps(tree).encode()


def _containers(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree of JSON: what holds it, and under which key."""
    for key, child in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(child, dict | list):
            yield from _containers(child)


BYTES: tuple[Mutation, ...] = (
    flip_bits, set_bytes, cut_off, lose_a_part, repeat_a_part, zero_a_part, forge_a_length, junk,
)  # fmt: skip
TEXT: tuple[Mutation, ...] = (
    hostile_numbers, hostile_numbers, other_words, lost_separators, mixed_lines, other_encoding,
    deep_nesting, a_long_line, flip_bits, cut_off, repeat_a_part, junk,
)  # fmt: skip

JSON: tuple[Mutation, ...] = (*TEXT, other_values, other_values, other_values, other_values)


def damaged(data: bytes, seed: int, kinds: tuple[Mutation, ...]) -> tuple[str, bytes]:
    """Case number `seed`: what was done, and the damaged copy of `data`."""
    random = np.random.default_rng(seed)
    first = kinds[seed % len(kinds)]
    names, out = [first.__name__], first(data, random)
    if random.random() < 0.25:
        second = kinds[random.integers(len(kinds))]
        names, out = [*names, second.__name__], second(out, random)
    return " + ".join(names), out
