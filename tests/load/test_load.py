"""The front door: paths, presets, texts and mappings; what raises and what is a finding."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ava.errors import Rule, SourceError
from ava.load import DICT, RULES, Source, load, load_text, presets
from ava.load.read import read_document


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "standard.yaml").write_text("version: 1\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(presets, "data_folder", lambda name: shipped)
    monkeypatch.delenv("AVA_PRESET_PATH", raising=False)


def found(source: Source) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(finding.name, finding.path) for finding in source.findings]


def test_a_text_is_a_preset_unless_it_looks_like_a_path() -> None:
    Path("standard").write_text("version: 2\n")
    Path("other").write_text("version: 3\n")
    assert load("standard").data == {"version": 1}
    assert load("./standard").data == {"version": 2}
    assert load(Path("standard")).data == {"version": 2}
    with pytest.raises(SourceError, match=r"no preset is named `other`; there are standard; .* is `\./other`"):
        load("other")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("standrad", "did you mean `standard`?"),
        ("", "no preset is named ``"),
        ("./none.yaml", "none.yaml: No such file"),
        (Path("none"), "none: No such file"),
        (Path(), ".: Is a directory"),
        ("a\0.yaml", "embedded null byte"),
        ("x" * 5000 + ".yaml", "File name too long"),
        ("version: 1\nterms: {}\n", "found several lines"),
        (3, "found int"),
        (None, "found NoneType"),
    ],
)
def test_nothing_to_read(source: Any, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        load(source)
    assert message in str(caught.value)


def test_what_a_file_contains_never_raises() -> None:
    Path("x.yaml").write_bytes(b"\xff\xfe")
    source = load("x.yaml")
    assert [str(finding) for finding in source.findings] == [
        "x.yaml:1:1: error AVA011 encoding: expected UTF-8, found UTF-16 text; save the file as UTF-8"
    ]
    assert source.data == {}
    assert not source.readable
    assert source.files[0].has_version  # for all that is known


def test_a_preset_under_the_current_folder_has_a_relative_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    source = load("standard")
    assert source.name == str(Path("shipped", "standard.yaml"))
    assert source.files[0].preset == "standard"
    assert str(source.origin(("version",))) == "preset `standard`"
    assert not source.origin(("version",)).inherited


def test_absent_paths_give_the_nearest_place() -> None:
    source = load_text("version: 1\nterms:\n  a: {b: [1]}\n", "x.yaml")
    assert str(source.span(("terms", "a", "zzz"))) == "x.yaml:3:6"
    assert str(source.span(("terms", "a", "zzz"), key=True)) == "x.yaml:3:6"
    assert str(source.span(("terms", "a", "b", 4))) == "x.yaml:3:10"
    assert str(source.span(("terms", "a", "b", 0, "c"))) == "x.yaml:3:11"
    assert str(source.span(("nope", "a"))) == "x.yaml:1:1"
    assert source.get(("terms", "a", "b", 0)) is not None
    assert source.get(("nope",)) is None
    assert source.entry(()) is None


def test_data_is_fresh() -> None:
    source = load_text("a: &a {b: [1]}\nc: *a\n")
    source.data["a"]["b"].append(2)
    assert source.data == {"a": {"b": [1]}, "c": {"b": [1]}}


class Text(str):
    def __str__(self) -> str:
        return "not this"


def test_a_mapping() -> None:
    source = load({"version": 1, "a": {"b": (1, 2.5, None, True, "x")}, "c": UserDict(d=1), "e": Text("word")})
    assert source.data == {"version": 1, "a": {"b": [1, 2.5, None, True, "x"]}, "c": {"d": 1}, "e": "word"}
    assert type(source.data["e"]) is str
    assert source.findings == ()
    assert str(source.span(("a", "b", 0))) == "<dict>:1:1"
    assert str(source.origin(("a",))) == "<dict>"
    assert source.name == DICT
    assert DICT not in source.texts


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


def bomb() -> dict[str, Any]:
    value: Any = 1
    for _ in range(20):
        value = {"a": value, "b": value, "c": value}
    return {"x": value}


@pytest.mark.parametrize(
    ("value", "expected", "data"),
    [
        ({"a": object(), "b": 1}, [("not-plain", ("a",))], {"b": 1}),
        ({"a": [1, {2}, b"x"]}, [("not-plain", ("a", 1)), ("not-plain", ("a", 2))], {"a": [1]}),
        ({"a": "\ud800"}, [("not-plain", ("a",))], {}),
        ({"a": 1j, "b": Path("x")}, [("not-plain", ("a",)), ("not-plain", ("b",))], {}),
        ({1: 2, None: 3, "a": {True: 1}}, [("key-type", ()), ("key-type", ()), ("key-type", ("a",))], {"a": {}}),
        ({"a": 10**5000, "b": math.inf}, [], {"a": math.inf, "b": math.inf}),
        ({"extends": "nope"}, [("unknown-preset", ("extends",))], {}),
        ({"extends": ["standard"]}, [], {"version": 1}),
        ({"a": [0] * 10_001}, [("too-many-nodes", ("a", 9997))], {}),
    ],
)
def test_what_a_mapping_may_not_hold(value: dict[Any, Any], expected: object, data: object) -> None:
    source = load(value)
    assert found(source) == expected
    assert source.data == data


def test_mappings_are_bounded() -> None:
    assert [finding.name for finding in load(cyclic()).findings] == ["too-deep"]
    assert [finding.name for finding in load(bomb()).findings] == ["too-many-nodes"]


@pytest.mark.parametrize("depth", [99, 100])
def test_text_and_mapping_agree_on_what_is_too_deep(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    text = "a: " + "[" * depth + "1" + "]" * depth
    assert (
        [finding.name for finding in load({"a": value}).findings]
        == [finding.name for finding in load_text(text).findings]
        == (["too-deep"] if depth == 100 else [])
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_any_plain_mapping_comes_through(value: Any) -> None:
    assert load({"a": value}).data == {"a": value}


def test_rules_are_documented_and_unique() -> None:
    assert RULES
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    assert [rule.code for rule in RULES] == sorted(rule.code for rule in RULES)
    for rule in RULES:
        assert rule.code.startswith("AVA0")
        titles = [line for line in rule.doc.splitlines() if line.startswith("## ")]
        assert titles == ["## What it does", "## Why is this bad", "## Example", "## Use instead"]


# These samples need bytes, a Python object or another file, so their text alone shows nothing.
ELSEWHERE = {"too-many-nodes", "file-too-large", "too-deep", "encoding", "control-character", "not-plain"}
ELSEWHERE |= {"missing-parent", "circular-extends"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_samples_show_what_they_say(rule: Rule) -> None:
    bad, good = (block.split("```")[0] for block in rule.doc.split("```yaml\n")[1:])
    if rule.name not in ELSEWHERE:
        assert [finding.name for finding in load_text(bad).findings] == [rule.name]
    Path("base.yaml").write_text("version: 1\n")
    assert load_text(good).findings == ()


def test_no_yaml_and_no_torch_until_something_is_read() -> None:
    code = "import sys, ava.load; print(sorted({'yaml', 'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    root = Path(read_document.__code__.co_filename).parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "[]"
