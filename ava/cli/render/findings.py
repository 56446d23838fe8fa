"""Findings as text with source frames, and what every format of findings shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ava.errors import Finding, Severity
from ava.load import OVERRIDES, render_frame

__all__ = ["SEVERITIES", "dotted", "findings_text", "is_file", "summary_line", "worst_first"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""

_COLORS = {"error": "31", "warning": "33", "info": "36"}


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return errors, then warnings, then the rest, each in the order they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as ``--set`` takes it: ``terms.z_loss.weight``."""
    return ".".join(map(str, path))


def is_file(name: str) -> bool:
    """Return whether a span's file is one: not standard input, an override, or what came as a Python value."""
    return name != OVERRIDES and not (name.startswith("<") and name.endswith(">"))


def findings_text(
    findings: Sequence[Finding],
    texts: Mapping[str, str],
    count: int,
    *,
    colored: bool = False,
    quiet: bool = False,
    noun: str = "error",
) -> str:
    """Return each finding with its frame, and a last line that counts them among ``count`` files, if there are any."""
    blocks = [_block(finding, texts, colored) for finding in findings]
    if not quiet and (findings or count):
        blocks.append(summary_line(findings, count, noun) + _explained(findings))
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


def summary_line(findings: Sequence[Finding], count: int, noun: str = "error") -> str:
    """Return a sentence that counts the findings by severity; without any, that ``count`` files have no ``noun``."""
    if not findings:
        return f"No {noun}s in {_number(count, 'file')}."
    counts = Counter[str](finding.severity for finding in findings)
    words = [_number(counts[severity], severity) for severity in SEVERITIES if counts[severity]]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    files = {finding.span.file for finding in findings} - {OVERRIDES}
    return f"Found {listed} in {_number(max(len(files), 1), 'file')}."


def _explained(findings: Sequence[Finding]) -> str:
    """Return a second line that says how to learn more of a finding, by the worst of them."""
    return f"\nMore: ava-loss rule {worst_first(findings)[0].code}" if findings else ""


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 or word == 'info' else 's'}"
