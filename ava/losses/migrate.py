"""An old file → a new one: an older version of the language, flat keywords, or a ``losses:`` section of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ava.config import VERSION, rules, validate
from ava.config.migrations import MIGRATIONS, Step, upgrade, version_of
from ava.config.write import flow
from ava.errors import ArgumentTypeError, ArgumentValueError, Finding, Rule, Span, did_you_mean
from ava.load import load, load_text
from ava.load.read import Document, read_document
from ava.load.source import Entry, plain
from ava.losses.keywords import PLACES, check
from ava.losses.rewrite import rewrite
from ava.losses.translate import translate

__all__ = ["SECTION", "Migrated", "migrate"]

SECTION = "losses"
"""The key under which the original project's files have their flat keywords."""

_NEW = ("targets", "primary", "terms", "balancing", "reduction", "compile", "extends")  # `model` is in old files too
_KEPT = ("version", "description")  # what may stand beside flat keywords


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of a file.

    Attributes:
        text: the new file; None where ``findings`` say why there is none.
        changed: whether it differs from the old one.
        findings: the errors, at their places in the old file.
        texts: the texts that they point into.
        notes: what a person should know beside the comments in the text.
    """

    text: str | None
    changed: bool = False
    findings: tuple[Finding, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def migrate(data: bytes | str, name: str, *, folder: str = "", steps: Mapping[int, Step] = MIGRATIONS) -> Migrated:
    """Return the present form of the file ``name`` that holds ``data``, YAML or JSON. Never raises on what it holds.

    ``folder`` is where paths in ``extends`` start; ``steps`` lead from version to version.

    >>> print(migrate('{"use_ngram_penalty": true, "ngram_window_size": 30}', "old.json").text.splitlines()[-1])
      ngram_penalty: {window: 30}  # was use_ngram_penalty, ngram_window_size
    """
    document = _read(data, name)
    root = document.root.value if document.root is not None else None
    if not isinstance(root, dict):
        return Migrated(None, findings=document.findings, texts={name: document.text})
    flat, within = _flat(root)
    if flat is None:
        return _upgraded(document, name, folder, steps)
    if document.findings:
        return Migrated(None, findings=document.findings, texts={name: document.text})
    return _translated(document, name, root, flat, within)


def _read(data: bytes | str, name: str) -> Document:
    """Return the document; tabs, which JSON may be indented with, count as spaces there."""
    document = read_document(data, name)
    text = document.text
    if document.findings and text.lstrip()[:1] == "{" and "\t" in text:
        again = read_document(re.sub(r'("(?:[^"\\\n]|\\.)*")|\t', lambda found: found[1] or " ", text), name)
        return Document(text, again.root, again.findings)
    return document


def _flat(root: Mapping[str, Entry]) -> tuple[Mapping[str, Entry] | None, bool]:
    """Return the flat keywords, or None where the file is one of the language; and whether they are in a section."""
    section = root.get(SECTION)
    if section is not None and isinstance(section.node.value, dict) and not root.keys() & set(_NEW):
        return section.node.value, True
    new = {*_NEW, "model"} if "version" in root else set(_NEW)
    if (
        root.keys() & new
        or not root.keys() - {*_KEPT, "model"}
        or ("version" in root and not root.keys() & set(PLACES))
    ):
        return None, False
    return {key: entry for key, entry in root.items() if key not in _KEPT}, False


def _upgraded(document: Document, name: str, folder: str, steps: Mapping[int, Step]) -> Migrated:
    """Return a file of the language in its present version, as it was where it is that already."""
    upgraded = upgrade(document, name, VERSION, steps)
    source = load_text(upgraded.text, name, folder=folder)
    findings = tuple(finding for finding in validate(source)[1] if finding.severity == "error")
    if findings:
        return Migrated(None, findings=findings, texts=source.texts)
    if upgraded.text == document.text:
        return Migrated(upgraded.text, notes=(f"{name} is of version {VERSION} already; nothing has to change",))
    said = f"# From version {version_of(document)}, by `ava-loss migrate`."
    comments = [said, *(f"# - {' '.join(note.split())}" for note in upgraded.notes)]
    return Migrated(_with_comments(upgraded.text, comments), True, notes=upgraded.notes)


def _with_comments(text: str, comments: list[str]) -> str:
    """Return ``text`` with comments at its beginning, under the line that names the schema."""
    head, line_break, rest = text.partition("\n")
    if head.startswith("# yaml-language-server:"):
        return "\n".join([head, *comments]) + line_break + rest
    return "\n".join([*comments, text])


def _translated(
    document: Document, name: str, root: Mapping[str, Entry], flat: Mapping[str, Entry], within: bool
) -> Migrated:
    texts, beginning = {name: document.text}, Span(name, 1, 1, 1, 1)
    findings = tuple(_wrong(flat))
    if findings:
        return Migrated(None, findings=findings, texts=texts)
    given = {key: plain(entry.node) for key, entry in flat.items() if plain(entry.node) is not None}
    try:
        translation = translate(given)
    except (ArgumentTypeError, ArgumentValueError) as error:
        span = _first_named(str(error), flat) or beginning
        return Migrated(None, findings=(rules.INVALID_VALUE.finding(_in_yaml(str(error)), span),), texts=texts)
    described = root.get("description")
    if described is not None and isinstance(described.node.value, str):
        after = {key: value for key, value in translation.document.items() if key != "version"}
        translation.document.clear()
        translation.document.update({"version": VERSION, "description": described.node.value, **after})
    conflicts = [finding for finding in validate(load(translation.document))[1] if finding.severity == "error"]
    if conflicts:
        moved = tuple(_moved(finding, flat, beginning) for finding in conflicts)
        return Migrated(None, findings=moved, texts=texts)
    others = sorted(root.keys() - {SECTION, *_KEPT}) if within else []
    about = [f"Not looked at: {', '.join(map(flow, others))}, which stood beside `{SECTION}`."] if others else []
    file = _shown(os.path.basename(name))  # noqa: PTH119  (a name may be none of a file's)
    origin = f"the `{SECTION}` section of {file}" if within else f"the flat keywords in {file}"
    comments = any(line.lstrip().startswith("#") for line in document.text.splitlines())
    notes = ("the comments of the old file are not in the new one",) if comments else ()
    return Migrated(rewrite(given, translation, origin, about), True, notes=notes)


def _wrong(flat: Mapping[str, Entry]) -> Iterator[Finding]:
    """Yield what is wrong with single keywords, each at its place."""
    for key, entry in flat.items():
        if key not in PLACES:
            near = did_you_mean(key[:60], PLACES)
            value = entry.node.value
            if isinstance(value, dict) and any(name in PLACES for name in value):
                near = f"; flat keywords stand at the top, or in a section called `{SECTION}`"
            words = f"`{_shown(key)}` is not a keyword of UnifiedLoss{near}"
            yield rules.UNKNOWN_KEY.finding(words, entry.key_span, (key,))
            continue
        try:
            check({key: plain(entry.node)})
        except ArgumentTypeError as error:
            yield rules.WRONG_TYPE.finding(_in_yaml(str(error)), entry.node.span, (key,))
        except ArgumentValueError as error:
            yield _rule_of(str(error)).finding(_in_yaml(str(error)), entry.node.span, (key,))


def _rule_of(message: str) -> Rule:
    """Return the rule that a configuration's field would break with such a value."""
    if " is not one of " in message:
        return rules.UNKNOWN_VALUE
    return rules.OUT_OF_RANGE if " should be " in message else rules.INVALID_VALUE


def _in_yaml(message: str) -> str:
    """Return a message about keywords of Python in the words of the file."""
    message = message.replace("`True`", "`true`").replace("`False`", "`false`")
    return re.sub(r"(\w+)=('?)(\w+)\2", lambda found: f"{found[1]}: {found[3].lower()}", message)


def _first_named(message: str, flat: Mapping[str, Entry]) -> Span | None:
    named = [word for word in re.findall(r"\w+", message) if word in flat]
    return flat[named[0]].node.span if named else None


def _moved(finding: Finding, flat: Mapping[str, Entry], root: Span) -> Finding:
    """Return a finding of the new document at the keyword that it comes from."""
    path = ".".join(map(str, finding.path))
    spans = [
        entry.node.span
        for key, entry in flat.items()
        if any(path == place or path.startswith(f"{place}.") for place in PLACES[key].split("`")[::2])
    ]
    return Finding(
        finding.code, finding.name, finding.severity, finding.message, spans[-1] if spans else root, finding.path
    )


def _shown(text: str) -> str:
    """Return ``text`` on one line, shortened, with nothing that acts on a terminal."""
    text = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return text if len(text) <= 60 else text[:59] + "…"
