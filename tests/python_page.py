"""Runs the Python blocks of docs/python.md as one session; ``python -m tests.python_page`` writes their output anew."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<output>.*?)```", re.DOTALL)


def session(text: str) -> list[tuple[str, str, str]]:
    """Run the blocks of a page in order; return the code of each, its output in the page, and what it prints."""
    names: dict[str, object] = {"__name__": "__main__"}
    found = []
    for block in BLOCK.finditer(text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], str(PAGE), "exec"), names)
        lines = [line.rstrip() for line in printed.getvalue().splitlines()]
        found.append((block["code"], block["output"], "".join(f"{line}\n" for line in lines)))
    return found


def main() -> None:
    """Write what the blocks print into the page."""
    text = PAGE.read_text(encoding="utf-8")
    outputs = iter(printed for _, _, printed in session(text))
    new = BLOCK.sub(lambda block: f"```python\n{block['code']}```\n\n```text\n{next(outputs)}```", text)
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
