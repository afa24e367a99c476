"""HTML and SVG as a tree of elements: text is escaped where the tree is written, in one place.

Names of files come from anywhere. No string of HTML is ever put together from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

Content: TypeAlias = "str | float | Element | Iterable[Content] | None"

# Control characters no document may hold, and the surrogates of file names that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def el(tag: str, *content: Content, **attributes: str | float | None) -> Element:
    """An element. `class_` is the attribute class, `stroke_width` is stroke-width; None: none."""
    element = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(name.rstrip("_").replace("_", "-"), _text(value))
    _append(element, content)
    return element


def table(
    head: Sequence[str], rows: Iterable[Sequence[Content]], *, numbers: Sequence[int] = ()
) -> Element:
    """A table; columns whose index is in `numbers` are set flush right; "None." without rows."""

    def cells(tag: str, row: Sequence[Content]) -> list[Element]:
        return [el(tag, c, class_="n" if i in numbers else None) for i, c in enumerate(row)]

    body = [el("tr", cells("td", row)) for row in rows]
    if not body:
        return el("p", "None.", class_="quiet")
    return el(
        "div",
        el("table", el("thead", el("tr", cells("th", head))), el("tbody", body)),
        class_="table",
    )


def figure(content: Content, caption: str, *, wide: bool = False) -> Element:
    """A picture or chart with its caption."""
    return el("figure", content, el("figcaption", caption), class_="wide" if wide else None)


def section(title: str, *content: Content) -> Element:
    """A part of the page under a heading, which is a target for links as well."""
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    return el("section", el("h2", title), *content, id=name)


def document(head: Sequence[Element], body: Sequence[Element], *, title: str) -> str:
    """A whole HTML file."""
    page = el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            # Whatever a name may smuggle in: nothing is fetched and nothing runs.
            el("meta", http_equiv="Content-Security-Policy",
               content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"),
            el("title", title),
            *head,
        ),
        el("body", *body),
        lang="en",
    )  # fmt: skip
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _append(element: Element, content: Content) -> None:
    if content is None:
        return
    if isinstance(content, Element):
        element.append(content)
    elif isinstance(content, str | int | float):
        text = _text(content)
        if len(element):
            element[-1].tail = (element[-1].tail or "") + text
        else:
            element.text = (element.text or "") + text
    else:
        for part in content:
            _append(element, part)


def _text(value: str | float) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _UNPRINTABLE.sub("�", text)
