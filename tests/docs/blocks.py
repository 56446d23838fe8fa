"""The code of a page, in its order, with what the comments in front of a block say about it.

A comment in front of a block, invisible on the page, may say

- ``<!-- file: NAME -->``: the block is the text of that file, which the blocks below use;
- ``<!-- exit: N -->``: its commands end with this code instead of 0;
- ``<!-- not run: REASON -->``: the block is shown only; ``test_code.py`` counts these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["DOCS", "ROOT", "Block", "blocks", "commands", "pages", "same"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MARKER = re.compile(r"<!-- (file|exit|not run): (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A block of code: its page, line, language and text, and the comments in front of it."""

    page: str
    line: int
    language: str
    text: str
    file: str | None = None
    exit: int = 0
    not_run: str | None = None

    def __str__(self) -> str:
        return f"docs/{self.page}:{self.line}"


def pages() -> list[str]:
    """Return the paths of all pages below ``docs/``."""
    return sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page that have a language."""
    said: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse((DOCS / page).read_text(encoding="utf-8")):
        if token.type == "html_block":
            said |= dict(MARKER.findall(token.content))
        elif token.type == "fence":
            assert token.map is not None
            line, language = token.map[0] + 1, token.info.strip()
            if language and not language.startswith("{"):  # a directive of MyST
                code = int(said.get("exit", 0))
                yield Block(page, line, language, token.content, said.get("file"), code, said.get("not run"))
            said = {}


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a ``console`` block, each with the output that the page shows, if any."""
    command, shown = "", ""
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:].split("  # ")[0].strip(), ""
        else:
            shown += line
    assert command, f"{block}: no line begins with `$ `"
    yield command, shown


def same(shown: str, got: str) -> bool:
    """Return whether an output is what the page shows; runs of spaces, and of `─`, count as one.

    In a line `…` stands for anything, and a line that is nothing else for any number of lines.

    >>> same("a … c\\n…\\ne\\n", "a b  c\\ne\\n"), same("a\\n…\\n", "b\\n")
    (True, False)
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + r"\n" for line in _lines(shown)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(got))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(re.sub("─+", "─", line).split()) for line in text.strip().splitlines()]
