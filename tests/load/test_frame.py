"""The picture of a position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ava.errors import Span
from ava.load.frame import render_frame, split_lines


def at(line: int, start: int, end: int, end_line: int | None = None) -> Span:
    return Span("x.yaml", line, start, end_line or line, end)


FRAMES = {
    "as specified": (
        "\n" * 12 + "  ngram_penalty:\n    windw: 50\n",
        at(14, 5, 10),
        "   13 |   ngram_penalty:\n   14 |     windw: 50\n      |     ^^^^^",
    ),
    "first line": ("a: 1\n", at(1, 4, 5), "   1 | a: 1\n     |    ^"),
    "an empty line before": ("\na: 1\n", at(2, 1, 2), "   1 |\n   2 | a: 1\n     | ^"),
    "no length": ("a:\nb: 1", at(1, 3, 3), "   1 | a:\n     |   ^"),
    "wide characters": ("名前: 値x\n", at(1, 5, 7), "   1 | 名前: 値x\n     |       ^^^"),
    "combining": ("e\u0301: x\n", at(1, 5, 6), "   1 | e\u0301: x\n     |    ^"),
    "tabs": ("a:\tx\n", at(1, 4, 5), "   1 | a:    x\n     |       ^"),
    "a tab itself": ("a:\tx\n", at(1, 3, 4), "   1 | a:    x\n     |   ^^^^"),
    "terminal codes": ("a: \x1b[31m\u202e\n", at(1, 4, 5), "   1 | a: \ufffd[31m\ufffd\n     |    ^"),
    "several lines": ("a:\n  b: 1 \n  c: 2\n", at(2, 3, 7, 3), "   1 | a:\n   2 |   b: 1\n     |   ^^^^"),
    "past the end": ("a: 1\n", at(2, 1, 1), "   1 | a: 1\n   2 |\n     | ^"),
    "far past the end": ("a: 1\n", at(9, 3, 3), "   9 |\n     |   ^"),
    "CR LF": ("a: 1\r\nb: 2\r\n", at(2, 4, 5), "   1 | a: 1\n   2 | b: 2\n     |    ^"),
}


@pytest.mark.parametrize("case", FRAMES)
def test_frame(case: str) -> None:
    text, span, picture = FRAMES[case]
    assert render_frame(text, span) == picture


def test_a_long_line_is_cut_around_the_span() -> None:
    text = "x" * 5000 + "HERE" + "y" * 5000 + "\n"
    rows = render_frame(text, at(1, 5001, 5005)).split("\n")
    column = rows[1].index("^")
    assert rows[0][column : column + 4] == "HERE"
    assert rows[1].endswith("^^^^")
    assert max(map(len, rows)) < 140
    assert rows[0].count("…") == 2


def test_lines_end_as_positions_count_them() -> None:
    assert split_lines("a\nb\r\nc\rd\x0be\x85f\u2028g") == ["a", "b", "c", "d\x0be\x85f\u2028g"]


@given(st.text(), st.integers(1, 9), st.integers(1, 200), st.integers(0, 3), st.integers(1, 200))
def test_any_span_in_any_text(text: str, line: int, column: int, lines: int, end: int) -> None:
    picture = render_frame(text, at(line, column, end, line + lines))
    assert "^" in picture
    assert picture.replace("\n", "").isprintable()
