"""How often each rule was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ava.cli.formats import FindingsFormat
from ava.errors import Finding, SourceError

if TYPE_CHECKING:
    from ava.cli.output import Output

__all__ = ["counted", "statistics_of"]

_KEYS = ("count", "code", "name", "severity", "fixable")


def counted(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return each rule that was found with how often, and how many of them have a safe fix; the most frequent first."""
    counts = Counter(finding.code for finding in findings)
    firsts = {finding.code: finding for finding in reversed(findings)}
    fixable = Counter(finding.code for finding in findings if finding.fix is not None)
    return [
        {
            "code": code,
            "name": firsts[code].name,
            "severity": firsts[code].severity,
            "count": count,
            "fixable": fixable[code],
        }
        for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def statistics_of(findings: Sequence[Finding], format: FindingsFormat, out: Output) -> str:
    """Return the counts as text, JSON or Markdown. Raises :class:`~ava.errors.SourceError` for another format."""
    rows = counted(findings)
    if format is FindingsFormat.JSON:
        from ava.cli.output import dumps

        return dumps(rows)
    if format is FindingsFormat.MARKDOWN:
        from ava.cli.render.explain_markdown import table

        return table(list(_KEYS), [[str(row[key]) for key in _KEYS] for row in rows])
    if format is not FindingsFormat.TEXT:
        raise SourceError(f"--statistics has no format `{format}`; use text, json or markdown")
    if not rows:
        return ""
    from rich.text import Text

    from ava.cli.render.explain import plain_table
    from ava.cli.render.rules import COLORS

    drawn = plain_table(*_KEYS)
    for row in rows:
        cells = [Text(str(row[key]), COLORS[row["severity"]] if key == "severity" else "") for key in _KEYS]
        drawn.add_row(*cells)
    return out.drawn(drawn)
