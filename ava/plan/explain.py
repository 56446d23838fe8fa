"""What a configuration says, value by value and term by term: the data of ``ava-loss explain``. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic_core import PydanticUndefined

from ava.config.model import Config
from ava.config.roster import Terms
from ava.config.words import expected, field_schema, range_text
from ava.errors import Path, Span
from ava.load import OVERRIDES
from ava.plan.explain_engines import EngineInfo, Shape, explain_engines
from ava.plan.explain_term import TermInfo, explain_main, explain_term
from ava.plan.plan import Plan
from ava.terms.base import Schedule, Section, Term, is_runtime

__all__ = ["ASSUMED_VOCABULARY", "Explanation", "FieldInfo", "explain"]

ASSUMED_VOCABULARY = 50257
Origin = Literal["default", "file", "set", "implied"]
Effect = Literal["static", "runtime", "none"]


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One resolved value.

    Attributes:
        path: its place in the language, ``("terms", "z_loss", "weight")``.
        value: as plain data.
        default: what it is when no file says anything; None also where it has to be given.
        origin: who set it; ``implied`` by another field.
        where: the same for people: ``standard:12`` for line 12 of a preset, ``x.yaml:14``, ``--set``, ``default``.
        span: the place of the value in its file; None for a default.
        effect: ``static``: part of the compiled graph; ``runtime``: a tensor, so that changing it never recompiles;
            ``none``: this configuration does not use it.
        description: what it means.
        accepts: its type and range in words.
        recommended: the range in which it is usually right.
    """

    path: Path
    value: Any
    default: Any
    origin: Origin
    where: str
    span: Span | None
    effect: Effect
    description: str
    accepts: str
    recommended: tuple[float, float] | None = None

    @property
    def verdict(self) -> Literal["inside", "below", "above"] | None:
        """Where the value (of a schedule, its last) lies against what is recommended."""
        value = self._number
        if self.recommended is None or value is None:
            return None
        low, high = self.recommended
        return "below" if value < low else "above" if value > high else "inside"

    @property
    def position(self) -> float | None:
        """How far into the recommended range the value lies, from 0 to 1; None outside of it.

        By ratio where the range spans a factor of ten or more, as the one from 1e-5 to 1e-3 does.
        """
        value = self._number
        if self.verdict != "inside" or self.recommended is None or value is None:
            return None
        low, high = self.recommended
        if low == high:
            return 0.5
        if low > 0 and high >= 10 * low:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    @property
    def _number(self) -> float | None:
        value = self.value["to"] if isinstance(self.value, dict) and "to" in self.value else self.value
        return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        span = self.span
        return {
            "path": ".".join(map(str, self.path)),
            "value": self.value,
            "default": self.default,
            "origin": self.origin,
            "where": self.where,
            "file": None if span is None else span.file,
            "line": None if span is None else span.line,
            "column": None if span is None else span.column,
            "effect": self.effect,
            "description": self.description,
            "accepts": self.accepts,
            "recommended": None if self.recommended is None else list(self.recommended),
            "verdict": self.verdict,
            "position": self.position,
        }


@dataclass(frozen=True)
class Explanation:
    """A configuration, explained.

    Attributes:
        plan: what it computes.
        name: the preset's name, or the file's.
        fields: every value, in the order of the language.
        terms: the primary loss and the enabled terms.
        vocab_size: the vocabulary that the untrained values and the memory are for.
        engines: what it can run on, with the memory of each.
        shape: the call that the memory is for.
    """

    plan: Plan
    name: str
    files: tuple[str, ...]
    fields: tuple[FieldInfo, ...]
    terms: tuple[TermInfo, ...]
    vocab_size: int
    engines: tuple[EngineInfo, ...]
    shape: Shape

    @property
    def assumed(self) -> bool:
        """Whether no file says how large the vocabulary is."""
        return self.plan.config.model.vocab_size is None

    @cached_property
    def untrained_total(self) -> float:
        """The loss of an untrained model at the first step, as far as formulas tell."""
        return sum(term.weighted or 0.0 for term in self.terms)

    def share(self, term: TermInfo, *, last: bool = False) -> float | None:
        """Return the term's share of the untrained loss, with ``last`` at the weights after all schedules."""
        if term.untrained is None:
            return None
        total = sum((item.untrained or 0.0) * item.weights[1 if last else 0] for item in self.terms)
        return term.untrained * term.weights[1 if last else 0] / total if total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        config = self.plan.config
        return {
            "name": self.name,
            "description": config.description,
            "files": list(self.files),
            "vocab_size": self.vocab_size,
            "vocab_size_assumed": self.assumed,
            "untrained_total": self.untrained_total,
            "shape": self.shape.to_dict(),
            "engines": [engine.to_dict() for engine in self.engines],
            "inputs": list(self.plan.inputs),
            "required_model": list(self.plan.required_model),
            "values": [field.to_dict() for field in self.fields],
            "terms": {
                term.name: {**term.to_dict(), "share": self.share(term), "last_share": self.share(term, last=True)}
                for term in self.terms
            },
        }


def explain(config: Config, shape: Shape = Shape()) -> Explanation:  # noqa: B008  (frozen)
    """Explain a configuration; ``shape`` is the call that the memory of each engine is for.

    >>> told = explain(Config.load({"version": 1, "terms": {"z_loss": {}}}, vocab_size=1000))
    >>> [(term.name, round(term.untrained, 2)) for term in told.terms]
    [('main_loss', 6.91), ('z_loss', 47.72)]
    >>> next((field.where, field.effect) for field in told.fields if field.path == ("terms", "z_loss", "weight"))
    ('default', 'runtime')
    """
    plan = Plan(config)
    source = config.source
    vocab_size = config.model.vocab_size or ASSUMED_VOCABULARY
    files = source.files if source is not None else ()
    return Explanation(
        plan,
        (files[0].preset or files[0].name) if files else "configuration",
        tuple(info.name for info in files),
        tuple(_fields(plan)),
        (
            explain_main(plan, vocab_size),
            *(explain_term(planned.term, vocab_size, planned.cost) for planned in plan.terms),
        ),
        vocab_size,
        explain_engines(plan, vocab_size, shape),
        shape,
    )


def _fields(plan: Plan) -> Iterator[FieldInfo]:
    config = plan.config
    for name in ("model", "targets", "primary", "terms", "reduction", "compile", "balancing"):
        yield from _walk(plan, config, name, (name,))


def _walk(plan: Plan, section: Section, name: str, path: Path) -> Iterator[FieldInfo]:
    value = getattr(section, name)
    if isinstance(value, Terms):
        for term in value.enabled:
            for field in type(term).model_fields:
                yield _field(plan, term, field, (*path, term.name, field))
    elif isinstance(value, Section) and not isinstance(value, Schedule):
        for field, info in type(value).model_fields.items():
            yield from _walk(plan, value, field, (*path, info.alias or field))
    else:
        yield _field(plan, section, name, path)


def _field(plan: Plan, section: Section, name: str, path: Path) -> FieldInfo:
    info = type(section).model_fields[name]
    value, default = _plain(getattr(section, name)), info.get_default(call_default_factory=True)
    default = None if default is PydanticUndefined else _plain(default)
    origin, where, span = _origin(plan.config, path, value == default)
    recommended = section.recommended.get(name) if isinstance(section, Term) else None
    foreign = type(section) if isinstance(section, Term) else None
    schemas = field_schema(path, foreign)
    limits = range_text(schemas)
    return FieldInfo(
        path,
        value,
        default,
        origin,
        where,
        span,
        _effect(plan, section, name, path),
        info.description or "",
        expected(schemas) + (f", {limits}" if limits else ""),
        recommended,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(by_alias=True)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _origin(config: Config, path: Path, is_default: bool) -> tuple[Origin, str, Span | None]:
    source = config.source
    node = source.get(path) if source is not None else None
    if source is None or node is None:
        return ("default", "default", None) if is_default else ("implied", "implied", None)
    span = node.span
    preset = next((info.preset for info in source.files if info.name == span.file), None)
    if span.file == OVERRIDES:
        return "set", OVERRIDES, span
    return "file", f"{preset or span.file}:{span.line}", span


def _effect(plan: Plan, section: Section, name: str, path: Path) -> Effect:
    if path[0] == "model":
        heads = name == "hidden_size" and plan.config.terms.mtp_loss is not None  # shape of the loss's own heads
        return "static" if heads or name in plan.static_model else "none"
    if path[:1] == ("terms",) and name == "if_missing" and not plan.inputs:
        return "none"
    return "runtime" if is_runtime(type(section), name) else "static"
