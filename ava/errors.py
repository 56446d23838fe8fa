"""Every error that ``ava`` raises on a user's input, and the finding that a file's mistakes become.

::

    AvaError
    ├── ConfigError              (ValueError)    what a configuration contains: a list of findings
    ├── SourceError              (OSError)       a path, preset or override that cannot be read at all
    ├── ArgumentValueError       (ValueError)    a tensor or keyword of the wrong shape, dtype or value
    ├── ArgumentTypeError        (TypeError)     a keyword that does not exist, or of the wrong kind
    ├── TargetIndexError         (IndexError)    a target outside the vocabulary
    ├── NonFiniteLossError       (ArithmeticError) a loss that is infinite or not a number, with its diagnosis
    ├── MissingDependencyError   (ImportError)   an extra that is not installed
    └── CompileError             (RuntimeError)  the graph could not be compiled as asked

Imports nothing of the project, so every layer may use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "AvaError",
    "CompileError",
    "ConfigError",
    "Finding",
    "Fix",
    "MissingDependencyError",
    "NonFiniteLossError",
    "Rule",
    "Severity",
    "SourceError",
    "Span",
    "TargetIndexError",
    "did_you_mean",
    "nearest",
    "rule_url",
]

Severity = Literal["error", "warning", "info"]
Path = tuple[str | int, ...]

DOCS_URL = "https://ava-loss.readthedocs.io/rules/"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of text: 1-based lines and columns counted in code points; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Fix:
    """A safe edit: replace the text at ``span`` by ``replacement``; ``title`` says what it does."""

    title: str
    span: Span
    replacement: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake, or one piece of advice, at one place.

    ``path`` is the key's path inside the configuration (``("terms", "z_loss", "weight")``); ``note`` adds
    a second line, for example where an inherited value was set.
    """

    code: str
    name: str
    severity: Severity
    message: str
    span: Span
    path: Path = ()
    fix: Fix | None = None
    note: str | None = None

    @property
    def url(self) -> str | None:
        """The page that documents the rule; None for a rule of another package, which `ava-loss rule` explains."""
        return rule_url(self.code, self.name)

    def __str__(self) -> str:
        return f"{self.span}: {self.severity} {self.code} {self.name}: {self.message}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of finding: its code and name (either selects it), its severity and its documentation.

    ``doc`` is what ``ava-loss rule CODE`` prints, with the sections *What it does*, *Why is this bad*,
    *Example* and *Use instead*.
    """

    code: str
    name: str
    severity: Severity
    doc: str

    def finding(
        self, message: str, span: Span, path: Path = (), *, fix: Fix | None = None, note: str | None = None
    ) -> Finding:
        """Return this rule's finding at ``span``."""
        return Finding(self.code, self.name, self.severity, message, span, path, fix, note)


def rule_url(code: str, name: str) -> str | None:
    """Return the address of a rule's page, or None for a rule that is not ours.

    >>> rule_url("AVA101", "unknown-key"), rule_url("MY001", "idle-floor")
    ('https://ava-loss.readthedocs.io/rules/unknown-key/', None)
    """
    return f"{DOCS_URL}{name}/" if code.startswith("AVA") else None


def documentation(does: str, bad: str, example: str, instead: str, language: str = "yaml") -> str:
    """Return the documentation of a rule in its four sections; the two samples become blocks of ``language``."""
    sections = (
        ("What it does", does),
        ("Why is this bad", bad),
        ("Example", f"```{language}\n{example}\n```"),
        ("Use instead", f"```{language}\n{instead}\n```"),
    )
    return "\n\n".join(f"## {title}\n\n{body}" for title, body in sections) + "\n"


class AvaError(Exception):
    """Base of every error that ``ava`` raises on a user's input."""


class ConfigError(AvaError, ValueError):
    """A configuration has mistakes: ``findings`` holds all of them, in the order of the text."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


class SourceError(AvaError, OSError):
    """A path, preset name or override that cannot be read at all (the command line's exit code 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class ArgumentValueError(AvaError, ValueError):
    """An argument with the wrong rank, shape, dtype or value, or one that is missing."""


class ArgumentTypeError(AvaError, TypeError):
    """An unknown keyword, or an argument of the wrong kind."""


class TargetIndexError(AvaError, IndexError):
    """A target outside ``[0, vocab_size)`` that is not ignored (``compile.checks: full``)."""


class NonFiniteLossError(AvaError, ArithmeticError):
    """A loss that is infinite or not a number (``compile.checks: full``).

    ``diagnosis`` says where it began and what to try, see :class:`ava.run.diagnose.Diagnosis`; the message is its text.
    """

    def __init__(self, diagnosis: object) -> None:
        self.diagnosis = diagnosis
        super().__init__(diagnosis)

    def __str__(self) -> str:
        return str(self.diagnosis)


class MissingDependencyError(AvaError, ImportError):
    """An optional dependency is needed and is not installed; the message says how to install it."""


class CompileError(AvaError, RuntimeError):
    """The graph could not be compiled, and the configuration forbids the eager fallback."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to ``word``, or None when none is near.

    >>> nearest("windw", ["window", "size"])
    'window'
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean `X`?"``, or ``""`` when nothing is near.

    >>> did_you_mean("windw", ["window", "size"])
    '; did you mean `window`?'
    """
    near = nearest(word, known)
    return f"; did you mean `{near}`?" if near else ""
