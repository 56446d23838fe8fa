"""Findings as Markdown: a table, then each with its frame, for step summaries and comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ava.cli.render.findings import summary_line, worst_first
from ava.errors import Finding
from ava.load import render_frame

__all__ = ["findings_markdown", "findings_table"]

_SHOWN = 50  # findings with a frame; the table has all of them, and a step's summary may have a megabyte
_SPECIAL = re.compile(r"([\\`*_\[\]<>&|~$])")


def findings_markdown(findings: Sequence[Finding], texts: Mapping[str, str], count: int, *, noun: str = "error") -> str:
    """Return a sentence, the table of all findings, the worst first, and the first of them with their frames."""
    sentence = summary_line(findings, count, noun)
    if not findings:
        return f"{sentence}\n"
    framed = [item for item in worst_first(findings) if item.span.file in texts][:_SHOWN]
    details = "".join(_detail(finding, texts[finding.span.file]) for finding in framed)
    return f"{sentence}\n\n{findings_table(findings)}" + (f"\n{details}" if details else "")


def findings_table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, the worst first."""
    rows = ["| | rule | where | what |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {finding.severity} | {_linked(finding)} {finding.name} "
        f"| {_code(str(finding.span))} | {_prose(_said(finding))} |"
        for finding in worst_first(findings)
    ]
    return "\n".join(rows) + "\n"


def _linked(finding: Finding) -> str:
    return f"[{finding.code}]({finding.url})" if finding.url else finding.code


def _detail(finding: Finding, text: str) -> str:
    frame = render_frame(text, finding.span)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", frame)), default=0))
    fix = f"\nFix: {_prose(finding.fix.title)}\n" if finding.fix else ""
    return (
        f"<details><summary>{_html(str(finding.span))}</summary>\n\n{fence}text\n{frame}\n{fence}\n{fix}\n</details>\n"
    )


def _said(finding: Finding) -> str:
    return finding.message + (f" ({finding.note})" if finding.note else "")


def _html(text: str) -> str:
    from html import escape

    return escape(" ".join(text.split()))


def _prose(text: str) -> str:
    """Return a message with its `code` as it is and the rest inert, on one line."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # a backtick that nothing closes
        return _inert("`".join(parts))
    return "".join(_code(part) if index % 2 else _inert(part) for index, part in enumerate(parts))


def _inert(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text).replace("@", "@<!-- -->")  # so that nobody is mentioned


def _code(text: str) -> str:
    """Return ``text`` as a code span that a table's cell can hold."""
    text = " ".join(text.split()).replace("|", "\\|")
    if not text:
        return "\\`\\`"
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"
