"""Builds HTML: elements whose text and attributes are escaped, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Content", "Markup", "element", "join", "scrolling", "table"]


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Iterable["Content"]
"""Text, which is escaped unless it is `Markup`, or several of these."""

VOID = frozenset({"br", "hr", "meta"})


def join(content: Content) -> Markup:
    """Return `content` as HTML."""
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(escape(content, quote=False))
    return Markup("".join(join(one) for one in content))


def element(name: str, *content: Content, **attributes: str | int | None) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
    *content : Content
    **attributes
        An underscore stands for a hyphen, and one at the end for nothing, as in ``class_``; None leaves it out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>" if name in VOID else f"<{name}{written}>{join(content)}</{name}>")


def scrolling(label: str, *content: Content, class_: str = "wide") -> Markup:
    """Return a box that scrolls sideways where the window is narrower than its content, also by keyboard."""
    return element("div", *content, class_=class_, role="region", aria_label=label, tabindex=0)


def table(
    caption: str,
    headers: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    *,
    row_headers: int = 1,
    numeric: Sequence[bool] = (),
) -> Markup:
    """Return a table in a box that scrolls sideways.

    Parameters
    ----------
    caption : str
    headers : sequence of Content
    rows : iterable of sequence of Content
    row_headers : int
        So many cells at the beginning of a row say what it is about.
    numeric : sequence of bool
        Which columns hold numbers; none by default.
    """
    right = [*numeric, *([False] * (len(headers) - len(numeric)))]

    def kind(column: int) -> str | None:
        return "number" if right[column] else None

    head = element("tr", [element("th", one, scope="col", class_=kind(i)) for i, one in enumerate(headers)])
    body = [
        element(
            "tr",
            [
                element("th", cell, scope="row", class_=kind(i))
                if i < row_headers
                else element("td", cell, class_=kind(i))
                for i, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    whole = element(
        "table", element("caption", element("span", caption)), element("thead", head), element("tbody", body)
    )
    return scrolling(caption, whole)
