"""The interface of a loss term: frozen configuration, what it needs, and its maths.

A term never sees logits. It says which numbers per row it needs (:class:`Needs`), and turns them into a value
per row. How those numbers are obtained (from logits, from hidden states in chunks, from a vocabulary shard per
rank) is the engines' business, so a term is written once and runs on all of them.

This module does not import torch, because linting a YAML file must not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from ava.numbers import plural, short
from ava.terms.advice import TermRule

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.items import Items
    from ava.terms.rows import Rows

__all__ = [
    "CONTEXT",
    "EOS",
    "RUNTIME",
    "TARGET",
    "Candidates",
    "Column",
    "HeadsTerm",
    "Kind",
    "Needs",
    "OwnMeanTerm",
    "Pick",
    "RowTerm",
    "Schedule",
    "Section",
    "Source",
    "Statistic",
    "Term",
    "Weight",
    "is_runtime",
]


class Statistic(StrEnum):
    """A number per row that an engine can supply, obtained in its one pass over the vocabulary."""

    LSE = "lse"  # log sum_v exp z_v
    ENTROPY = "entropy"  # -sum_v p_v log p_v
    MEAN_LOGIT = "mean_logit"  # mean_v z_v
    MAX_LOG_PROB = "max_log_prob"  # max_v log p_v (without a gradient)
    MARGIN = "margin"  # max_v z_v - log sum of exp z over the others
    ARGMAX = "argmax"  # the first column of the maximum (without a gradient)
    DIVERGENCE = "divergence"  # KL(teacher || student) at the teacher's temperature


class Column(StrEnum):
    """A column known from the position alone."""

    TARGET = "target"
    CONTEXT = "context"
    EOS = "eos"


@dataclass(frozen=True, slots=True, order=True)
class Pick:
    """A column per row whose log-probability an engine supplies: ``[N]``."""

    column: Column

    @property
    def width(self) -> int:
        """Columns per row."""
        return 1

    def __str__(self) -> str:
        return str(self.column)


@dataclass(frozen=True, slots=True, order=True)
class Candidates:
    """The tokens that would complete a repeated n-gram: up to ``window`` columns per row, ``[N, window]``."""

    size: int
    window: int

    @property
    def width(self) -> int:
        """Columns per row."""
        return self.window

    def __str__(self) -> str:
        return f"candidates(size={self.size}, window={self.window})"


TARGET = Pick(Column.TARGET)
CONTEXT = Pick(Column.CONTEXT)
EOS = Pick(Column.EOS)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a term must be given.

    Attributes:
        statistics: numbers per row over the whole vocabulary.
        picks: columns whose log-probability is wanted.
        positions: integer facts per row: ``run`` (equal context tokens ending here) and ``before`` (valid
            positions before this one in its segment).
        inputs: arguments of ``Loss.forward`` beyond logits and targets.
        model: fields of ``model:`` that must be set when the loss is built.
        teacher_temperature: temperature of the divergence from a teacher, where that statistic is wanted.
    """

    statistics: frozenset[Statistic] = frozenset()
    picks: tuple[Pick | Candidates, ...] = ()
    positions: frozenset[Literal["run", "before"]] = frozenset()
    inputs: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    teacher_temperature: float | None = None

    def __or__(self, other: Needs) -> Needs:
        def union(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(dict.fromkeys((*a, *b)))

        return Needs(
            self.statistics | other.statistics,
            union(self.picks, other.picks),
            self.positions | other.positions,
            union(self.inputs, other.inputs),
            union(self.model, other.model),
            other.teacher_temperature if self.teacher_temperature is None else self.teacher_temperature,
        )


class _Runtime:
    """Marks a field whose value reaches the graph as a tensor, so that changing it never recompiles."""

    def __repr__(self) -> str:
        return "RUNTIME"


RUNTIME = _Runtime()


def is_runtime(section: type[BaseModel], name: str) -> bool:
    """Return whether changing this field leaves the compiled graph as it is."""
    return any(item is RUNTIME for item in section.model_fields[name].metadata)


class Section(BaseModel):
    """A mapping of the configuration language: frozen, hashable, strict, without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=False,
        use_attribute_docstrings=False,
        defer_build=True,
        serialize_by_alias=True,
        validate_by_name=False,
        validate_by_alias=True,
    )


NonNegative = Annotated[float, Field(ge=0)]


class Schedule(Section):
    """A weight that moves from one value to another, once, over a number of optimizer steps.

    It is held at ``from`` until ``delay`` steps have passed, and at ``to`` after ``delay + steps``.

    >>> Schedule.model_validate({"from": 0, "to": 1, "steps": 10}).at(5)
    0.5
    """

    start: NonNegative = Field(alias="from", description="Weight before the change.")
    to: NonNegative = Field(description="Weight after the change.")
    steps: int = Field(ge=1, description="Optimizer steps that the change takes.")
    delay: int = Field(default=0, ge=0, description="Optimizer steps before the change begins.")
    shape: Literal["linear", "cosine"] = Field(default="linear", description="Shape of the change.")

    def at(self, step: int) -> float:
        """Return the weight at an optimizer step, counted from 0."""
        import math

        done = min(max((step - self.delay) / self.steps, 0.0), 1.0)
        if self.shape == "cosine":
            done = 0.5 * (1.0 - math.cos(math.pi * done))
        return self.start + (self.to - self.start) * done

    @property
    def text(self) -> str:
        """The schedule in words.

        >>> Schedule.model_validate({"from": 0, "to": 0.5, "steps": 2000, "delay": 100, "shape": "cosine"}).text
        '0 → 0.5 over 2,000 steps after 100, cosine'
        """
        delay = f" after {self.delay:,}" if self.delay else ""
        return f"{short(self.start)} → {short(self.to)} over {plural(self.steps, 'step')}{delay}, {self.shape}"


def _weight_kind(value: object) -> str:
    return "schedule" if isinstance(value, (dict, Schedule)) else "number"


Weight = Annotated[
    Annotated[NonNegative, Tag("number")] | Annotated[Schedule, Tag("schedule")],
    Discriminator(_weight_kind),
    RUNTIME,
]


class Kind(StrEnum):
    """How a term's value becomes a scalar."""

    ROWS = "rows"  # a value per row of logits: sum over valid positions / n
    HEADS = "heads"  # a value per row of each future-token head: mean over heads of sum / n
    OWN_MEAN = "own-mean"  # a mean over its own items, times (valid positions / n)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a term's formula comes from."""

    paper: str
    link: str = ""
    equation: str = ""

    def __str__(self) -> str:
        parts = [self.paper, self.equation, self.link]
        return ", ".join(part for part in parts if part)


class Term(Section):
    """A term of the loss: a frozen section of the configuration, with its maths as methods.

    A subclass sets the class variables, adds its fields, and is either a :class:`RowTerm` or one that computes
    a mean over its own items. The docstring of the subclass is what ``ava-loss explain TERM`` prints.
    """

    name: ClassVar[str]
    """The one word that names the term everywhere: YAML key, output key, file, page."""
    kind: ClassVar[Kind]
    formula: ClassVar[str]
    """The maths on one line, in the notation of the documentation."""
    sources: ClassVar[tuple[Source, ...]] = ()
    recommended: ClassVar[dict[str, tuple[float, float]]]
    """Field to the range in which it is usually right; ``weight`` at least."""
    rules: ClassVar[tuple[TermRule, ...]] = ()
    """The term's own advice, which ``ava-loss lint`` gives."""

    weight: Weight = Field(description="Factor of the term in the total: a number, or a schedule.")
    if_missing: Literal["error", "skip"] = Field(
        default="error", description="What a call without the tensors that the term needs does."
    )

    @abstractmethod
    def needs(self) -> Needs:
        """Return what the term must be given."""

    def missing(self, given: AbstractSet[str]) -> str | None:
        """Return the argument of ``forward`` that the term lacks in a call with these, or None."""
        return next((name for name in self.needs().inputs if name not in given), None)

    @abstractmethod
    def untrained(self, vocab_size: int) -> float | None:
        """Return the raw value for an untrained model (uniform ``p``), or None where no formula tells."""

    @property
    def static(self) -> tuple[tuple[str, object], ...]:
        """The fields that are part of the compiled graph, with their values."""
        return tuple(self._static())

    def _static(self) -> Iterator[tuple[str, object]]:
        for name in type(self).model_fields:
            if not is_runtime(type(self), name):
                yield name, getattr(self, name)

    def weight_at(self, step: int) -> float:
        """Return the weight at an optimizer step."""
        return self.weight.at(step) if isinstance(self.weight, Schedule) else self.weight


class RowTerm(Term):
    """A term with a value per row of logits, averaged over the valid positions."""

    kind: ClassVar[Kind] = Kind.ROWS

    @abstractmethod
    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats. Rows that are not valid are dropped afterwards."""


class HeadsTerm(Term):
    """A term on the rows of the future-token heads: for each head a sum over its valid positions / n, then the mean."""

    kind: ClassVar[Kind] = Kind.HEADS

    @abstractmethod
    def value(self, heads: Rows, main: Rows) -> Tensor:
        """Return the value of each row of each head, ``[K, N]``, in nats.

        ``heads`` holds ``K * N`` rows, head by head; ``main`` the ``N`` rows of the model's own logits.
        """


class OwnMeanTerm(Term):
    """A term with a mean over items of its own; the total takes it times ``valid positions / n``."""

    kind: ClassVar[Kind] = Kind.OWN_MEAN

    @abstractmethod
    def value(self, items: Items) -> Tensor:
        """Return the mean over the term's own items, 0-d; 0, connected to its input, where there are none."""
