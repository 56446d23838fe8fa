"""Reading: a table of faults with exact places, what must not be a fault, and the same from both parsers."""

from __future__ import annotations

import math
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ava.load.events import has_c_parser
from ava.load.frame import render_frame
from ava.load.read import Document, read_document
from ava.load.source import Source, plain

BOTH = pytest.mark.parametrize("fast", [pytest.param(True, id="libyaml"), pytest.param(False, id="python")])
needs_libyaml = pytest.mark.skipif(not has_c_parser(), reason="PyYAML was built without libyaml")


def read(data: bytes | str, fast: bool | None = None) -> Document:
    if fast and not has_c_parser():
        pytest.skip("PyYAML was built without libyaml")
    return read_document(data, "x.yaml", fast=fast)


def found(document: Document) -> list[tuple[str, str]]:
    return [(finding.name, f"{finding.span.line}:{finding.span.column}") for finding in document.findings]


def data(text: bytes | str, fast: bool | None = None) -> object:
    document = read(text, fast)
    assert not document.findings
    assert document.root is not None
    return plain(document.root)


MEBIBYTE = 1024 * 1024
BOMB = "".join(f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'x'}]\n" for i in range(9))

# text, the findings' names and places, whether the rest could still be read
FAULTS: dict[str, tuple[bytes | str, list[tuple[str, str]], bool]] = {
    "open quote": ('a: 1\nb: "x\nc: 2\n', [("syntax-error", "2:4")], False),
    "open bracket": ("a: 1\nb: {c: 1, d: [2\n", [("syntax-error", "2:14")], False),
    "stray bracket": ("a: ]\n", [("syntax-error", "1:4")], False),
    "bad indent": ("a:\n    b: 1\n  c: 2\n", [("syntax-error", "3:3")], False),
    "colon in a value": ("a: b: c\n", [("syntax-error", "1:5")], False),
    "no colon": ("a: 1\nbcd\ne: 2\n", [("syntax-error", "2:1")], False),
    "percent": ("a: %x\n", [("syntax-error", "1:4")], False),
    "at sign": ("a: @x\n", [("syntax-error", "1:4")], False),
    "bad escape": ('a: "\\q"\n', [("syntax-error", "1:6")], False),
    "escaped half surrogate": ('a: "\\ud800"\n', [("syntax-error", "1:4")], False),
    "escape beyond Unicode": ('a: "\\U00110000"\n', [("syntax-error", "1:7")], False),
    "glued comment": ("a: |# c\n  b\n", [("syntax-error", "1:5")], False),
    "question mark in flow": ("a: {b? c: 1}\n", [("syntax-error", "1:6")], False),
    "long key": ("a" * 2000 + ": 1\n", [("syntax-error", "1:2001")], False),
    "duplicate": (
        "a: 1\nb:\n  c: 1\n  c: 2\n  c: 3\na: 4\n",
        [("duplicate-key", p) for p in ("4:3", "5:3", "6:1")],
        True,
    ),
    "duplicate quoted": ("a: 1\n'a': 2\n", [("duplicate-key", "2:1")], True),
    "duplicate in flow": ("a: {b: 1, é: 2, b: 3}\n", [("duplicate-key", "1:17")], True),
    "duplicate merge": ("a: &a {b: 1}\nc: {<<: *a, <<: *a}\n", [("duplicate-key", "2:13")], True),
    "tab indents": ("a:\n\tb: 1\n", [("tab", "2:1")], False),
    "tab after spaces": ("a:\n  \tb: 1\n", [("tab", "2:3")], False),
    "tab after colon": ("a:\t1\n", [("tab", "1:3")], True),
    "tab in flow": ("a: [1,\t2]\n", [("tab", "1:7")], True),
    "tab in plain text": ("a: b\tc\n", [("tab", "1:5")], True),
    "tab at the end": ("a: 1\t\n", [("tab", "1:5")], True),
    "tab before a comment": ("a: 1 \t# c\n", [("tab", "1:6")], True),
    "tab after an anchor": ('a: &a\t"b"\n', [("tab", "1:6")], True),
    "tab alone on a line": ("a: 1\n\t\nb: 2\n", [("tab", "2:1")], True),
    "tab in a block's indentation": ("a: |\n  b\n \tc\n", [("tab", "3:2")], False),
    "tabs and more": ("a:\t1\na: 2\n", [("tab", "1:3"), ("duplicate-key", "2:1")], True),
    "second document": ("a: 1\n---\nb: 2\n", [("several-documents", "2:1")], True),
    "second after dots": ("a: 1\n...\n# c\nb: 2\n", [("several-documents", "4:1")], True),
    "empty documents": ("---\n---\n", [("several-documents", "2:1")], True),
    "tag": (
        "a: !x 1\nb: !!int 2\nc: !!python/object:os.system {}\n",
        [("tag", p) for p in ("1:4", "2:4", "3:4")],
        True,
    ),
    "non-specific tag": ("a: ! 1\n", [("tag", "1:4")], True),
    "verbatim tag": ("a: !<x> 1\n", [("tag", "1:4")], True),
    "tag handle": ("a: !x!y 1\n", [("tag", "1:4")], False),
    "tag after an anchor": ("a: &b !x 1\n", [("tag", "1:7")], True),
    "tagged mapping": ("a:\n  !!map\n  b: 1\n", [("tag", "2:3")], True),
    "recursive": ("a: &a\n  b: [1, *a]\n", [("recursive-alias", "2:10")], False),
    "undefined alias": ("a: 1\nb: *a\n", [("undefined-alias", "2:4")], False),
    "alias before its anchor": ("a: *b\nc: &b 1\n", [("undefined-alias", "1:4")], False),
    "alias bomb": (BOMB, [("too-many-nodes", "5:25")], False),
    "many items": ("a: [" + "1," * 10_000 + "]\n", [("too-many-nodes", "1:19999")], False),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(6000)), [("too-many-nodes", "5000:8")], False),
    "large": ("#" + "x" * MEBIBYTE, [("file-too-large", "1:1")], False),
    "large bytes": (b"#" + b"x" * MEBIBYTE, [("file-too-large", "1:1")], False),
    "large in bytes only": ("#" + "é" * (MEBIBYTE // 2), [("file-too-large", "1:1")], False),
    "deep flow": ("a: " + "[" * 100 + "]" * 100, [("too-deep", "1:103")], False),
    "deep block": ("".join(" " * i + "a:\n" for i in range(101)), [("too-deep", "101:101")], False),
    "very deep": ("[" * 200_000, [("too-deep", "1:101")], False),
    "deep dashes": ("- " * 200_000, [("too-deep", "1:201")], False),
    "deep by alias": (
        f"a: &a {'[' * 60}{']' * 60}\nb: {'[' * 39}*a{']' * 39}\nc: {'[' * 40}*a{']' * 40}\n",
        [("too-deep", "3:44")],
        False,
    ),
    "Latin-1": (b"a: 1\nb: caf\xe9\n", [("encoding", "2:7")], False),
    "after wide characters": ("a: 😀".encode() + b"\xff\n", [("encoding", "1:5")], False),
    "cut short": (b"a: \xc3", [("encoding", "1:4")], False),
    "encoded surrogate": (b"a: \xed\xa0\x80", [("encoding", "1:4")], False),
    "UTF-16": ("a: 1\n".encode("utf-16"), [("encoding", "1:1")], False),
    "UTF-32": ("a: 1\n".encode("utf-32"), [("encoding", "1:1")], False),
    "UTF-16 without a mark": ("a: 1\n".encode("utf-16-le"), [("control-character", "1:2")], False),
    "NUL": ("a: 1\nb: x\0y\n", [("control-character", "2:5")], False),
    "escape character": ("a: \x1b[31m\n", [("control-character", "1:4")], False),
    "delete": ("a: \x7f\n", [("control-character", "1:4")], False),
    "next line": ("a: x\u0085b: y\n", [("control-character", "1:5")], False),
    "line separator": ("a: x\u2028b: y\n", [("control-character", "1:5")], False),
    "inner mark": ("a: \ufeffx\n", [("control-character", "1:4")], False),
    "surrogate": ("a: \ud800\n", [("control-character", "1:4")], False),
    "number as key": ("1: a\n.5: b\nc: 1\n", [("key-type", "1:1"), ("key-type", "2:1")], True),
    "true as key": ("true: a\n", [("key-type", "1:1")], True),
    "null as key": ("null: a\n", [("key-type", "1:1")], True),
    "nothing as key": ("a:\n  ?\n  : 1\n", [("key-type", "2:4")], True),
    "list as key": ("[a, b]: c\n", [("key-type", "1:1")], True),
    "mapping as key": ("a:\n  ? {b: 1}\n  : c\n", [("key-type", "2:5")], True),
    "twice in a key": (
        "? {b: 1, b: 2}\n: {c: 1, c: 2}\n",
        [("key-type", "1:3"), ("duplicate-key", "1:10"), ("duplicate-key", "2:10")],
        True,
    ),
    "list": ("- a\n", [("not-a-mapping", "1:1")], False),
    "text": ("# c\nabc\n", [("not-a-mapping", "2:1")], False),
    "null": ("null\n", [("not-a-mapping", "1:1")], False),
    "merged scalar": ("a:\n  <<: 1\n", [("merge-key", "2:7")], True),
    "merged list": ("a: &a {b: 1}\nc:\n  <<: [*a, 1]\n", [("merge-key", "3:12")], True),
    "old version": ("%YAML 1.1\n---\na: 1\n", [("directive", "1:1")], True),
    "tag directive": ("# c\n%TAG ! tag:x,2000:\n---\na: 1\n", [("directive", "2:1")], True),
    "all at once": (
        "a: !x 1\na: 2\n3: 4\nb: [\n",
        [("tag", "1:4"), ("duplicate-key", "2:1"), ("key-type", "3:1"), ("syntax-error", "4:5")],
        False,
    ),
}


@BOTH
@pytest.mark.parametrize("case", FAULTS)
def test_fault(case: str, fast: bool) -> None:
    text, expected, readable = FAULTS[case]
    document = read(text, fast)
    assert found(document) == expected
    assert (document.root is not None) == readable
    assert all(finding.severity == "error" and finding.message for finding in document.findings)
    for finding in document.findings:
        assert finding.message[:300].isprintable()
        assert len(finding.message) < 300
        render_frame(document.text, finding.span)


@BOTH
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("---\n", {}),
        ("---\na: 1\n...\n", {"a": 1}),
        ("a: 1\n...\n# the end\n...\n", {"a": 1}),
        ("%YAML 1.2\n---\na: 1\n", {"a": 1}),
        (b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\rb: 2\r", {"a": 1, "b": 2}),
        (
            "a: 'x\ty'\nb: \"\t\"\nc: |\n  \tx\ty\t\n# \t c\nd: 1 # c\tc\n",
            {"a": "x\ty", "b": "\t", "c": "\tx\ty\t\n", "d": 1},
        ),
        ("a: >- # c\tc\n  x\n", {"a": "x"}),
        ("a: [1, # c\t]\n 2]\n", {"a": [1, 2]}),
        ("a: it's # don't\tcare\n", {"a": "it's"}),
        ('{"a": [1, 2.5, null, true], "b": {}}', {"a": [1, 2.5, None, True], "b": {}}),
        ("a: &a {b: 1}\nc: *a\nd: [*a, *a]\n", {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}),
        ("a: &a 1\nb: &a 2\nc: *a\n", {"a": 1, "b": 2, "c": 2}),
        ("a: &a [&a x, *a]\nb: *a\n", {"a": ["x", "x"], "b": "x"}),
        ("&k a: 1\nb: *k\n", {"a": 1, "b": "a"}),
        ("a: &k b\n*k : 1\n", {"a": "b", "b": 1}),
        (
            "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {z: 5, <<: [*b, *a]}\n",
            {"a": {"x": 1, "y": 2}, "b": {"y": 3, "z": 4}, "c": {"x": 1, "y": 3, "z": 5}},
        ),
        ("a: {'<<': 1}\n", {"a": {"<<": 1}}),
        ("on: off\nyes: no\n", {"on": "off", "yes": "no"}),
        ("a: '1'\nb: \"true\"\nc: |\n  1\n", {"a": "1", "b": "true", "c": "1\n"}),
        ("a: " + "[" * 99 + "]" * 99, None),
        ("a: '" + "x" * 500_000 + "'", None),
        ("a: [" + "1, " * 9_000 + "]", None),
        ('a: "\\0\\x1b"\n', {"a": "\0\x1b"}),
        ("a: 名前😀\né: 1\n", {"a": "名前😀", "é": 1}),
    ],
)
def test_accepted(text: bytes | str, value: object, fast: bool) -> None:
    result = data(text, fast)
    if value is not None:
        assert result == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("~", "null", "Null", "NULL", "")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *((text, text) for text in ("on", "off", "yes", "no", "Y", "n", "nULL", "tRUE", "None")),
        *((text, text) for text in ("2026-01-02", "1:30", "190:20:30", "1_000", "0b11", "0o8", "0X1F", "+0x1F")),
        *((text, text) for text in ("1e", "e3", ".", "+", "1.5.2", "+.", ".e1", "--1", "1 2", "٣", "nan", "inf")),
        ("0", 0), ("017", 17), ("-017", -17), ("+1", 1), ("00", 0), ("-0", 0), ("0o17", 15), ("0x1F", 31),
        ("0xff", 255),
        ("1e-3", 0.001), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-1.5E+2", -150.0), ("+.5", 0.5), ("0.1", 0.1),
        (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf), ("1e999", math.inf), ("-1e999", -math.inf),
        ("9" * 5000, math.inf), ("-" + "9" * 5000, -math.inf), ("0x" + "F" * 5000, math.inf),
        ("0o" + "7" * 5000, math.inf),
        ("0" * 5000 + "7", 7), ("9" * 300, int("9" * 300)), ("9" * 309, math.inf),
    ],
)  # fmt: skip
def test_scalar(text: str, value: object) -> None:
    result = data(f"a: {text}\n")
    assert result == {"a": value}
    assert type(result["a"]) is type(value)


def test_nan() -> None:
    result = data("a: [.nan, .NaN, .NAN]\n")
    assert isinstance(result, dict)
    assert all(math.isnan(item) for item in result["a"])


SPANS = """\
version: 1
"é k": 'x'   # c
terms: &t
  a: {b: 12, c: [x, yy]}
  d: |
    text

    more

e: *t
f: &n 3
g:
h: plain
  again
"""


@BOTH
def test_spans(fast: bool) -> None:
    root = read(SPANS, fast).root
    assert root is not None

    def place(*path: str | int, key: bool = False) -> str:
        span = Source("x.yaml", root, ()).span(path, key=key)
        return f"{span.line}:{span.column}-{span.end_line}:{span.end_column}"

    assert place() == "1:1-14:8"
    assert place("version", key=True) == "1:1-1:8"
    assert place("version") == "1:10-1:11"
    assert place("é k", key=True) == "2:1-2:6"
    assert place("é k") == "2:8-2:11"
    assert place("terms") == "4:3-8:9"
    assert place("terms", "a") == "4:6-4:25"
    assert place("terms", "a", "c", 1) == "4:21-4:23"
    assert place("terms", "d") == "5:6-8:9"
    assert place("e") == "10:4-10:6"
    assert place("e", "a", "b") == "4:10-4:12"
    assert place("f") == "11:7-11:8"
    assert place("g") == "12:3-12:3"
    assert place("h") == "13:4-14:8"


@BOTH
def test_findings_carry_the_path(fast: bool) -> None:
    document = read("a:\n  b: [1, {c: !x 1}]\n  b: 2\n", fast)
    assert [finding.path for finding in document.findings] == [("a", "b", 1, "c"), ("a",)]


def test_what_a_merge_key_hides_is_kept() -> None:
    root = read("a: &a {b: {c: 1}}\nd: {<<: *a, b: null}\n").root
    assert root is not None
    entry = Source("x.yaml", root, ()).entry(("d", "b"))
    assert entry is not None
    assert entry.over is not None
    assert plain(entry.over) == {"c": 1}


@pytest.mark.parametrize(
    "text",
    [
        "[" * MEBIBYTE, "a: " + "{" * (MEBIBYTE - 3), "? " * (MEBIBYTE // 2), "\t\n" * (MEBIBYTE // 2),
        "%X\n" * (MEBIBYTE // 3),
        "*a " * (MEBIBYTE // 3), "a: |\n" + " x\n" * (MEBIBYTE // 3 - 9) + "%", "a: 1\n" * (MEBIBYTE // 5),
        ":" * MEBIBYTE,
        "a: 0x" + "F" * (MEBIBYTE - 5), BOMB * 1000, "#" * MEBIBYTE,
    ],
    ids=range(12),
)  # fmt: skip
def test_the_worst_mebibytes_end_soon(text: str) -> None:
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 15


@needs_libyaml
def test_faster_than_pure_safe_load() -> None:
    text = "version: 1\nterms:\n" + "".join(f"  t{i}:\n    weight: 0.{i}\n    size: {i} # c\n" for i in range(13))

    def seconds(action: object) -> float:
        best = math.inf
        for _ in range(5):
            start = time.process_time()
            for _ in range(10):
                action(text)  # type: ignore[operator]
            best = min(best, time.process_time() - start)
        return best

    assert seconds(read) < 0.7 * seconds(yaml.safe_load)


PIECES = st.sampled_from(
    ["a", "b", ": ", ":", "- ", "\n", "\n  ", "\n ", "[", "]", "{", "}", ", ", "? ", "?", " #", '"', "'", "|", ">-",
     "|2", "&a ",
     "*a", "<<: ", "!t ", "!!str ", "\t", "\r\n", "\r", "---", "...", "%", "\\", "1", "1e3", "é", "😀", "\0",
     "\ufeff", "\ud800",
     "<<", "~", "\n---\n", "%YAML 1.1\n", "\\x", "\\ud800", "\u2028", "# \t\n", "a: 1\n", "b:\n"]
)  # fmt: skip


def check(text: bytes | str) -> None:
    fast, slow = read(text, has_c_parser()), read(text, False)
    assert repr(fast) == repr(slow)
    assert slow.root is not None or slow.findings
    lines = slow.text.count("\n") + slow.text.count("\r") + 1
    for finding in slow.findings:
        assert 1 <= finding.span.line <= lines
        assert finding.span.column >= 1
        assert (finding.span.line, finding.span.column) <= (finding.span.end_line, finding.span.end_column)
        render_frame(slow.text, finding.span)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_any_pieces(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(text: bytes) -> None:
    check(text)


@settings(deadline=None)
@given(st.integers(0, len(SPANS)), st.integers(0, 3), st.lists(PIECES, max_size=3).map("".join))
def test_any_edit(start: int, length: int, piece: str) -> None:
    check(SPANS[:start] + piece + SPANS[start + length :])


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
TREES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(deadline=None)
@given(TREES, st.booleans() | st.none(), st.sampled_from(["'", '"']))
def test_what_is_dumped_is_read(tree: object, flow: bool | None, style: str) -> None:
    """Numbers are left plain, text quoted, so that both YAML versions agree on what they are."""

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: Dumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    dumped = yaml.dump(tree, Dumper=Dumper, default_flow_style=flow, allow_unicode=False, width=40)
    check(dumped)
    assert data(dumped) == tree
