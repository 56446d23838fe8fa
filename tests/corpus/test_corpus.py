"""Every file of the corpus gets exactly the findings that the specification wants, each at its place."""

from __future__ import annotations

import pytest

from ava.config import validate
from ava.config.quick import is_surely_valid
from ava.load import load_text
from tests.corpus.files import BAD, EXPECTED, GOOD


def errors(data: bytes) -> list[str]:
    found = validate(load_text(data, "x.yaml"))[1]
    return [f"{item.span.line}:{item.span.column} {item.code}" for item in found if item.severity == "error"]


def test_every_bad_file_says_what_is_expected() -> None:
    assert set(BAD) == set(EXPECTED)


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert errors(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    assert errors(BAD[name]) == EXPECTED[name]


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_the_quick_answer_is_the_right_one(name: str) -> None:
    assert is_surely_valid(load_text({**GOOD, **BAD}[name])) == (name in GOOD)
