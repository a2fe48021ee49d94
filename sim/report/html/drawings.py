"""SVG files made part of a page: names of their own, no scripts, nothing that is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from sim.report.html.markup import Markup, element, scrolling
from sim.report.rundir import RunDirectoryError

__all__ = ["FIRST", "drawing", "figure_files", "of_a_comparison"]

FIRST = ("latency", "correct-predictions", "percentiles", "ccdf", "heat", "path-mix", "accuracy", "utilisation")
"""How the names of figures begin, in the order in which they are shown; others come after these."""

COMPARED = ("differences", "predicted-measured")
"""How the names of figures begin that `mprec compare` puts beside those of the run."""

LEFT_OUT = frozenset({"metadata", "script", "foreignObject", "title", "desc"})
REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
FETCHED = re.compile(r"@import|url\(\s*['\"]?(?!#)", re.IGNORECASE)


def figure_files(folder: Path) -> list[Path]:
    """Return the SVG files of a folder in the order in which they are shown."""

    def order(file: Path) -> tuple[int, list[tuple[int, str]]]:
        rank = next((number for number, first in enumerate(FIRST) if file.stem.startswith(first)), len(FIRST))
        parts = re.split(r"(\d+)", file.stem)
        return rank, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]

    return sorted(folder.glob("*.svg"), key=order)


def of_a_comparison(file: Path) -> bool:
    """Return whether a figure compares the run with something else, and is none of its own."""
    return file.stem.startswith(COMPARED)


def drawing(file: Path, number: int) -> Markup:
    """Return a figure for a page.

    Parameters
    ----------
    file : Path
        An SVG file.
    number : int
        Different for every figure of the page; its names begin with it.

    Raises
    ------
    RunDirectoryError
        If the file cannot be read, or is no SVG.
    """
    try:
        root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunDirectoryError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{file} is damaged: {error}") from error
    if _local(root.tag) != "svg":
        raise RunDirectoryError(f"{file} is no SVG file")
    title = _title(root) or file.stem.replace("-", " ")
    name = f"figure-{number}"
    view_box = root.get("viewBox") or f"0 0 {_points(root.get('width'))} {_points(root.get('height'))}"
    _prefix_styles(root, f"{name}-")
    inner = "".join(_written(child, f"{name}-") for child in root)
    classes = f' class="{escape(root.get("class", ""))}"' if root.get("class") else ""
    image = Markup(
        f'<svg{classes} viewBox="{escape(view_box)}" role="img" aria-labelledby="{name}-title">'
        f'<title id="{name}-title">{escape(title)}</title>{_scoped(inner, name)}</svg>'
    )
    # Its title can be seen in the drawing.
    caption = element("figcaption", f"figures/{file.name}")
    return element("figure", scrolling(title, image, class_="drawing"), caption, id=name)


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _points(length: str | None) -> str:
    return re.sub(r"[a-z%]+$", "", length or "") or "100"


def _title(root: ElementTree.Element) -> str:
    """Return the title that the file gives itself."""
    titles = [child.text for child in root if _local(child.tag) == "title"]
    return next((" ".join(title.split()) for title in (*titles, root.get("aria-label")) if title), "")


def _prefix_styles(root: ElementTree.Element, prefix: str) -> None:
    """Let the styles of a drawing go on naming its elements, whose names are about to change."""
    names = {node.get("id") for node in root.iter()}
    for node in root.iter():
        if _local(node.tag) == "style" and node.text:
            node.text = re.sub(
                r"#([A-Za-z_][\w.-]*)",
                lambda found: f"#{prefix}{found[1]}" if found[1] in names else found[0],
                node.text,
            )


def _written(node: ElementTree.Element, prefix: str) -> str:
    if not isinstance(node.tag, str) or _local(node.tag) in LEFT_OUT:
        return ""
    name = _local(node.tag)
    attributes = "".join(f' {key}="{escape(value)}"' for key, value in _attributes(node, prefix))
    if name == "style":
        text = node.text or ""
        return "" if FETCHED.search(text) else f"<style{attributes}>{escape(text, quote=False)}</style>"
    text = escape(node.text.strip() if node.text else "", quote=False)
    children = "".join(_written(child, prefix) + escape((child.tail or "").strip(), quote=False) for child in node)
    inner = text + children
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"


def _attributes(node: ElementTree.Element, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.attrib.items():
        name = _local(key)
        if name.lower().startswith("on"):
            continue
        if name == "id":
            yield name, prefix + value
        elif name == "href":
            if value.startswith("#"):
                yield name, f"#{prefix}{value[1:]}"
            elif value.startswith("data:image/"):
                yield name, value
        elif not FETCHED.search(value):
            yield name, REFERENCE.sub(lambda found: f"url(#{prefix}{found[1]})", value)


def _scoped(inner: str, name: str) -> str:
    """Keep the style of a drawing to itself: inside a page it would hold for the whole of it."""
    return re.sub(r"(<style[^>]*>)(.*?)(</style>)", rf"\1#{name} {{\2}}\3", inner, flags=re.DOTALL)
