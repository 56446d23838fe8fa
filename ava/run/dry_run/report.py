"""The figures of a dry run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ava.errors import Finding

__all__ = ["Measured", "Parts", "TermFigures", "plain"]


@dataclass(frozen=True, slots=True)
class TermFigures:
    """One term of the total.

    Attributes:
        raw: its value.
        weight: its factor.
        weighted: what it adds to the total.
        contribution: the same as a share of the total.
        gradient_norm: norm of the weighted gradient with respect to all inputs of the call.
        gradient_share: the same as a share of the sum of all norms.
        cosine_to_main: between its gradient and that of the main loss; 0 where either is zero.
    """

    raw: float
    weight: float
    weighted: float
    contribution: float
    gradient_norm: float
    gradient_share: float
    cosine_to_main: float


@dataclass(frozen=True)
class Parts:
    """The loss, taken apart: each term, and the cosines between their gradients."""

    terms: dict[str, TermFigures]
    conflicts: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Measured:
    """Everything that a dry run found. Times are medians in milliseconds; None where nothing was compiled.

    ``break_reasons`` say why the graph broke, ``causes`` why the loss is not finite.
    """

    preset: str
    engine: str
    total: float
    parts: Parts
    finite: bool
    graph_breaks: int
    recompiles: int
    compile_seconds: float
    forward_ms: float
    backward_ms: float
    peak_bytes: int
    planned_bytes: int
    eager_difference: float | None
    compiled: bool
    positions: int
    notes: tuple[str, ...] = ()
    break_reasons: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    findings: Sequence[Finding] = field(default=())

    @property
    def tokens_per_second(self) -> float:
        """Positions that forward and backward handle in a second."""
        return 1000 * self.positions / max(self.forward_ms + self.backward_ms, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, but for the findings; what is not finite becomes None."""
        names = TermFigures.__dataclass_fields__
        return {
            "preset": self.preset,
            "engine": self.engine,
            "total": plain(self.total),
            "terms": {
                term: {name: plain(getattr(figures, name)) for name in names}
                for term, figures in self.parts.terms.items()
            },
            "conflicts": {
                name: {other: plain(cosine) for other, cosine in row.items()}
                for name, row in self.parts.conflicts.items()
            },
            "finite": self.finite,
            "graph_breaks": self.graph_breaks,
            "recompiles": self.recompiles,
            "compile_seconds": plain(self.compile_seconds),
            "forward_ms": plain(self.forward_ms),
            "backward_ms": plain(self.backward_ms),
            "peak_bytes": self.peak_bytes,
            "planned_bytes": self.planned_bytes,
            "eager_difference": None if self.eager_difference is None else plain(self.eager_difference),
        }


def plain(value: float) -> float | None:
    """Return ``value``, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None
