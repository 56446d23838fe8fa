"""Texts that somebody may hand over by mistake or on purpose: the corpus, changed at random, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator

PIECES = (
    *("a", "version", "terms", "z_loss", "weight", "extends", "<<", "standard", "./x.yaml", "on", "null", "~", "1e999"),
    *(
        "0.1",
        "-1",
        "017",
        "0x1F",
        "0o8",
        ".inf",
        "-.nan",
        "1_000",
        "1:30",
        "9" * 400,
        "2026-01-02",
        "4.0",
        "+.5",
        "--1",
    ),
    *(
        ": ",
        ":",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n      ",
        "\n\n",
        " ",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        "? ",
        "?",
        " #",
        "#",
    ),
    *(
        '"',
        "'",
        "|",
        ">",
        "|-\n",
        ">+2\n ",
        "&a ",
        "*a",
        "&a &b ",
        "*a : ",
        "!t ",
        "!!int ",
        "!",
        "%YAML 1.1\n",
        "%X\n",
    ),
    *(
        "---\n",
        "...\n",
        "--- ",
        "@",
        "`",
        "\\",
        "\\x",
        "\\u0000",
        "\\ud800",
        "\t",
        "\r\n",
        "\r",
        "\0",
        "\x07",
        "\x1b[31m",
    ),
    *(
        "\x7f",
        "\x85",
        "\xa0",
        "\u2028",
        "\u2029",
        "\u200b",
        "\u202e",
        "\ufeff",
        "\ufffe",
        "\ud800",
        "é",
        "e\u0301",
        "😀",
        "名",
    ),
    *("{}", "[]", "{<<: *a}", "&a [*a]", "[" * 40, "{a: " * 40, "- " * 40, "x" * 300, "a.b.c", "terms:\n  z_loss:\n"),
)
CODECS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-7")


def mutate(text: str, source: random.Random, others: list[str]) -> str:
    """Return ``text`` with one to four changes: inserted, deleted, swapped, repeated, spliced with another text."""
    for _ in range(source.randint(1, 4)):
        start = source.randint(0, len(text))
        stop = min(len(text), start + source.choice((0, 1, 1, 2, 5, 20, 100)))
        change = source.randrange(8)
        if change < 3:
            text = text[:start] + source.choice(PIECES) + text[stop:]
        elif change == 3:
            text = text[:start] + text[stop:]
        elif change == 4:
            text = text[:start] + text[start:stop] * source.choice((2, 3, 30)) + text[stop:]
        elif change == 5:
            lines = text.split("\n")
            source.shuffle(lines)
            text = "\n".join(lines)
        elif change == 6:
            other = source.choice(others)
            text = text[:start] + other[source.randint(0, len(other)) :]
        else:
            line_break = source.choice(("\r\n", "\r", "\n\n", "\u2028", ""))
            text = text.replace("\n", line_break)
    return text


def encode(text: str, source: random.Random) -> bytes:
    """Return the bytes of ``text``, now and then in the wrong encoding or with wrong bytes."""
    codec = source.choice(CODECS) if source.random() < 0.1 else "utf-8"
    data = (
        text.encode(codec, "replace" if codec in ("latin-1", "cp1252") else "surrogatepass")
        if codec != "utf-7"
        else (text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode("utf-7"))
    )
    if source.random() < 0.05:
        at = source.randint(0, len(data))
        data = data[:at] + source.randbytes(source.randint(1, 4)) + data[at:]
    return data


def cases(texts: list[str], count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` mutated texts."""
    source = random.Random(seed)
    for _ in range(count):
        yield encode(mutate(source.choice(texts), source, texts), source)
