"""Safe edits: those that linting adds to findings, and the loop that applies them to one text until none is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ava.config.migrations import apply_edits
from ava.errors import Finding, Fix, Span
from ava.lint.legacy import legacy_fix
from ava.load import Source
from ava.load.frame import split_lines

__all__ = ["Fixed", "fix_text", "with_fix"]

ROUNDS = 100  # each round mends at least one mistake


def with_fix(finding: Finding, source: Source) -> Finding:
    """Return ``finding`` with the edit that linting knows for its rule, if it has none yet."""
    make = _FIXES.get(finding.code)
    if make is None or finding.fix is not None or finding.span.file not in source.texts:
        return finding
    return replace(finding, fix=make(finding, source))


def _write_defaults(finding: Finding, source: Source) -> Fix | None:
    """``ngram_penalty:`` → ``ngram_penalty: {}``; a null that is written out may be meant."""
    entry = source.entry(finding.path)
    if entry is None or entry.node.value is not None:
        return None
    key = entry.key_span
    rest = _line(source, key)[key.end_column - 1 :]
    colon = len(rest) - len(rest.lstrip(" "))
    after = rest[colon + 1 :].strip()
    if rest[colon : colon + 1] != ":" or (after and not after.startswith("#")):
        return None
    at = key.end_column + colon + 1
    return Fix(f"Write `{entry.key}: {{}}`", Span(key.file, key.end_line, at, key.end_line, at), " {}")


def _write_constant(finding: Finding, source: Source) -> Fix | None:
    """``{from: 0.1, to: 0.1, steps: 10}`` → ``0.1``, where it stands on one line between braces."""
    node = source.get((*finding.path, "to"))
    whole = source.get(finding.path)
    if node is None or whole is None or whole.span.line != whole.span.end_line:
        return None
    row = _line(source, whole.span)
    text = row[whole.span.column - 1 : whole.span.end_column - 1]
    if not (text.startswith("{") and text.endswith("}")) or "&" in text or node.span.file != whole.span.file:
        return None
    number = row[node.span.column - 1 : node.span.end_column - 1]
    if node.span.line != whole.span.line or "*" in number:
        return None
    return Fix(f"Write `{number}`", whole.span, number)


def _line(source: Source, span: Span) -> str:
    return split_lines(source.texts[span.file])[span.end_line - 1]


_FIXES: dict[str, Callable[[Finding, Source], Fix | None]] = {
    "AVA301": _write_defaults,
    "AVA303": _write_constant,
    "AVA601": legacy_fix,
}


@dataclass(frozen=True, slots=True)
class Fixed:
    """A text with every safe edit applied: ``count`` of them."""

    text: str
    count: int


def fix_text(text: str, file: str, findings_in: Callable[[str], Sequence[Finding]]) -> Fixed:
    """Return ``text`` of ``file`` with every safe edit that ``findings_in`` finds, until it finds none.

    An edit that would leave the text less readable than it was, say with a key twice, is not made.
    """
    count = 0
    seen = {text}
    findings = findings_in(text)
    for _ in range(ROUNDS):
        fixes = _apart(finding.fix for finding in findings if finding.fix is not None and finding.fix.span.file == file)
        applied = _applied(text, fixes, findings, findings_in)
        if applied is None or applied.text in seen:
            break
        text, count = applied.text, count + applied.count
        seen.add(text)
        findings = findings_in(text)
    return Fixed(text, count)


def _applied(
    text: str, fixes: Sequence[Fix], before: Sequence[Finding], findings_in: Callable[[str], Sequence[Finding]]
) -> Fixed | None:
    """Return the text after all ``fixes``, or after the first that does no harm, or None."""
    for batch in (fixes, *([fix] for fix in fixes if len(fixes) > 1)):
        changed = apply_edits(text, batch)
        if changed != text and _unreadable(findings_in(changed)) <= _unreadable(before):
            return Fixed(changed, len(batch))
    return None


def _unreadable(findings: Iterable[Finding]) -> int:
    """Return the number of reading errors."""
    return sum(finding.code.startswith("AVA0") for finding in findings)


def _apart(fixes: Iterable[Fix]) -> list[Fix]:
    """Return those of ``fixes`` that do not overlap; of two that do, the first in the text."""
    kept: list[Fix] = []
    for fix in sorted(dict.fromkeys(fixes), key=lambda fix: fix.span):
        start, last = (fix.span.line, fix.span.column), kept[-1].span if kept else None
        if last is None or (start >= (last.end_line, last.end_column) and fix.span != last):
            kept.append(fix)
    return kept
