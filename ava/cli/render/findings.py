"""Findings as text with source frames, as JSON, and as GitHub annotations."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ava.errors import Finding
from ava.load import OVERRIDES, render_frame

__all__ = [
    "dotted",
    "finding_dict",
    "findings_json",
    "findings_text",
    "github_annotations",
    "in_github",
    "markdown_table",
    "step_summary",
    "worst_first",
]

_RANK = {"error": 0, "warning": 1, "info": 2}
_COLORS = {"error": "31", "warning": "33", "info": "36"}
_ANNOTATION = {"error": "error", "warning": "warning", "info": "notice"}


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return errors, then warnings, then the rest, each in the order they came."""
    return sorted(findings, key=lambda finding: _RANK[finding.severity])


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as ``--set`` takes it: ``terms.z_loss.weight``."""
    return ".".join(map(str, path))


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as the JSON object that scripts rely on: always all keys."""
    span, fix = finding.span, finding.fix
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "message": finding.message,
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "path": dotted(finding.path),
        "fix": None
        if fix is None
        else {
            "title": fix.title,
            "file": fix.span.file,
            "line": fix.span.line,
            "column": fix.span.column,
            "end_line": fix.span.end_line,
            "end_column": fix.span.end_column,
            "replacement": fix.replacement,
        },
        "url": finding.url,
    }


def findings_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON list."""
    from ava.cli.output import dumps

    return dumps([finding_dict(finding) for finding in findings])


def findings_text(
    findings: Sequence[Finding], texts: Mapping[str, str], count: int, *, colored: bool = False, quiet: bool = False
) -> str:
    """Return each finding with its frame, and a last line that counts them among ``count`` files."""
    blocks = [_block(finding, texts, colored) for finding in findings]
    if not quiet:
        blocks.append(_summary(findings, count))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _block(finding: Finding, texts: Mapping[str, str], colored: bool) -> str:
    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colored else text

    tone = _COLORS[finding.severity]
    name = f"{paint(finding.severity, f'1;{tone}')} {paint(finding.code, tone)} {finding.name}"
    lines = [f"{paint(str(finding.span), '1')}: {name}: {finding.message}"]
    text = texts.get(finding.span.file)
    if text is not None:
        *above, carets = render_frame(text, finding.span).splitlines()
        lines += [*(paint(line, "2") for line in above[:-1]), *above[-1:], paint(carets, tone)]
    if finding.note:
        lines.append(f"   note: {finding.note}")
    return "\n".join(lines)


def _summary(findings: Sequence[Finding], count: int) -> str:
    if not findings:
        return f"No errors in {_number(count, 'file')}."
    counts = Counter[str](finding.severity for finding in findings)
    words = [_number(counts[severity], severity) for severity in _RANK if counts[severity]]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    files = {finding.span.file for finding in findings} - {OVERRIDES}
    return f"Found {listed} in {_number(max(len(files), 1), 'file')}."


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 or word == 'info' else 's'}"


def in_github() -> bool:
    """Return whether this runs under GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def github_annotations(findings: Sequence[Finding], limit: int | None = None) -> str:
    """Return workflow commands that show findings in a pull request, the worst first (GitHub shows ten)."""
    lines = []
    for finding in worst_first(findings)[:limit]:
        span = finding.span
        place = {} if span.file[:1] in "<" or span.file == OVERRIDES else {"file": span.file, "line": span.line}
        if place:
            place |= {"col": span.column, "endLine": span.end_line, "endColumn": span.end_column}
        fields = {**place, "title": f"{finding.code} {finding.name}"}
        properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in fields.items())
        message = finding.message + (f" ({finding.note})" if finding.note else "")
        if not place:
            message = f"{span}: {message}"
        lines.append(f"::{_ANNOTATION[finding.severity]} {properties}::{_escaped(message)}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str, also: str = "") -> str:
    for sign in "%\r\n" + also:  # the percent sign first
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def markdown_table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, the worst first."""
    rows = ["| | rule | where | what |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {finding.severity} | [{finding.code}]({finding.url}) {finding.name} | `{_cell(str(finding.span))}` "
        f"| {_cell(finding.message)} |"
        for finding in worst_first(findings)
    ]
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def step_summary(findings: Sequence[Finding]) -> None:
    """Add the whole table to the summary of the GitHub step, if there is one and something to say."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not findings:
        return
    from ava.cli.output import say

    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"### ava-loss\n\n{markdown_table(findings)}\n")
    except OSError as error:
        say(f"warning: {path}: cannot write the step summary: {error.strerror}")
