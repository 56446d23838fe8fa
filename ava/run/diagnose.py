"""``Loss.diagnose``: where a loss stopped being finite, why, and what to try."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ava.errors import Finding, NonFiniteLossError
from ava.numbers import short
from ava.run.causes import Place, causes, nothing_counts
from ava.run.dry_run.judge import at
from ava.run.dry_run.rules import DIFFERS, NOT_FINITE
from ava.run.examined import examine

if TYPE_CHECKING:
    from ava.run.loss import Loss

__all__ = ["Diagnosis", "Place", "diagnose", "require_finite"]


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found.

    Attributes:
        finite: whether the total, every term and the gradients are finite.
        total: the total of the call.
        terms: the value of each term, ``main_loss`` and then the raw terms by name.
        first: the first number that went wrong, in the order in which the numbers are computed, or None.
        term: the first term that went wrong, or None.
        findings: the causes, the likeliest first, each with what to try; for a finite loss what is odd about the call.
        extremes: smallest and largest finite number of each tensor that the call uses.
    """

    finite: bool
    total: float
    terms: Mapping[str, float]
    first: Place | None = None
    term: str | None = None
    findings: tuple[Finding, ...] = ()
    extremes: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.finite:
            yield f"The loss is finite: {short(self.total)}."
        else:
            yield f"The loss is not finite: {short(self.total)}."
            if self.first is not None:
                yield f"first    {self.first}"
            if self.term is not None:
                yield f"term     {self.term}"
        for finding in self.findings:
            yield f"{finding.severity:<8} {finding.code} {finding.name}: {finding.message}"
        width = max(map(len, (*self.terms, *self.extremes)), default=0)
        if self.terms:
            yield "terms"
            yield from (f"  {name:<{width}}  {short(value)}" for name, value in self.terms.items())
        if self.extremes:
            yield "extremes"
            yield from (
                f"  {name:<{width}}  {short(low)} to {short(high)}" for name, (low, high) in self.extremes.items()
            )


def diagnose(loss: Loss, **inputs: Any) -> Diagnosis:
    """Run a call again, uncompiled and without touching the state, and say what is not finite and why.

    Args:
        loss: the loss.
        inputs: the arguments of the call, by name, as :meth:`ava.Loss.forward` takes them.

    Raises:
        ArgumentValueError, ArgumentTypeError: what the call itself would raise.
    """
    inputs.pop("return_detailed", None)
    call = examine(loss, inputs)
    out = call.answer()
    total = out.pop("total_loss")
    terms = {"main_loss": out["main_loss"]}
    terms |= {name.removeprefix("raw/"): value for name, value in out.items() if name.startswith("raw/")}
    extremes = {name: (seen.low, seen.high) for name, seen in call.tensors.items() if seen.low <= seen.high}
    findings = tuple(nothing_counts(call))
    wrong = [name for name, value in {**terms, **_weighted(out)}.items() if not math.isfinite(value)]
    gradients: dict[str, Place] = {}
    if math.isfinite(total):
        gradients = call.bad_gradients()
    if math.isfinite(total) and not wrong and not gradients:
        return Diagnosis(True, total, terms, None, None, findings, extremes)
    found = list(causes(call, wrong, gradients))
    first = next((place for place, _ in found if place is not None), None)
    findings = (*(finding for _, finding in found), *findings)
    return Diagnosis(False, total, terms, first, wrong[0] if wrong else None, findings, extremes)


def _weighted(out: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in out.items() if "/" not in name and name != "main_loss"}


def require_finite(loss: Loss, total: Tensor, sharded: bool = False, **inputs: Any) -> None:
    """Raise where a total is not finite: ``compile.checks: full``. Waits for the device.

    Args:
        loss: the loss whose call it is.
        total: what the call answers, 0-d.
        sharded: whether the inputs are a rank's part of the vocabulary, which cannot be looked at alone.
        inputs: the arguments of the call, by name.

    Raises:
        NonFiniteLossError: it is infinite or not a number; holds the :class:`Diagnosis`.
    """
    if torch.compiler.is_compiling() or bool(total.isfinite()):
        return
    if sharded:
        text = "a rank sees a part of the vocabulary only; for the cause, gather the tensors and call `loss.diagnose`"
        raise NonFiniteLossError(Diagnosis(False, total.item(), {}, findings=(at(loss.config, NOT_FINITE, text, ()),)))
    with torch.no_grad():
        found = diagnose(loss, **inputs)
    if found.finite:  # uncompiled it is
        values = f"{short(total.item())} compiled and {short(found.total)} uncompiled"
        text = f"the loss is {values}; try `compile.enabled: false`"
        finding = at(loss.config, DIFFERS, text, ("compile",))
        found = replace(found, finite=False, total=total.item(), findings=(finding, *found.findings))
    elif not found.findings:
        found = replace(found, findings=(at(loss.config, NOT_FINITE, "no cause was found", ()),))
    raise NonFiniteLossError(found)
