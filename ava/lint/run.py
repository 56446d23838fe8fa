"""``Source`` → findings: the errors of reading and validation, and the advice that is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ava.config.messages import note
from ava.config.validation import settle
from ava.errors import Finding, Path, Rule, Span
from ava.lint.comments import Suppression, suppressions
from ava.lint.fixes import with_fix
from ava.lint.registry import CONFIG_RULES, RULES, known_rules
from ava.lint.select import Selection, matches
from ava.lint.settings import Settings
from ava.lint.subject import Subject
from ava.load import OVERRIDES, Source
from ava.load.frame import split_lines
from ava.terms.advice import Advice

__all__ = ["Job", "lint_sources"]

_GENERAL = {"AVA201", "AVA203", "AVA204"}  # about a value that another rule may say more about
_LOST = {f"AVA{number:03d}" for number in range(20, 25)}  # a parent is missing, so what is absent may be in it

Lines = Mapping[str, Mapping[int, Sequence[Suppression]]]


@dataclass(frozen=True, slots=True)
class Job:
    """One loaded configuration, which advice is wanted for it, and what its project says."""

    source: Source
    selection: Selection = field(default=Selection())
    settings: Settings = field(default=Settings())

    def wants(self, finding: Finding) -> bool:
        """Return whether this piece of advice is wanted."""
        here = Selection(ignore=self.settings.ignored_in(finding.span.file))
        return self.selection.wants(finding.code, finding.name) and here.wants(finding.code, finding.name)


def lint_sources(jobs: Sequence[Job]) -> list[Finding]:
    """Return the findings of all configurations, each once, job by job in the order of the text.

    Of a file with errors the advice is about what is right in it. A comment counts as used if any of the
    configurations, which may build on one another, has advice for its line.
    """
    found: list[list[Finding]] = []
    used: set[Suppression] = set()
    complete: list[bool] = []
    for job in jobs:
        errors, advice = _findings(job)
        wanted = _most_telling(finding for finding in advice if job.wants(finding))
        lines = _suppressions(job.source)
        kept = []
        for finding in wanted:
            there = list(_suppressing(job.source, finding, lines))
            used.update(there)
            kept += [] if there else [finding]
        found.append([with_fix(finding, job.source) for finding in (*errors, *kept)])
        complete.append(not errors and OVERRIDES not in job.source.texts)
    for job, findings, whole in zip(jobs, found, complete, strict=True):
        findings += [finding for finding in _about_comments(job, used, whole) if job.wants(finding)]
    answer: dict[tuple[Any, ...], Finding] = {}
    for job, findings in zip(jobs, found, strict=True):
        for finding in _ordered(job.source, findings):
            answer.setdefault((finding.code, finding.span, finding.path, finding.message), finding)
    return list(answer.values())


def _findings(job: Job) -> tuple[list[Finding], list[Finding]]:
    """Return the errors of a configuration, and all advice."""
    source = job.source
    settled = settle(source)
    errors = [finding for finding in settled.findings if finding.severity == "error"]
    advice = [finding for finding in settled.findings if finding.severity != "error"]
    if settled.config is None or not all(info.readable for info in source.files):
        return errors, advice
    if any(finding.code in _LOST for finding in errors):
        return errors, advice
    subject = Subject(settled.config, source, job.settings.project)
    for rule in CONFIG_RULES:
        advice += _placed(rule, rule.check(subject), source, settled.broken)
    for term in settled.config.enabled:
        above = ("terms", term.name)
        for own in type(term).rules:
            pieces = (
                replace(item, path=above + item.path, others=tuple(above + path for path in item.others))
                for item in own.check(term, subject.project)
            )
            advice += _placed(own, pieces, source, settled.broken)
    return errors, advice


def _placed(rule: Rule, pieces: Iterable[Advice], source: Source, broken: frozenset[Path]) -> Iterator[Finding]:
    """Yield the findings of ``rule``, but none that depends on what is wrong."""
    for item in pieces:
        if _depends(item, broken):
            continue
        path = _place(item, source)
        if path is None:
            continue
        node = source.get(path)
        key = (node is not None and isinstance(node.value, dict)) or (item.key and path == item.path)
        span = source.span(path, key=key)
        yield rule.finding(item.message, span, path, note=note(source, span, path))


def _depends(item: Advice, broken: frozenset[Path]) -> bool:
    """Return whether ``item`` is about something that is wrong; about a section as such, that is not inside it."""
    return any(
        item.path[: len(path)] == path
        or (not item.key and _overlap(item.path, path))
        or any(_overlap(other, path) for other in item.others)
        for path in broken
    )


def _place(item: Advice, source: Source) -> Path | None:
    """Return the path that the finding is at: one that the file itself sets, if there is any."""
    paths = [_existing(path, source) for path in (item.path, *item.others)]
    own = [path for path in paths if path and source.span(path, key=True).file in (source.files[0].name, OVERRIDES)]
    if own and own[0] != paths[0]:
        return None if item.idle else own[0]
    return paths[0]


def _existing(path: Path, source: Source) -> Path:
    while path and source.get(path) is None:
        path = path[:-1]
    return path


def _overlap(one: Path, other: Path) -> bool:
    size = min(len(one), len(other))
    return one[:size] == other[:size]


def _most_telling(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without those that only call a value unusual where another says why."""
    found = list(dict.fromkeys(findings))
    explained = {finding.path for finding in found if finding.code not in _GENERAL}
    return [finding for finding in found if finding.code not in _GENERAL or finding.path not in explained]


def _suppressions(source: Source) -> Lines:
    """Return the comments of every file that was read, by file and line."""
    lines: dict[str, dict[int, list[Suppression]]] = {}
    for name, text in source.texts.items():
        if name != OVERRIDES:
            for item in suppressions(text, name):
                lines.setdefault(name, {}).setdefault(item.span.line, []).append(item)
    return lines


def _suppressing(source: Source, finding: Finding, lines: Lines) -> Iterator[Suppression]:
    """Yield the comments that suppress ``finding``: on its first or last line, that of its key, or of its braces."""
    span, entry = finding.span, source.entry(finding.path)
    rows = {span.line, span.end_line}
    if lines.get(span.file) and entry is not None and entry.key_span.file == span.file:
        rows.add(entry.key_span.line)
        value = entry.node.span
        if value.file == span.file and _text_at(source, value)[:1] in ("{", "["):
            rows.add(value.end_line)
    for row in rows:
        yield from (item for item in lines.get(span.file, {}).get(row, ()) if item.suppresses(finding))


def _text_at(source: Source, span: Span) -> str:
    rows = split_lines(source.texts.get(span.file, ""))
    return rows[span.line - 1][span.column - 1 :] if span.line <= len(rows) else ""


def _about_comments(job: Job, used: set[Suppression], complete: bool) -> Iterator[Finding]:
    """Yield what is wrong with the comments of the loaded file; with ``complete`` also which suppress nothing."""
    name = job.source.files[0].name
    rules: Sequence[Rule] = RULES
    for item in suppressions(job.source.texts.get(name, ""), name):
        if item in used:
            continue
        if item.unknown(rules) is not None:
            rules = known_rules()  # it may be of another package's term
        wrong = item.unknown(rules)
        meant = [rule for rule in rules if item.rule is not None and matches(item.rule, rule.code, rule.name)]
        if wrong is not None:
            yield wrong
        elif complete and all(job.wants(rule.finding("", item.span)) for rule in meant):
            yield item.unused()


def _ordered(source: Source, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings file by file, the loaded one first, each file's in the order of its text."""
    files = {info.name: index for index, info in enumerate(source.files)}

    def place(finding: Finding) -> tuple[Any, ...]:
        return (files.get(finding.span.file, len(files)), finding.span, finding.code, finding.message)

    return sorted(findings, key=place)
