"""What somebody may send to make a reader hang, crash, or believe something: refused soon, with its place."""

from __future__ import annotations

import time

import pytest

from ava.config import validate
from ava.load import load_text

MEBIBYTE = 1024 * 1024
V = b"version: 1\n"
OTHERS = ("focal_loss", "ngram_penalty", "eos_penalty", "mtp_loss", "contrastive_loss")
LAUGHS = b"a0: &a0 [x, x, x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b"*a%d, " % (i - 1) * 9) for i in range(1, 9))
CHAIN = b"a0: &a0 {x: 1}\n" + b"".join(
    b"a%d: &a%d {<<: [*a%d, *a%d], k%d: 1}\n" % (i, i, i - 1, i - 1, i) for i in range(1, 60)
)

REFUSED: dict[str, tuple[bytes, str]] = {
    "an alias bomb": (LAUGHS, "5:20 AVA008"),
    "a ladder of merge keys": (CHAIN, "11:17 AVA008"),
    "an alias in its own mapping": (V + b"terms: &t {z_loss: *t}\n", "2:20 AVA006"),
    "a merge key of its own mapping": (V + b"terms: &t {<<: *t}\n", "2:16 AVA006"),
    "nesting in flow": (V + b"terms: " + b"[" * 5000, "2:107 AVA010"),
    "nesting in flow, a mebibyte of it": (b"[" * MEBIBYTE, "1:101 AVA010"),
    "nesting of mappings in flow": (V + b"terms: " + b"{a: " * 5000, "2:404 AVA010"),
    "nesting in blocks": (V + b"".join(b" " * i + b"a:\n" for i in range(200)), "102:101 AVA010"),
    "nesting in block lists": (V + b"a:\n" + b"- " * 5000 + b"\n", "3:199 AVA010"),
    "nesting in keys": (V + b"? " * 5000 + b"\n", "2:201 AVA010"),
    "more than a mebibyte": (V + b"#" * MEBIBYTE, "1:1 AVA009"),
    "ten mebibytes": (V * MEBIBYTE, "1:1 AVA009"),
    "a list of ten thousand": (V + b"terms: {x: [" + b"1," * 10000 + b"]}\n", "2:19999 AVA008"),
    "thousands of keys": (V + b"".join(b"k%d: 1\n" % i for i in range(6000)), "5000:8 AVA008"),
    "UTF-16 with its mark": ("version: 1\n".encode("utf-16"), "1:1 AVA011"),
    "UTF-16, little end first": ("version: 1\n".encode("utf-16-le"), "1:2 AVA012"),
    "UTF-16, big end first": ("version: 1\n".encode("utf-16-be"), "1:1 AVA012"),
    "UTF-32": ("version: 1\n".encode("utf-32"), "1:1 AVA011"),
    "Latin-1": (V + "description: Verlustfunktion für alle\n".encode("latin-1"), "2:31 AVA011"),
    "an overlong slash": (V + b"description: \xc0\xaf\n", "2:14 AVA011"),
    "half a surrogate pair in UTF-8": (V + b"description: \xed\xa0\x80\n", "2:14 AVA011"),
    "beyond Unicode": (V + b"description: \xf5\x80\x80\x80\n", "2:14 AVA011"),
    "a cut character": (V + b"description: \xf0\x9f\x98", "2:14 AVA011"),
    "a null": (V + b"description: a\0b\n", "2:15 AVA012"),
    "nulls only": (b"\0" * 5000, "1:1 AVA012"),
    "an escape sequence": (V + b"description: \x1b[2J\n", "2:14 AVA012"),
    "a second byte order mark": ("\ufeff\ufeffversion: 1\n".encode(), "1:1 AVA012"),
    "a byte order mark inside": ("version: 1\ndescription: \ufeff\n".encode(), "2:14 AVA012"),
    "a next-line": ("version: 1\x85balancing: fixed\n".encode(), "1:11 AVA012"),
    "a line separator": ("version: 1\u2028balancing: fixed\n".encode(), "1:11 AVA012"),
    "a paragraph separator in quotes": ('version: 1\ndescription: "\u2029"\n'.encode(), "2:15 AVA012"),
    "code": (V + b"description: !!python/object/new:os.system ['true']\n", "2:14 AVA005"),
    "a tag that a directive makes": (b"%TAG ! tag:x,2000:\n---\nversion: !int 1\n", "1:1 AVA016"),
    "a version of YAML with many digits": (b"%YAML 1." + b"9" * 5000 + b"\n---\nversion: 1\n", "1:1 AVA016"),
    "an escape beyond Unicode": (V + b'description: "\\U00110000"\n', "2:17 AVA001"),
    "an escape of half a pair": (V + b'description: "\\ud800"\n', "2:14 AVA001"),
    "a mebibyte of an open quote": (V + b'description: "' + b"a\n" * (MEBIBYTE // 2 - 100), "2:14 AVA001"),
    "a mebibyte of colons": (V + b": " * (MEBIBYTE // 2 - 100), "2:1 AVA001"),
    "a mebibyte of an anchor": (V + b"a: &" + b"a" * (MEBIBYTE - 100) + b" 1\n", "2:1 AVA101"),
    "a mebibyte of a key": (V + b"? " + b"a" * (MEBIBYTE - 100) + b"\n: 1\n", "2:3 AVA101"),
    "a mebibyte of a plain key": (V + b"a" * (MEBIBYTE - 100) + b": 1\n", "2:1 AVA001"),
    "a mebibyte of a word": (V + b"balancing: " + b"a" * (MEBIBYTE - 100), "2:12 AVA104"),
    "a mebibyte of digits": (V + b"model: {vocab_size: " + b"9" * (MEBIBYTE - 100) + b"}", "2:21 AVA106"),
    "a mebibyte of hexadecimal digits": (V + b"model: {vocab_size: 0x" + b"F" * (MEBIBYTE - 100) + b"}", "2:21 AVA106"),
    "a mebibyte of octal digits": (V + b"model: {vocab_size: 0o" + b"7" * (MEBIBYTE - 100) + b"}", "2:21 AVA106"),
    "a mebibyte of an exponent": (V + b"terms: {z_loss: {weight: 1e" + b"9" * (MEBIBYTE - 100) + b"}}", "2:26 AVA106"),
    "an exponent": (V + b"terms: {z_loss: {weight: 1e999999}}", "2:26 AVA106"),
    "digits below zero": (V + b"model: {ignore_index: -" + b"9" * 100000 + b"}", "2:23 AVA106"),
    "a version of many digits": (b"version: 1" + b"0" * 10000, "1:10 AVA103"),
    "a mebibyte of a parent's name": (V + b"extends: " + b"a" * (MEBIBYTE - 100), "2:10 AVA020"),
    "a mebibyte of a parent's path": (V + b"extends: ./" + b"a" * (MEBIBYTE - 100), "2:10 AVA021"),
    "thousands of unknown parents": (V + b"extends: [" + b"standrad," * 9000 + b"]", "2:11 AVA020"),
    "thousands of missing parents": (V + b"extends: [" + b"./x.yaml," * 9000 + b"]", "2:11 AVA021"),
    "thousands of unknown terms": (
        V + b"terms:\n" + b"".join(b"  z_losss%d: {}\n" % i for i in range(3000)), "3:3 AVA101",
    ),
    "a mebibyte of comments with tabs": (V + b"#\ta\n" * (MEBIBYTE // 4 - 100) + b"x: [\n", "262046:5 AVA001"),
    "a mebibyte of quoted tabs": (
        V + b'description: "' + b"a\tb\n" * (MEBIBYTE // 4 - 100) + b'"\n: 1\n', "262047:1 AVA001",
    ),
    "a mebibyte of text before a tab": (
        V + b"description: |\n" + b"  text\n" * (MEBIBYTE // 7 - 200) + b"x:\t1\n y: 2\n", "149599:3 AVA003",
    ),
    "a mebibyte of keys and comments before a tab": (
        V + b"".join(b"k%d: 1\n" % i for i in range(4900)) + b"#c\n" * 330000 + b"a:\t[\n", "334902:3 AVA003",
    ),
    "thousands of wrong numbers": (
        V + b"terms: {moe_balance_loss: {target_expert_usage: [" + b"x," * 9000 + b"]}}", "2:50 AVA103",
    ),
    "thousands of tags": (V + b"x: [" + b"!t a," * 9000 + b"]", "2:1 AVA101"),
    "one wrong value in many aliases": (
        V + b"terms:\n  z_loss: &w {weight: on}\n" + b"".join(f"  {name}: *w\n".encode() for name in OTHERS),
        "3:23 AVA103",
    ),
}  # fmt: skip

TAKEN: dict[str, bytes] = {
    "a mebibyte of a comment": V + b"#" * (MEBIBYTE - 100),
    "a mebibyte of line breaks": V + b"\n" * (MEBIBYTE - 100),
    "a mebibyte of spaces": V + b" " * (MEBIBYTE - 100),
    "a mebibyte of text": V + b"description: |\n" + b"  text\n" * (MEBIBYTE // 7 - 100),
    "a mebibyte of escapes": V + b'description: "' + b"\\t" * (MEBIBYTE // 2 - 100) + b'"',
    "a mebibyte of a quote with a tab": V + b'description: "\t' + b"a " * (MEBIBYTE // 2 - 100) + b'"',
    "a mebibyte of decimals": V + b"terms: {z_loss: {weight: 0." + b"3" * (MEBIBYTE - 100) + b"}}",
    "a mebibyte of zeros": V + b"model: {vocab_size: " + b"0" * (MEBIBYTE - 100) + b"1}",
    "carriage returns alone": b"version: 1\rterms:\r  z_loss: {}\r",
    "a byte order mark": b"\xef\xbb\xbfversion: 1\n",
    "a tiny exponent": V + b"terms: {z_loss: {weight: 1e-999999}}",
    "thousands of times the same parent": V + b"extends: [" + b"standard," * 4000 + b"]",
}


def within_a_second(data: bytes) -> list[str]:
    """Return the errors of ``data`` as ``LINE:COLUMN CODE``."""
    start = time.process_time()
    found = validate(load_text(data, "x.yaml"))[1]
    assert time.process_time() - start < 1
    return [f"{item.span.line}:{item.span.column} {item.code}" for item in found if item.severity == "error"]


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_at_its_place(name: str) -> None:
    data, first = REFUSED[name]
    assert within_a_second(data)[0] == first


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_only_large_or_strange(name: str) -> None:
    assert within_a_second(TAKEN[name]) == []


def test_one_mistake_in_many_aliases_is_one_finding() -> None:
    assert len(within_a_second(REFUSED["one wrong value in many aliases"][0])) == 1
