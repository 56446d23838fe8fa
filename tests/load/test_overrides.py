"""Overrides, from the command line and from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ava.errors import SourceError
from ava.load import Source, load_text, render_frame

BASE = "version: 1\nterms:\n  a: {weight: 0.1, size: [1, 2]}\n  b: null\n"


def over(overrides: Mapping[str, Any] | list[str], text: str = BASE) -> Source:
    return load_text(text, "x.yaml", overrides=overrides)


@pytest.mark.parametrize(
    ("item", "path", "value"),
    [
        ("terms.a.weight=0.2", ("terms", "a", "weight"), 0.2),
        ("terms.a.weight=1e-3", ("terms", "a", "weight"), 0.001),
        ("terms.a.weight='1'", ("terms", "a", "weight"), "1"),
        ("terms.a.weight={from: 0, to: 1}", ("terms", "a", "weight"), {"from": 0, "to": 1}),
        ("terms.a.weight.from=0", ("terms", "a", "weight"), {"from": 0}),
        ("terms.a.size=[3]", ("terms", "a", "size"), [3]),
        ("terms.b.weight=1", ("terms", "b"), {"weight": 1}),
        ("terms.b={}", ("terms", "b"), {}),
        ("terms.c.d.e=1", ("terms", "c"), {"d": {"e": 1}}),
        ("terms.a=null", ("terms", "a"), None),
        ("terms.a=", ("terms", "a"), None),
        ("terms.a={}", ("terms", "a"), {"weight": 0.1, "size": [1, 2]}),
        ("terms.a={size: 4}", ("terms", "a"), {"weight": 0.1, "size": 4}),
        ("description=a=b", ("description",), "a=b"),
        ("description=on", ("description",), "on"),
        ("description= x # c", ("description",), "x"),
        ("description='a\n\n b'", ("description",), "a\nb"),
    ],
)
def test_one(item: str, path: tuple[str, ...], value: object) -> None:
    for overrides in ([item], dict([item.split("=", 1)])):
        source = over(overrides)
        node = source.get(path)
        assert node is not None
        data: Any = source.data
        for step in path:
            data = data[step]
        assert data == value
        assert source.findings == ()


def test_later_wins_and_places_are_on_one_line() -> None:
    source = over(["terms.a.weight=1", "terms.a.weight={from: 2}", "x=y"])
    assert source.texts["--set"] == "terms.a.weight=1 terms.a.weight={from: 2} x=y"
    assert str(source.span(("terms", "a", "weight"))) == "--set:1:33"
    assert str(source.span(("terms", "a", "weight", "from"), key=True)) == "--set:1:34"
    assert str(source.span(("x",), key=True)) == "--set:1:43"
    assert str(source.span(("terms", "a", "size"))) == "x.yaml:3:26"
    assert str(source.span(())).startswith("x.yaml:1:1")
    assert str(source.origin(("x",))) == "--set"
    assert render_frame(source.texts["--set"], source.span(("x",))).endswith(" ^")
    entry = source.entry(("terms", "a", "weight"))
    assert entry is not None
    assert entry.over is not None
    assert entry.over.value == 0.1


def test_python_values_stay_as_they_are() -> None:
    source = over({"terms.a.weight": 0.5, "terms": {"c": {"d": [1, "2"], "e": "3"}, "b": None}, "flag": True})
    assert source.data["terms"] == {
        "a": {"weight": 0.5, "size": [1, 2]},
        "b": None,
        "c": {"d": [1, "2"], "e": 3},
    }
    assert source.data["flag"] is True
    assert source.texts["--set"].startswith("terms.a.weight=0.5 terms={")
    assert source.span(("terms", "c", "e")).line == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["terms.a"], "--set terms.a: expected KEY=VALUE"),
        (["=1"], "a part of the key is empty"),
        (["a..b=1"], "a part of the key is empty"),
        ([".a=1"], "a part of the key is empty"),
        (["a=[1"], "--set a=[1: "),
        (["a={b: 1, b: 2}"], "`b` is here twice"),
        (["a=!x 1"], "tags are not supported"),
        (["a=*b"], "no anchor"),
        (["a=b: c: d"], "a `:` cannot stand here"),
        (["a=\0"], "U+0000"),
        (["a=" + "[" * 101], "levels of nesting"),
        ([".".join("a" * 101) + "=1"], "levels of nesting"),
        ([".".join("a" * 60) + "=" + "[" * 60 + "]" * 60], "levels of nesting"),
        (["terms.a.size.0=1"], "`0` would be a list's item"),
        (["extends=moe"], "`extends` cannot be overridden"),
        ({"extends": "moe"}, "`extends` cannot be overridden"),
        ([1], "expected `KEY=VALUE`, found int"),
        ({1: 2}, "expected text as the key, found int"),
        ({"a": object()}, "--set a: expected a plain value, found object"),
        ({"a": {"b": {1: 2}}}, "--set a.b: expected a name as the key"),
        ({"a": "[1"}, "--set a=[1: "),
        ({"a": {"b": "[1"}}, "--set a.b=[1: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read(overrides: Any, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        over(overrides)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_text_is_not_a_list_of_texts() -> None:
    with pytest.raises(SourceError, match="found one text"):
        load_text(BASE, overrides="a=1")


def test_a_value_that_contains_itself() -> None:
    value: dict[str, Any] = {}
    value["a"] = value
    with pytest.raises(SourceError, match="nesting"):
        over({"x": value})


def test_numbers_beyond_floats_are_infinite() -> None:
    assert over({"a": 10**5000}).data["a"] == float("inf")


def refusal(overrides: Mapping[str, Any] | list[str]) -> str:
    """Return what :class:`SourceError` says of ``overrides``, the only error there may be, or nothing."""
    try:
        over(overrides)
    except SourceError as error:
        return str(error)
    return ""


@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_texts(items: list[str]) -> None:
    message = refusal(items)
    assert message.isprintable()
    assert message or over(items).texts["--set"].isprintable()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
def test_any_values(overrides: dict[str, Any]) -> None:
    assert refusal(overrides).isprintable()
