"""The shortened parser says what PyYAML's own says: every event with its marks, and every fault."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from ava.load.pure import PythonParser

TEXTS = [
    "a: 1  # c\n\n  # d\r\n\rb: [1,#e\n 2]\n",
    "a: \"x  \n\n  y\tz \n  \"\nb: 'it\n\n\ts'\n",
    "a: 'it''s\n  b'\nb: \"\\\n  c\\td\"\n",
    'a: "b\n--- c"\n',
    "a: 'b\n...\n'\n",
    "a: |\n  b\n\n   c\n  \n d\n",
    "a: >+2\n\n     b\n   c\n\n\n",
    'a: "no end\n  b\n',
    "a: [\n  # c\n",
    "? a\n: b\n---\nc\n",
    "a:\n\t- b\n",
]
PIECES = st.sampled_from(
    ["a", "b: ", ": ", "- ", "\n", "\n  ", "\n\n", "   ", "\t", "\r\n", "\r", "[", "]", "{", "}", ", ", "? ", " #",
     "#c\n", '"', "'", "''", "|", "|\n", "|2\n", ">-\n", ">+\n  ", "&a ", "*a", "!t ", "---", "\n--- ", "\n...\n", "\\",
     "\\t", "x y", "a: 1\n", '"a\n\n b"', "'c \n d'", "é"]
)  # fmt: skip


class Stock(Reader, Scanner, Parser):
    """PyYAML's parser as it is."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


def told(parser: Stock | PythonParser) -> list[str]:
    """Every event and where it stands, and the fault that ends them."""
    found = []
    try:
        while parser.check_event():
            event = parser.get_event()
            marks = [(mark.index, mark.line, mark.column) for mark in (event.start_mark, event.end_mark)]
            found.append(f"{event!r} {marks} {getattr(event, 'style', None)}")
    except yaml.MarkedYAMLError as error:
        found.append(str(error))
    except ValueError as error:  # an escape beyond Unicode
        found.append(repr(error))
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_a_text(text: str) -> None:
    assert told(PythonParser(text)) == told(Stock(text))


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=20).map(lambda pieces: "".join(pieces) + "\n"))
def test_any_text(text: str) -> None:
    assert told(PythonParser(text)) == told(Stock(text))
