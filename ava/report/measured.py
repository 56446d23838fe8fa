"""The figures of a dry run, as ``ava-loss dry-run --format json`` writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ava.errors import ConfigError, SourceError, Span
from ava.report.rules import BROKEN_DRY_RUN

__all__ = ["DryRun", "TermRow", "Told", "parse_dry_run", "read_dry_run"]


def _or_none(value: Any) -> Any:
    """NaN and infinity mean the same as null: the value was not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[Annotated[float, Field(strict=True)] | None, BeforeValidator(_or_none)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TermRow(_Model):
    """One term; None stands for what was not finite, or was not measured."""

    raw: Figure = None
    weight: Figure = None
    weighted: Figure = None
    contribution: Figure = None
    gradient_norm: Figure = None
    gradient_share: Figure = None
    cosine_to_main: Figure = None


class Told(_Model):
    """A finding of the run."""

    code: str
    name: str
    severity: str
    message: str
    file: str = ""
    line: int = 1
    column: int = 1
    url: str = ""

    @property
    def span(self) -> Span:
        """Where it is."""
        return Span(self.file, self.line, self.column, self.line, self.column)


class DryRun(_Model):
    """A dry run."""

    preset: str
    engine: str = "logits"
    total: Figure = None
    terms: dict[str, TermRow] = Field(min_length=1)
    conflicts: dict[str, dict[str, Figure]] = {}
    finite: bool = True
    graph_breaks: int = 0
    recompiles: int = 0
    compile_seconds: Figure = None
    forward_ms: Figure = None
    backward_ms: Figure = None
    peak_bytes: int | None = None
    planned_bytes: int | None = None
    eager_difference: Figure = None
    findings: tuple[Told, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def compiled(self) -> bool:
        """Whether it ran compiled: then, and only then, it was compared with itself uncompiled."""
        return self.eager_difference is not None

    @property
    def matrix(self) -> dict[str, dict[str, float | None]]:
        """The cosines between all terms, in the order of the terms."""
        return {name: self.conflicts.get(name, {}) for name in self.terms if name in self.conflicts}


def parse_dry_run(data: Any, name: str) -> DryRun:
    """Return a dry run from plain data. ``name`` is the file's.

    Raises:
        ConfigError: it is not what a dry run writes.
    """
    try:
        return DryRun.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            BROKEN_DRY_RUN.finding(
                f"not what `ava-loss dry-run --format json` writes: {_where(problem['loc'])}: {problem['msg'].lower()}",
                Span(name, 1, 1, 1, 1),
                tuple(problem["loc"]),
            )
            for problem in error.errors()[:5]
        ) from None


def _where(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "the whole"


def read_dry_run(path: Path) -> DryRun:
    """Read a saved dry run.

    Raises:
        SourceError: the file cannot be read.
        ConfigError: it holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError(f"{path}: cannot read: {reason}") from error
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        span = Span(str(path), error.lineno, error.colno, error.lineno, error.colno + 1)
        raise ConfigError([BROKEN_DRY_RUN.finding(f"not JSON: {error.msg}", span)]) from None
    except (ValueError, RecursionError):
        span = Span(str(path), 1, 1, 1, 1)
        message = "not JSON that can be read: nested too deeply, or a number too long"
        raise ConfigError([BROKEN_DRY_RUN.finding(message, span)]) from None
    return parse_dry_run(data, str(path))
