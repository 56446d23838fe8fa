"""The safe edit of a legacy keyword that has one meaning today: renamed where it stands, or moved to its place."""

from __future__ import annotations

from ava.config.legacy import LEGACY
from ava.errors import Finding, Fix, Path, Span
from ava.load import Entry, Source
from ava.load.frame import split_lines
from ava.load.text import Lines

__all__ = ["legacy_fix"]

WORDS = {
    "mtp_type": {"deepseek": "uniform", "adaptive": "adaptive"},
    "shared_projection": {"true": "shared", "false": "linear"},
}
"""Values that are called otherwise today."""


def legacy_fix(finding: Finding, source: Source) -> Fix | None:
    """Return the edit for the keyword at ``finding``, or None where it has several meanings, or its place is taken."""
    place = LEGACY.get(str(finding.path[-1]), "`")
    entry = source.entry(finding.path)
    if "`" in place or entry is None:
        return None
    target: Path = tuple(place.split("."))
    value = _value(entry, source)
    if value is None:
        return None
    if entry.key.startswith("use_"):
        return _switch(entry, value, finding.path, target, source)
    if target[:-1] == finding.path[:-1]:
        return _rename(entry, value, target, source)
    term = source.entry(target[:2])
    if target[0] == "terms" and (term is None or term.node.value is None):
        return None  # a field did not switch its term on
    return _move(entry, value, target, source)


def _row(source: Source, line: int, file: str) -> str:
    return split_lines(source.texts[file])[line - 1]


def _value(entry: Entry, source: Source) -> str | None:
    """Return the text of a value of today, if it stands on the line of its key."""
    key, span = entry.key_span, entry.node.span
    if (span.file, span.line, span.end_line) != (key.file, key.line, key.line) or entry.node.value is None:
        return None
    text = _row(source, key.line, key.file)[span.column - 1 : span.end_column - 1]
    return WORDS[entry.key].get(text) if entry.key in WORDS else text if text[:1] not in "&*" else None


def _rename(entry: Entry, value: str, target: Path, source: Source) -> Fix | None:
    if source.entry(target) is not None:
        return None
    name, span = str(target[-1]), entry.key_span
    row = _row(source, span.line, span.file)
    if row[span.column - 1 : span.end_column - 1] != entry.key:
        return None
    title = f"Rename `{entry.key}` to `{name}`"
    if entry.key not in WORDS:
        return Fix(title, span, name)
    end = entry.node.span
    return Fix(title, Span(span.file, span.line, span.column, end.end_line, end.end_column), f"{name}: {value}")


def _switch(entry: Entry, value: str, path: Path, target: Path, source: Source) -> Fix | None:
    """``use_x: true`` names the term; where it is named already, or for ``false``, the line goes."""
    named = source.entry(target)
    if value not in ("true", "false") or (named is not None and (named.node.value is None) == (value == "true")):
        return None
    if value == "true" and named is None:
        return _in_place(entry, target, source) if path[:-1] == target[:-1] else _move(entry, "{}", target, source)
    start, end, _, comment = _own_line(entry, source) or (0, 0, "", "")
    if comment:
        return None  # it may say why
    return _edit(f"Remove `{entry.key}`", source, entry.key_span.file, [(start, end, "")]) if end else None


def _in_place(entry: Entry, target: Path, source: Source) -> Fix | None:
    """Return the edit of a switch that stands under ``terms`` itself: ``use_x: true`` becomes ``x: {}``."""
    span, end, name = entry.key_span, entry.node.span, str(target[-1])
    if _row(source, span.line, span.file)[span.column - 1 : span.end_column - 1] != entry.key:
        return None
    whole = Span(span.file, span.line, span.column, end.end_line, end.end_column)
    return Fix(f"Replace `{entry.key}: true` by `{name}: {{}}`", whole, f"{name}: {{}}")


def _own_line(entry: Entry, source: Source) -> tuple[int, int, str, str] | None:
    """Return where the line of a key at the top of its file starts and ends, its break, and its comment.

    None if the key shares the line with another.
    """
    key, file = entry.key_span, entry.key_span.file
    text = source.texts[file]
    row = _row(source, key.line, file)
    comment = row[entry.node.span.end_column - 1 :].rstrip()
    if key.column != 1 or comment.lstrip()[:1] not in ("", "#"):
        return None
    start = _offset(text, key.line, 1)
    end = start + len(row)
    ending = "\r\n" if text.startswith("\r\n", end) else text[end : end + 1]
    return start, end + len(ending), ending, comment


def _move(entry: Entry, value: str, target: Path, source: Source) -> Fix | None:
    line = _own_line(entry, source)
    if line is None or source.entry(target) is not None:
        return None
    start, end, ending, comment = line
    file, steps = entry.key_span.file, [str(step) for step in target]
    depth = 0
    while depth < len(steps) - 1 and _is_here(source.entry(tuple(steps[: depth + 1])), file):
        depth += 1
    title = f"Move `{entry.key}` to `{'.'.join(steps)}`"
    if not depth:
        if source.entry(tuple(steps[:1])) is not None and _begins(source.entry(tuple(steps[:1])), file):
            return None  # something else than a mapping
        return _edit(
            title, source, file, [(start, end, _block(steps, value + comment, 0, ending or "\n", bool(ending)))]
        )
    around = source.entry(tuple(steps[:depth]))
    assert around is not None
    text, span = source.texts[file], around.node.span
    first = _offset(text, span.line, span.column)
    if text[first] == "{":
        if comment:
            return None  # there is no place for it inside
        inner = value
        for step in reversed(steps[depth + 1 :]):
            inner = f"{{{step}: {inner}}}"
        comma = "" if text[first + 1 :].lstrip().startswith("}") else ", "
        return _edit(title, source, file, [(start, end, ""), (first + 1, first + 1, f"{steps[depth]}: {inner}{comma}")])
    if text[first] in "&*" or text[_offset(text, span.line, 1) : first].strip():
        return None
    block = _block(steps[depth:], value + comment, span.column - 1, ending or "\n", True)
    at = _offset(text, span.line, 1)
    return _edit(title, source, file, [(start, end, ""), (at, at, block)])


def _begins(entry: Entry | None, file: str) -> bool:
    return entry is not None and entry.key_span.file == file


def _is_here(entry: Entry | None, file: str) -> bool:
    """Return whether a mapping is there, and written in ``file``."""
    return entry is not None and isinstance(entry.node.value, dict) and entry.node.span.file == file


def _block(steps: list[str], value: str, indent: int, ending: str, last: bool) -> str:
    rows = [f"{' ' * (indent + 2 * index)}{step}:" for index, step in enumerate(steps)]
    return ending.join(rows) + f" {value}" + (ending if last else "")


def _offset(text: str, line: int, column: int) -> int:
    rows = Lines(text, "")
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        if rows.position(middle) < (line, column):
            low = middle + 1
        else:
            high = middle
    return low


def _edit(title: str, source: Source, file: str, edits: list[tuple[int, int, str]]) -> Fix:
    """Return several edits as one: of the stretch from the first to the last."""
    text = source.texts[file]
    start, stop = min(edit[0] for edit in edits), max(edit[1] for edit in edits)
    pieces, done = [], start
    for first, last, new in sorted(edits):
        pieces += [text[done:first], new]
        done = last
    return Fix(title, Lines(text, file).span(start, stop), "".join([*pieces, text[done:stop]]))
