"""PyYAML's parser in Python, with the longest ways shortened.

It goes through a text character by character. Blank lines, comments, quoted texts and the lines of block texts are
taken at one go here, so that a mebibyte takes a fraction of a second. What comes out is the same, positions included.

Imports yaml, so it is imported where it is used. Only LF, CR LF and CR end a line: texts with other line breaks, a
null or a byte order mark are refused before they get here.
"""

from __future__ import annotations

import re
from typing import Any

from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner
from yaml.tokens import ScalarToken

__all__ = ["PythonParser"]

# Possessive, so that nothing is kept to come back to.
_GAP = re.compile(r"(?: *+(?:#[^\r\n\0]*+)?+(?:\r\n|\n|\r))*+ *+(?:#[^\r\n\0]*+)?+")
_QUOTED = {'"': re.compile(r'"[^"\\\0]*+"'), "'": re.compile(r"'[^'\0]*+'(?!')")}
_SEPARATOR = re.compile(r"[\r\n](?:---|\.\.\.)[ \t\r\n]")  # of documents: a quoted text may not go past it
_FOLD = re.compile(r"(?<![ \t])[ \t]*+(?:(?:\r\n|\n|\r)[ \t]*+)++")
_BREAK = re.compile(r"\r\n|\n|\r")


class PythonParser(Reader, Scanner, Parser):
    """The parser of a text. Raises what PyYAML's does."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def forward(self, length: int = 1) -> None:
        """Move on; by more than two characters, over no line break."""
        if length > 2:
            self._move(length)
        else:
            super().forward(length)

    def scan_line_break(self) -> str:
        """Move over a line break, and return what stands for it: nothing where there is none."""
        if self.buffer[self.pointer] not in "\r\n":
            return ""
        self._move(2 if self.buffer.startswith("\r\n", self.pointer) else 1)
        self.line += 1
        self.column = 0
        return "\n"

    def scan_to_next_token(self) -> None:
        """Move over spaces, comments and line breaks."""
        match = _GAP.match(self.buffer, self.pointer)
        if match and self._pass(len(match[0])) and not self.flow_level:
            self.allow_simple_key = True

    def scan_flow_scalar(self, style: str) -> Any:
        """Return the token of a quoted text."""
        match = _QUOTED[style].match(self.buffer, self.pointer)
        if match is None or _SEPARATOR.search(self.buffer, match.start(), match.end()):
            return super().scan_flow_scalar(style)  # escapes, or no end
        start = self.get_mark()
        self._pass(len(match[0]))
        return ScalarToken(_FOLD.sub(_folded, match[0][1:-1]), False, start, self.get_mark(), style)

    def scan_block_scalar_breaks(self, indent: int) -> Any:
        """Move over the blank lines of a block text; return their breaks, and where the last of them ends."""
        breaks: list[str] = []
        end = self.get_mark()
        while True:
            stop = self.pointer
            while stop - self.pointer < indent - self.column and self.buffer[stop] == " ":
                stop += 1
            self._move(stop - self.pointer)
            if not self.scan_line_break():
                return breaks, end
            breaks.append("\n")
            end = self.get_mark()

    def _move(self, length: int) -> None:
        self.pointer += length
        self.index += length
        self.column += length

    def _pass(self, length: int) -> int:
        """Move on, and return over how many line breaks."""
        stop = self.pointer + length
        lines, feeds = (self.buffer.count(char, self.pointer, stop) for char in "\n\r")
        breaks: int = lines + feeds - (self.buffer.count("\r\n", self.pointer, stop) if feeds else 0)
        last = max(self.buffer.rfind(char, self.pointer, stop) for char in "\n\r") if breaks else -1
        self._move(length)
        if breaks:
            self.line += breaks
            self.column = stop - 1 - last
        return breaks


def _folded(match: re.Match[str]) -> str:
    breaks = len(_BREAK.findall(match[0]))
    return " " if breaks == 1 else "\n" * (breaks - 1)
