"""How findings are written: one function for ``validate`` and ``lint``, one file per format.

``data`` is JSON · ``github`` the workflow commands of GitHub Actions, and its step summary · ``sarif`` for code
scanning · ``junit`` for test reports · ``markdown`` for comments; text is in :mod:`ava.cli.render.findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ava.errors import Finding, Severity

__all__ = ["FindingsFormat", "announce", "write_findings"]


class FindingsFormat(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"
    SARIF = "sarif"
    JUNIT = "junit"


def write_findings(
    format: FindingsFormat,
    findings: Sequence[Finding],
    *,
    texts: Mapping[str, str],
    count: int,
    colored: bool = False,
    quiet: bool = False,
    noun: str = "error",
    fail_on: Severity = "warning",
    failures: Sequence[str] = (),
) -> str:
    """Return the whole report.

    Args:
        format: one of six; the machine formats are the same with and without ``quiet``.
        findings: as they are to be shown; the formats that show a few put the worst first.
        texts: every text that was read, by the name of its file, for the frames.
        count: how many configurations were looked at.
        colored: whether text has colour.
        quiet: whether text leaves out its last line.
        noun: what there is none of in a clean text: ``No errors in 2 files.``
        fail_on: the mildest severity that is a failure in JUnit's report.
        failures: what could not be read; SARIF's invocation and JUnit's report say so.
    """
    if format is FindingsFormat.TEXT:
        from ava.cli.render.findings import findings_text

        return findings_text(findings, texts, count, colored=colored, quiet=quiet, noun=noun)
    if format is FindingsFormat.JSON:
        from ava.cli.formats.data import findings_json

        return findings_json(findings)
    if format is FindingsFormat.MARKDOWN:
        from ava.cli.formats.markdown import findings_markdown

        return findings_markdown(findings, texts, count, noun=noun)
    if format is FindingsFormat.GITHUB:
        from ava.cli.formats.github import workflow_commands

        return workflow_commands(findings)
    if format is FindingsFormat.SARIF:
        from ava.cli.formats.sarif import findings_sarif

        return findings_sarif(findings, texts, failures)
    from ava.cli.formats.junit import findings_junit

    return findings_junit(findings, texts, fail_on, failures)


def announce(findings: Sequence[Finding], texts: Mapping[str, str]) -> None:
    """Under GitHub Actions, annotate with the ten worst on standard output, and add all to the step's summary."""
    import os

    if os.environ.get("GITHUB_ACTIONS") == "true":
        from ava.cli.formats.github import step_summary, workflow_commands
        from ava.cli.output import Output

        Output().write(workflow_commands(findings, limit=10))
        step_summary(findings, texts)
