"""Findings as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ava.cli.render.findings import dotted
from ava.errors import Finding, Fix, Span

__all__ = ["finding_dict", "findings_json"]


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as the command line's JSON has it: always all keys."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "message": finding.message,
        **_place(finding.span),
        "path": dotted(finding.path),
        "fix": None if finding.fix is None else _fix(finding.fix),
        "url": finding.url,
    }


def _place(span: Span) -> dict[str, Any]:
    return {
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {"title": fix.title, "edits": [{**_place(fix.span), "replacement": fix.replacement}]}


def findings_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON list."""
    from ava.cli.output import dumps

    return dumps([finding_dict(finding) for finding in findings])
