"""Findings as a JUnit report: a test suite for every file, a failed test for every finding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ava.cli.render.findings import SEVERITIES
from ava.errors import Finding, Severity
from ava.load import OVERRIDES, render_frame

__all__ = ["findings_junit"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def findings_junit(
    findings: Sequence[Finding],
    texts: Mapping[str, str],
    fail_on: Severity = "warning",
    failures: Sequence[str] = (),
) -> str:
    """Return the report. A finding milder than ``fail_on`` is a test that passes, and says what was found.

    What could not be read (``failures``) is a suite of tests that could not run.
    """
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    by_file: dict[str, list[Finding]] = {name: [] for name in texts if name != OVERRIDES}
    for finding in findings:
        by_file.setdefault(finding.span.file, []).append(finding)
    root = Element("testsuites", name="ava-loss")
    tests, failed_tests = len(failures), 0
    for file, found in by_file.items():
        failed = sum(finding.severity in failing for finding in found)
        numbers = {"tests": str(max(len(found), 1)), "failures": str(failed), "errors": "0", "skipped": "0"}
        suite = SubElement(root, "testsuite", {"name": _clean(file), **numbers})
        for finding in found:
            _case(suite, finding, texts, finding.severity in failing)
        if not found:
            SubElement(suite, "testcase", name="clean", classname=_clean(file), file=_clean(file), time="0")
        tests += max(len(found), 1)
        failed_tests += failed
    if failures:
        numbers = {"tests": str(len(failures)), "failures": "0", "errors": str(len(failures)), "skipped": "0"}
        suite = SubElement(root, "testsuite", {"name": "ava-loss", **numbers})
        for failure in failures:
            case = SubElement(suite, "testcase", name=_clean(failure), classname="ava-loss", time="0")
            SubElement(case, "error", message=_clean(failure), type="unreadable").text = _clean(failure)
    for name, number in (("tests", tests), ("failures", failed_tests), ("errors", len(failures))):
        root.set(name, str(number))
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(suite: Element, finding: Finding, texts: Mapping[str, str], failed: bool) -> None:
    span = finding.span
    name = f"{finding.code} {finding.name} at {span.line}:{span.column}"
    file = _clean(span.file)
    case = SubElement(suite, "testcase", name=_clean(name), classname=file, file=file, line=str(span.line), time="0")
    lines = [str(finding)]
    if span.file in texts:
        lines.append(render_frame(texts[span.file], span))
    lines += [f"note: {finding.note}"] if finding.note else []
    lines.append(finding.url or f"ava-loss rule {finding.code}")
    text = _clean("\n".join(lines))
    if failed:
        SubElement(case, "failure", message=_clean(finding.message), type=finding.severity).text = text
    else:
        SubElement(case, "system-out").text = text


def _clean(text: str) -> str:
    """Return ``text`` with what no XML file may hold replaced: control characters, lone surrogates."""
    return _NOT_XML.sub("\ufffd", text)
