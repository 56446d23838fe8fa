"""``Source`` → ``Config``: every mistake becomes one finding at its place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from ava.config import rules
from ava.config.conflicts import Conflict, conflicts
from ava.config.messages import Messages, note
from ava.config.model import VERSION, Config
from ava.config.problems import Problem, problems
from ava.config.roster import ROSTER, BrokenTermError, find_term
from ava.config.words import got
from ava.errors import Finding, Path, Span
from ava.load import OVERRIDES, Node, Source
from ava.terms.base import Term

__all__ = ["Settled", "settle", "validate"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settled:
    """What could be made of a source.

    Attributes:
        config: what is right in it, with defaults for the rest; None where nothing could be made of it.
        findings: all, in the order of the text.
        broken: the paths at which something is wrong, or which a misspelt key is taken for, so that ``config`` says
            nothing about them.
    """

    config: Config | None
    findings: tuple[Finding, ...]
    broken: frozenset[Path]


def validate(source: Source) -> tuple[Config | None, tuple[Finding, ...]]:
    """Return the configuration that ``source`` describes, or None, and all findings in the order of the text.

    The findings hold those of reading. There is a configuration exactly where none of them is an error.

    >>> from ava.load import load
    >>> [str(finding) for finding in validate(load({"version": 1, "terms": {"z_los": {}}}))[1]]
    ['<dict>:1:1: error AVA101 unknown-key: `z_los` is not a term; did you mean `z_loss`?']
    """
    settled = settle(source)
    config = settled.config
    if config is None or any(finding.severity == "error" for finding in settled.findings):
        return None, settled.findings
    config._source = replace(source, texts={}, findings=())
    return config, settled.findings


def settle(source: Source) -> Settled:
    """Return what is right in ``source``, and everything that is wrong."""
    data = {**source.data, "version": VERSION}
    foreign = _Foreign(data)
    config, found = _settle(data, lambda: Config.model_validate(data, context={"partial": True}))
    found = [*foreign.problems, *found]
    broken = {problem.path for problem in found} | set(foreign.failed)
    messages = Messages(source, foreign.classes)
    broken |= {path for problem in found if problem.kind == "unknown" for path in messages.meant_all(problem.path)}
    found, versions = _without_misspelt(messages, found, list(_versions(source)))
    findings = [*source.findings, *versions, *foreign.broken(source), *map(messages.finding, found)]
    if config is not None:
        findings += [
            _conflict(source, conflict)
            for conflict in conflicts(config)
            if not any(_overlap(path, other) for path in (conflict.path, *conflict.others) for other in broken)
        ]
    known = {finding.path for finding in findings}
    findings += [finding for finding in _null_terms(source) if finding.path not in known]
    return Settled(config, _ordered(source, findings), frozenset(broken))


class _Foreign:
    """The terms of other packages that ``data`` names: validated, and put back as objects."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.classes: dict[str, type[Term]] = {}
        self.problems: list[Problem] = []
        self.failed: dict[Path, str] = {}
        terms = data.get("terms")
        if isinstance(terms, dict):
            for name in [name for name in terms if name not in ROSTER]:
                self._take(name, terms)

    def _take(self, name: str, terms: dict[str, Any]) -> None:
        path: Path = ("terms", name)
        try:
            cls = find_term(name)
        except BrokenTermError as error:
            self.failed[path] = str(error)
            del terms[name]
            return
        if cls is None:
            return
        self.classes[name] = cls
        holder = {"terms": {name: terms.pop(name)}}
        if holder["terms"][name] is not None:
            term, found = _settle(holder, lambda: cls.model_validate(holder["terms"].get(name, {})), path)
            self.problems += found
            if term is not None:
                terms[name] = term

    def broken(self, source: Source) -> Iterator[Finding]:
        for path, message in self.failed.items():
            yield rules.BROKEN_TERM.finding(message, source.span(path, key=True), path)


def _settle(data: dict[str, Any], build: Callable[[], T], above: Path = ()) -> tuple[T | None, list[Problem]]:
    """Return what ``build`` makes of ``data`` without what is wrong in it, or None, and all problems.

    Leaving out what is wrong lets the rules between fields look at the rest in the same run.
    """
    found: list[Problem] = []
    while True:
        try:
            return build(), found
        except ValidationError as error:
            new, taken = problems(error, above), {problem.path for problem in found}
            found += [problem for problem in new if problem.path not in taken]  # else it is missing because it went
            if not sum(_remove(data, problem) for problem in new):
                return None, found


def _remove(data: dict[str, Any], problem: Problem) -> bool:
    """Remove the value that is wrong, the list around it, or the mapping that lacks it; say whether it was there."""
    path = problem.path[:-1] if problem.kind == "missing" else problem.path
    names = list(itertools.takewhile(lambda step: isinstance(step, str), path))
    parent: Any = data
    for name in names[:-1]:
        parent = parent.get(name) if isinstance(parent, dict) else None
    if not names or not isinstance(parent, dict) or names[-1] not in parent:
        return False
    del parent[names[-1]]
    return True


def _versions(source: Source) -> Iterator[Finding]:
    """Yield what is wrong with the ``version`` of each file, and of the overrides."""
    nodes: list[Node] = []
    for info in source.files:
        if info.version is not None:
            nodes.append(info.version)
        elif not info.has_version:
            yield rules.MISSING_KEY.finding(
                f"`version` is missing; every file says `version: {VERSION}`", info.root_span, ("version",)
            )
    final = source.get(("version",))
    if final is not None:
        nodes.append(final)
    for node in nodes:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int):
            yield rules.WRONG_TYPE.finding(
                f"`version`: expected `{VERSION}`, got {got(value)}",
                node.span,
                ("version",),
                note=note(source, node.span, ("version",)),
            )
        elif value != VERSION:
            yield rules.UNSUPPORTED_VERSION.finding(
                f"version {value} is not supported; this release reads version {VERSION}",
                node.span,
                ("version",),
                note=note(source, node.span, ("version",)),
            )


def _without_misspelt(
    messages: Messages, found: list[Problem], versions: list[Finding]
) -> tuple[list[Problem], list[Finding]]:
    """Return problems and findings without the keys that are missing only because they stand there misspelt."""
    missing = [problem for problem in found if problem.kind == "missing"]
    if not missing and not any(finding.code == rules.MISSING_KEY.code for finding in versions):
        return found, versions
    unknown = [problem.path for problem in found if problem.kind == "unknown"]
    meant = {path: messages.meant(path) for path in unknown}
    files = {messages.source.span(path, key=True).file for path in unknown if meant[path] == ("version",)}
    return (
        [problem for problem in found if problem.kind != "missing" or problem.path not in meant.values()],
        [item for item in versions if item.code != rules.MISSING_KEY.code or item.span.file not in files],
    )


def _null_terms(source: Source) -> Iterator[Finding]:
    terms = source.get(("terms",))
    for name, entry in terms.value.items() if terms is not None and isinstance(terms.value, dict) else ():
        if entry.node.value is None and entry.over is None:
            yield rules.NULL_TERM.finding(
                f"`{name}` is null, so the term is off, and nothing switches it on; write `{name}: {{}}` for its "
                "defaults, or remove the line",
                entry.key_span,
                ("terms", name),
                note=note(source, entry.key_span, ("terms", name)),
            )


def _conflict(source: Source, conflict: Conflict) -> Finding:
    span = source.span(conflict.path)
    return conflict.rule.finding(conflict.message, span, conflict.path, note=note(source, span, conflict.path))


def _overlap(one: Path, other: Path) -> bool:
    size = min(len(one), len(other))
    return one[:size] == other[:size]


def _ordered(source: Source, findings: list[Finding]) -> tuple[Finding, ...]:
    """Return ``findings`` once each, file by file (the loaded one first), each file's in the order of its text."""
    files = {info.name: index for index, info in enumerate(source.files)}

    def place(finding: Finding) -> tuple[object, ...]:
        file = finding.span.file
        return (files.get(file, len(files)), finding.span, finding.code, finding.message)

    return tuple(sorted(_once(source, findings), key=place))


def _once(source: Source, findings: list[Finding]) -> list[Finding]:
    """Return ``findings`` without repetitions: what aliases bring to several paths is one mistake, where it is written.

    It is told of the path that comes first in the text. What has no text has no places to tell mistakes apart.
    """
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        written = finding.span.file in source.texts and finding.span.file != OVERRIDES
        where = finding.path[-1:] if written else finding.path
        groups.setdefault((finding.code, finding.span, where), []).append(finding)
    once: list[Finding] = []
    for group in groups.values():
        paths = {finding.path for finding in group}
        first = min(paths, key=lambda path: _keys(source, path)) if len(paths) > 1 else group[0].path
        once += [finding for finding in group if finding.path == first]
    return once


def _keys(source: Source, path: Path) -> list[Span]:
    """Return the places of the keys that lead to ``path``."""
    return [source.span(path[:size], key=True) for size in range(1, len(path) + 1)]
