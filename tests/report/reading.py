"""What a page says, as text: headings, rows, and the names and descriptions of its pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["said"]

_BLOCKS = {
    "article",
    "caption",
    "details",
    "div",
    "dl",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "header",
    "li",
    "main",
    "nav",
}
_BLOCKS |= {"p", "pre", "section", "summary", "table", "tbody", "thead", "title", "tr", "ul"}
_SIGNS = {"h1": "# ", "h2": "\n## ", "h3": "\n### ", "li": "- ", "summary": "> ", "caption": "table: ", "dd": ": "}
_SIGNS |= {"small": ", ", "td": " | ", "th": " | ", "svg": " [picture: "}
_VARYING = (
    (re.compile(r"[\d.,e-]+ forward, [\d.,e-]+ backward"), "… forward, … backward"),
    (re.compile(r"[\d.,e-]+ (ms|s)\b"), r"… \1"),
    (re.compile(r"(peak memory[^\d\n]*)[\d.,]+ [KMG]iB"), r"\1… MiB"),
    (re.compile(r"(Written by ava-loss )\S+\w"), r"\1…"),
)


class _Reader(HTMLParser):
    """Gathers lines; of an ``svg`` only its own title and description count, as its accessible name."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.line = ""
        self.stack: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "link", "br", "wbr", "hr", "col"):
            self.line += " " if tag == "br" else ""
            return
        told = dict(attrs)
        silent = tag in ("script", "style") or told.get("aria-hidden") == "true" or any(hush for _, hush in self.stack)
        if not silent:
            if self.breaks(tag) or tag == "dt":
                self.end()
            self.line += _SIGNS.get(tag, "") if self.line or tag not in ("td", "th") else ""
            self.line += f" [{told['aria-label']}]" if told.get("role") == "img" and "aria-label" in told else ""
        self.stack.append((tag, silent))

    def handle_endtag(self, tag: str) -> None:
        silent = any(hush for _, hush in self.stack)
        while self.stack and self.stack.pop()[0] != tag:
            pass
        if tag == "svg" and not silent:
            self.line = self.line.rstrip() + "] "
        if self.breaks(tag) and not silent:
            self.end()

    def handle_data(self, data: str) -> None:
        if any(hush for _, hush in self.stack):
            return
        tags = [tag for tag, _ in self.stack]
        if "pre" in tags:
            self.line += data
        elif "svg" not in tags:
            self.line += re.sub(r"\s+", " ", data)
        elif tags[-2:] in (["svg", "title"], ["svg", "desc"]):
            self.line += f"{data.strip().rstrip('.')}. "

    def breaks(self, tag: str) -> bool:
        """Return whether a line begins and ends with this element here: not inside a cell, nor a picture."""
        return tag in _BLOCKS and not {"td", "th", "svg"} & {name for name, _ in self.stack}

    def end(self) -> None:
        """End a line; none is empty but for the one before a heading."""
        lead = "\n" if self.line.startswith("\n") else ""
        text = self.line.strip()
        if text:
            self.lines.append(lead + text)
        self.line = ""


def said(page: str) -> str:
    """Return what a page says, without what differs from run to run and from machine to machine."""
    reader = _Reader()
    reader.feed(page)
    reader.end()
    text = "\n".join(reader.lines) + "\n"
    for pattern, kept in _VARYING:
        text = pattern.sub(kept, text)
    return text
