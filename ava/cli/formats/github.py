"""Findings under GitHub Actions: workflow commands that annotate a change, and the summary of the step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ava.cli.render.findings import is_file, worst_first
from ava.errors import Finding

__all__ = ["step_summary", "workflow_commands"]

_COMMAND = {"error": "error", "warning": "warning", "info": "notice"}


def workflow_commands(findings: Sequence[Finding], limit: int | None = None) -> str:
    """Return workflow commands that show findings in a pull request, the worst first (GitHub shows ten)."""
    lines = []
    for finding in worst_first(findings)[:limit]:
        span = finding.span
        place: dict[str, object] = {}
        if is_file(span.file):
            one = span.line == span.end_line  # GitHub takes columns of one line only
            place = {"file": _in_workspace(span.file), "line": span.line, **({"col": span.column} if one else {})}
            place |= {"endLine": span.end_line, **({"endColumn": span.end_column} if one else {})}
        fields = {**place, "title": f"{finding.code} {finding.name}"}
        properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in fields.items())
        message = finding.message + (f" ({finding.note})" if finding.note else "")
        if not place:
            message = f"{span}: {message}"
        lines.append(f"::{_COMMAND[finding.severity]} {properties}::{_escaped(message)}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str, also: str = "") -> str:
    for sign in "%\r\n" + also:  # the percent sign first
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def _in_workspace(file: str) -> str:
    """Return the path from the checkout's root, which is how GitHub knows a file; others stay as they are."""
    root = os.environ.get("GITHUB_WORKSPACE")
    if not root:
        return file
    path, root = os.path.realpath(file), os.path.realpath(root)
    return os.path.relpath(path, root) if path.startswith(root.rstrip(os.sep) + os.sep) else file


def step_summary(findings: Sequence[Finding], texts: Mapping[str, str]) -> None:
    """Add the whole table to the summary of the step, if there is one and something to say."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not findings:
        return
    from ava.cli.formats.markdown import findings_markdown
    from ava.cli.output import say

    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"### ava-loss\n\n{findings_markdown(findings, texts, 1)}\n")
    except OSError as error:
        say(f"warning: {path}: cannot write the step summary: {error.strerror}")
