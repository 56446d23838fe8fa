"""What can be wrong with a text before its grammar matters: bytes, characters, directives and tabs."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from ava.errors import Finding, Span
from ava.load import rules

__all__ = [
    "MAX_BYTES",
    "Lines",
    "Scalar",
    "decode",
    "directives",
    "forbidden_character",
    "misplaced_tabs",
    "shown",
    "tabs_matter",
    "too_large",
]

MAX_BYTES = 1024 * 1024
MAX_REPEATS = 100  # findings of one kind that a machine-made file could have by the hundred thousand

Scalar = tuple[int, int, str]  # where a scalar starts and ends in its text, and its style: "", '"', "'", "|" or ">"

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
# YAML's printable characters, less those that its versions 1.1 and 1.2 (or two parsers) count differently: the
# next-line, line and paragraph separators, and a byte order mark inside the text.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"%[^\r\n]*")
_BLANK = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r)")
_ACCEPTED_DIRECTIVE = re.compile(r"%YAML +1\.2[ \t]*(?:#.*)?")
_COMMENT = re.compile(r"(?<![^ \r\n])#[^\r\n]*")
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*(?: +#[^\r\n]*)?")
_OTHER_BOM = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def shown(text: str, limit: int = 60) -> str:
    """Return ``text`` as a message may quote it: shortened, and with escapes for what does not print.

    >>> shown("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    kept = text[:limit]
    if not kept.isprintable():
        kept = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in kept)
    return kept if len(text) <= limit else kept + "…"


class Lines:
    """The lines of a text: turns indices into spans. LF, CR LF or CR ends a line."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._starts = [0, *map(re.Match.end, _LINE_BREAK.finditer(text))]

    def position(self, index: int) -> tuple[int, int]:
        """Return the line and column, from 1, of the character at ``index``."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def span(self, start: int, end: int) -> Span:
        """Return the span from ``start`` to ``end`` (exclusive)."""
        return Span(self.file, *self.position(start), *self.position(end))


def too_large(data: bytes | str, file: str) -> Finding | None:
    """Return the finding for more than a mebibyte, before anything looks at the content."""
    size = len(data)
    if isinstance(data, str) and MAX_BYTES // 4 < size <= MAX_BYTES:
        size = len(data.encode("utf-8", "surrogatepass"))
    if size <= MAX_BYTES:
        return None
    message = f"the file is larger than {MAX_BYTES:,} bytes, which no configuration needs"
    return rules.FILE_TOO_LARGE.finding(message, Span(file, 1, 1, 1, 1))


def decode(data: bytes, file: str) -> tuple[str, Finding | None]:
    """Return the text of UTF-8 ``data`` without its byte order mark, and the first byte that is not UTF-8."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff"), None
    except UnicodeDecodeError as error:
        text = data.decode("utf-8", "replace").removeprefix("\ufeff")
        index = len(data[: error.start].decode("utf-8").removeprefix("\ufeff"))
        found = next((f"{name} text" for mark, name in _OTHER_BOM if data.startswith(mark)), None)
        found = found or f"the byte 0x{data[error.start]:02X}"
        span = Lines(text, file).span(index, index + 1)
        return text, rules.ENCODING.finding(f"expected UTF-8, found {found}; save the file as UTF-8", span)


def forbidden_character(text: str, file: str) -> Finding | None:
    """Return the finding for the first character that may not stand in a file as it is."""
    match = _FORBIDDEN.search(text)
    if match is None:
        return None
    span = Lines(text, file).span(match.start(), match.end())
    message = f"the character U+{ord(match[0]):04X} cannot stand in a file as it is"
    hint = "; is this UTF-16? save it as UTF-8" if match[0] == "\0" else "; inside double quotes an escape can say it"
    return rules.CONTROL_CHARACTER.finding(message + hint, span)


def directives(text: str, file: str) -> tuple[str, list[Finding]]:
    """Return ``text`` with the directives at its top made comments, and a finding for each but ``%YAML 1.2``."""
    starts: list[int] = []
    wrong: list[tuple[int, int]] = []
    index = 0
    while match := _BLANK.match(text, index) or _DIRECTIVE.match(text, index):
        if match[0].startswith("%"):
            starts.append(index)
            if not _ACCEPTED_DIRECTIVE.fullmatch(match[0]):
                wrong.append(match.span())
        index = match.end()
    if not starts:
        return text, []
    lines = Lines(text, file)
    message = "directives are not supported; delete the line (files are read as YAML 1.2)"
    findings = [rules.DIRECTIVE.finding(message, lines.span(*span)) for span in wrong[:MAX_REPEATS]]
    pieces = [text[start + 1 : stop] for start, stop in zip(starts, [*starts[1:], len(text)], strict=True)]
    return text[: starts[0]] + "".join(f"#{piece}" for piece in pieces), findings


def misplaced_tabs(text: str, file: str, scalars: Sequence[Scalar], end: int) -> tuple[str, list[Finding], bool]:
    """Find the tabs before ``end`` that are neither in a quoted scalar, block text nor a comment.

    ``scalars`` are those of ``text`` with a space for each tab. Returns the text with a space for each misplaced
    tab, the findings, and whether one of them indents its line, so that the structure is in doubt.
    """
    lines = Lines(text, file)
    findings: list[Finding] = []
    pieces: list[str] = []
    done, indents = 0, False
    for start, stop in _misplaced(text, scalars, end):
        pieces += [text[done:start], " " * (stop - start)]
        done = stop
        blank = text[stop : stop + 1] in ("", "\r", "\n", "#")
        leading = not blank and not text[start - lines.position(start)[1] + 1 : start].strip(" ")
        indents |= leading
        if len(findings) < MAX_REPEATS:
            where = "indents this line" if leading else "stands where only spaces may"
            findings.append(rules.TAB.finding(f"a tab {where}; use spaces", lines.span(start, stop)))
    return "".join([*pieces, text[done:]]), findings, indents


def tabs_matter(text: str, scalars: Sequence[Scalar], known: int) -> bool:
    """Return whether a tab of ``text`` may say something: one that is not in a comment before ``known``."""
    if any("\t" in text[start:stop] for start, stop, style in scalars if style):
        return True
    return "\t" in text[known:] or "\t" in _COMMENT.sub("", text[:known])


def _misplaced(text: str, scalars: Sequence[Scalar], end: int) -> list[tuple[int, int]]:
    """Return where runs of misplaced tabs start and stop."""
    found: list[tuple[int, int]] = []
    done = 0
    for start, stop, style in [*scalars, (end, end, "")]:
        _scan_tokens(text, done, start, found)
        if style in ("|", ">"):
            header = _BLOCK_HEADER.match(text, start)
            body = header.end() if header else start
            _scan_tokens(text, body, (text + "\n").index("\n", body), found)
            _scan_block(text, body, stop, found)
        elif not style:
            found += [match.span() for match in re.compile(r"\t+").finditer(text, start, stop)]
        done = max(done, stop)
    return found


def _scan_tokens(text: str, start: int, stop: int, found: list[tuple[int, int]]) -> None:
    """Add the runs of tabs in a stretch without scalars, where ``#`` begins a comment."""
    found += [match.span() for match in re.compile(r"\t+|#[^\r\n]*").finditer(text, start, stop) if match[0][0] == "\t"]


def _scan_block(text: str, start: int, stop: int, found: list[tuple[int, int]]) -> None:
    """Add the tabs that stand in the indentation of a block scalar's lines."""
    first = re.compile(r"(?<=[\r\n]) *(?=[^ \r\n])").search(text, start, stop)
    indent = max(len(first[0]), 1) if first else 1
    tabs = re.compile(r"(?<=[\r\n])( *)(\t+)").finditer(text, start, stop)
    found += [match.span(2) for match in tabs if len(match[1]) < indent]
