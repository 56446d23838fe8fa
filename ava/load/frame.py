"""The plain-text picture of a span in its text.

>>> from ava.errors import Span
>>> print(render_frame("terms:\\n  windw: 50\\n", Span("x.yaml", 2, 3, 2, 8)))
   1 | terms:
   2 |   windw: 50
     |   ^^^^^
"""

from __future__ import annotations

import re
import unicodedata

from ava.errors import Span

__all__ = ["render_frame", "split_lines"]

_MARGIN = 3
_TAB = 4
_WIDTH = 120  # cells shown of a longer line, around the span
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


def split_lines(text: str) -> list[str]:
    """Return the lines of ``text`` without their breaks, as positions count them: LF, CR LF or CR ends one.

    >>> split_lines("a\\r\\nb\\n")
    ['a', 'b', '']
    """
    return _LINE_BREAK.split(text)


def render_frame(text: str, span: Span) -> str:
    """Return the line before ``span``, its line, and carets under it; of several lines, the first.

    A tab shows as four spaces and a control character as U+FFFD, so that no text can act on the terminal;
    wide characters count two cells. A line beyond the end of ``text`` shows empty.
    """
    lines = split_lines(text)
    digits = len(str(span.line))
    row = lines[span.line - 1] if span.line <= len(lines) else ""
    end = span.end_column if span.end_line == span.line else len(row.rstrip()) + 1
    start, end = span.column - 1, max(end - 1, span.column)
    left, right = _window(row, start, end)
    shown, before, width = "", 0, 0
    for index in range(left, right):
        cell = _cell(row[index])
        shown += cell
        before += _cells(cell) if index < start else 0
        width += _cells(cell) if start <= index < end else 0
    before += max(0, start - len(row))
    cut_left, cut_right = "…" if left else "", "…" if right < len(row) else ""
    previous = [_line(span.line - 1, digits, _clip(lines[span.line - 2]))] if 2 <= span.line <= len(lines) + 1 else []
    carets = " " * (before + len(cut_left)) + "^" * max(width, 1)
    return "\n".join([*previous, _line(span.line, digits, cut_left + shown + cut_right), _line(None, digits, carets)])


def _line(number: int | None, digits: int, text: str) -> str:
    label = "" if number is None else str(number)
    return f"{' ' * _MARGIN}{label:>{digits}} | {text}".rstrip()


def _clip(row: str) -> str:
    return "".join(map(_cell, row[:_WIDTH])) + ("…" if len(row) > _WIDTH else "")


def _window(row: str, start: int, end: int) -> tuple[int, int]:
    """Return the stretch of ``row`` to show: all of it, or ``_WIDTH`` code points with the span's start in view."""
    if len(row) <= _WIDTH:
        return 0, len(row)
    left = max(0, min(start - _WIDTH // 4, len(row) - _WIDTH))
    return left, left + _WIDTH


def _cell(character: str) -> str:
    """Return what stands for ``character``: itself unless it is a tab or would act on the terminal."""
    if character == "\t":
        return " " * _TAB
    if character.isprintable():
        return character
    category = unicodedata.category(character)
    return " " if category == "Zs" else "\ufffd"


def _cells(shown: str) -> int:
    if shown.isascii():
        return len(shown)
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in shown
    )
