"""Findings as SARIF 2.1.0, for code scanning: rules with their documentation, fixes, and fingerprints that stay.

A fingerprint is made of the rule, the file, the key's path and the text of the line, so it survives edits above it.
Regions count lines and code points from 1 with an exclusive end, as spans do.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ava.cli.render.findings import dotted, is_file, worst_first
from ava.errors import Finding, Fix, Rule, Span
from ava.load.frame import split_lines

__all__ = ["SCHEMA", "findings_sarif"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
_LEVEL = {"error": "error", "warning": "warning", "info": "note"}


def findings_sarif(findings: Sequence[Finding], texts: Mapping[str, str], failures: Sequence[str] = ()) -> str:
    """Return the log of one run; ``failures`` are what could not be read."""
    from ava.cli.output import dumps

    return dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(worst_first(findings), texts, failures)]})


def _run(findings: Sequence[Finding], texts: Mapping[str, str], failures: Sequence[str]) -> dict[str, Any]:
    from ava import __version__
    from ava.cli.rule import every_rule

    documented = {rule.code: rule for rule in every_rule()}
    firsts = {finding.code: finding for finding in reversed(findings)}
    codes = sorted(firsts)
    told: Counter[str] = Counter()
    driver = {
        "name": "ava-loss",
        "semanticVersion": __version__,
        "informationUri": "https://ava-loss.readthedocs.io/",
        "rules": [_descriptor(firsts[code], documented.get(code)) for code in codes],
    }
    invocation: dict[str, Any] = {"executionSuccessful": not failures}
    if failures:
        invocation["toolExecutionNotifications"] = [
            {"level": "error", "message": {"text": failure}} for failure in failures
        ]
    return {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "newlineSequences": ["\r\n", "\n", "\r"],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder that ava-loss was run in."}}},
        "results": [_result(finding, codes.index(finding.code), texts, told) for finding in findings],
    }


def _descriptor(finding: Finding, rule: Rule | None) -> dict[str, Any]:
    pascal = "".join(word.capitalize() for word in finding.name.split("-"))
    level = rule.severity if rule else finding.severity
    descriptor = {
        "id": finding.code,
        "name": pascal,
        **({"helpUri": finding.url} if finding.url else {}),
        "defaultConfiguration": {"level": _LEVEL[level]},
        "properties": {"tags": ["ava-loss", finding.name]},
    }
    if rule is None:
        return descriptor
    sections = {head.strip(): body.strip() for head, _, body in (part.partition("\n") for part in _parts(rule.doc))}
    does = " ".join(sections.get("What it does", rule.name).split())
    first = does.split(". ")[0].rstrip(".") + "."
    descriptor |= {"shortDescription": {"text": first}, "fullDescription": {"text": does}}
    descriptor["help"] = {"text": rule.doc.strip(), "markdown": rule.doc.strip()}
    return descriptor


def _parts(doc: str) -> list[str]:
    return f"\n{doc}".split("\n## ")[1:]


def _result(finding: Finding, index: int, texts: Mapping[str, str], told: Counter[str]) -> dict[str, Any]:
    span, path = finding.span, dotted(finding.path)
    message = finding.message + (f" ({finding.note})" if finding.note else "")
    location: dict[str, Any] = {}
    if is_file(span.file):
        location["physicalLocation"] = {"artifactLocation": _artifact(span.file), "region": _region(span)}
    else:
        message = f"{span}: {message}"
    if path:
        location["logicalLocations"] = [{"name": str(finding.path[-1]), "fullyQualifiedName": path, "kind": "member"}]
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVEL[finding.severity],
        "message": {"text": message},
        "locations": [location] if location else [],
        "partialFingerprints": {"avaLossFinding/v1": _fingerprint(finding, texts, told)},
    }
    if finding.fix is not None and is_file(finding.fix.span.file):
        result["fixes"] = [_fix(finding.fix)]
    return result


def _fingerprint(finding: Finding, texts: Mapping[str, str], told: Counter[str]) -> str:
    """Return what stays the same when other lines change; equal ones are numbered in ``told``."""
    lines = split_lines(texts.get(finding.span.file, ""))
    line = lines[finding.span.line - 1].strip() if finding.span.line <= len(lines) else ""
    parts = [finding.code, _artifact(finding.span.file)["uri"], dotted(finding.path), line]
    key = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
    told[key] += 1
    return f"{key}:{told[key]}"


def _artifact(file: str) -> dict[str, str]:
    """Return the place of a file: relative to the current folder if it is in it, else whole."""
    path, root = os.path.abspath(file), os.path.abspath(os.curdir)  # noqa: PTH100  (links stay as they are)
    if path.startswith(root.rstrip(os.sep) + os.sep):
        relative = os.path.relpath(path, root).replace(os.sep, "/")
        return {"uri": quote(relative, safe="/", errors="surrogateescape"), "uriBaseId": _ROOT}
    return {"uri": Path(path).as_uri()}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    replacement = {"deletedRegion": _region(fix.span), "insertedContent": {"text": fix.replacement}}
    return {
        "description": {"text": fix.title},
        "artifactChanges": [{"artifactLocation": _artifact(fix.span.file), "replacements": [replacement]}],
    }
