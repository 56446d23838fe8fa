"""How much memory forward and backward take at the most, above the tensors that a call is given.

The peak is reached in one of a few phases, each of which holds what is kept for the backward pass and something large
of its own: the integer preparation, the gradient of the logits, the future-token heads, the terms on experts or hidden
states. The answer is the largest. The factors of a run that is not compiled are those of its separate operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ava.errors import ArgumentValueError
from ava.plan.chunks import chunk_rows
from ava.plan.cost import INDEX_BYTES, VALUE_BYTES, cost_of
from ava.terms.base import Candidates, Statistic
from ava.terms.contrastive_loss import ContrastiveLoss
from ava.terms.mtp_loss import MtpLoss

if TYPE_CHECKING:
    from ava.plan.plan import Engine, Plan

__all__ = ["peak_memory"]

_PREPARING = 36  # bytes a candidate: the comparisons of every offset with its prefix
_PREPARING_ROW = 92
_MATCHING, _MATCHING_ROW = 46, 230  # of an uncompiled run: which picks name the same column
_PICKED = 18  # bytes a picked column in the backward pass: its index, its gradient, its value
_PICKED_EAGER = 8
_ROW = 2 * VALUE_BYTES + INDEX_BYTES
_ROW_EAGER = 80
_EXPERTS, _EXPERTS_EAGER = 0.0, 4.2  # times the experts' outputs
_SIMILARITIES = 3  # matrices of the contrastive term that exist at a time


def peak_memory(
    plan: Plan, rows: int, vocab_size: int, itemsize: int, engine: Engine, hidden_size: int | None = None
) -> int:
    """Return the bytes; see :meth:`ava.plan.Plan.memory`."""
    return int(max(_phases(plan, rows, vocab_size, itemsize, engine, hidden_size)))


def _phases(
    plan: Plan, rows: int, vocab_size: int, itemsize: int, engine: Engine, hidden_size: int | None
) -> Iterator[float]:
    model, terms = plan.config.model, [planned.term for planned in plan.terms]
    compiled = plan.config.compile.enabled is not False and plan.config.compile.backend != "eager"
    wide_value = max(itemsize, VALUE_BYTES)
    hidden = hidden_size or model.hidden_size
    columns = sum(pick.width for pick in plan.needs.picks)
    candidates = sum(pick.width for pick in plan.needs.picks if isinstance(pick, Candidates))
    kept = rows * (cost_of(plan.needs).saved_bytes + _ROW + (0 if compiled else _ROW_EAGER))
    given = rows * itemsize * _width_given(plan, hidden, engine)
    wide = rows * vocab_size

    yield rows * (_PREPARING * candidates + _PREPARING_ROW)
    heads = next((term for term in terms if isinstance(term, MtpLoss)), None)
    if engine == "linear":
        if hidden is None:
            raise ArgumentValueError("hidden_size: the linear engine's memory depends on it, and it is not set")
        gradients = _gradients(plan, heads, rows, vocab_size, hidden)
        count = chunk_rows(plan.config.compile.chunk_tokens, rows, vocab_size, itemsize)
        factor = 0.0 if compiled else max(_forward_factor(plan, itemsize), _backward_factor(plan, itemsize))
        chunk = count * vocab_size * (itemsize + factor)
        chunk += count * (columns - 1) * (_PICKED if compiled else _PICKED_EAGER)
        product = vocab_size * hidden * itemsize if itemsize < VALUE_BYTES else 0
        states = rows * hidden * itemsize * (0 if heads is None else _states(heads))
        yield kept + states + gradients * wide_value + chunk + product
        if not compiled:
            matching = count * (_MATCHING * candidates + _MATCHING_ROW + 2 * vocab_size * wide_value)
            yield kept + gradients * wide_value + matching
        # the gradient was taken in the forward pass, so nothing else is kept for the backward one
        yield states + given + gradients * (wide_value + (itemsize if itemsize < VALUE_BYTES else 0))
        kept = 0
    else:
        picked = rows * (columns - 1) * (_PICKED if compiled else _PICKED_EAGER)
        yield kept + picked + given + wide * (itemsize if compiled else _backward_factor(plan, itemsize))
        if not compiled:
            yield kept + wide * _forward_factor(plan, itemsize)
            yield rows * (_MATCHING * candidates + _MATCHING_ROW) + given + 2 * wide * wide_value
    if heads is not None and engine != "linear":
        count = heads.num_future_tokens
        states = rows * (hidden or 0) * itemsize * (count + 1)
        each = itemsize + (itemsize if compiled else (3 + (itemsize < VALUE_BYTES)) * wide_value + 1)
        yield kept + states + count * wide * each
        yield kept + states + count * wide * itemsize + (hidden or 0) * vocab_size * count * VALUE_BYTES
    if "expert_outputs" in plan.inputs and hidden:
        outputs = rows * (model.num_experts or 1) * hidden * wide_value
        held = _gradients(plan, heads, rows, vocab_size, hidden) * wide_value if engine == "linear" else 0
        yield kept + given + held + outputs * (_EXPERTS if compiled else _EXPERTS_EAGER)
    sample = next((min(rows, term.max_tokens) for term in terms if isinstance(term, ContrastiveLoss)), 0)
    yield kept + given + _SIMILARITIES * sample**2 * wide_value


def _gradients(plan: Plan, heads: MtpLoss | None, rows: int, vocab_size: int, hidden: int) -> int:
    """Return the numbers in the gradients that the linear engine takes in the forward pass."""
    numbers = (rows + vocab_size) * hidden
    if heads is not None:
        count = heads.num_future_tokens
        projections = {"linear": count, "shared": 1, "tied": 0}[heads.heads] * vocab_size * hidden
        numbers += (1 if heads.heads == "linear" else count) * rows * hidden
        numbers += projections if plan.config.model.hidden_size is not None else 0
    return numbers


def _states(heads: MtpLoss) -> int:
    """Return how many hidden states a row the future-token heads keep: what each projects, and how it came about."""
    return 2 if heads.heads == "linear" else 4 * heads.num_future_tokens


def _forward_factor(plan: Plan, itemsize: int) -> int:
    """Return the bytes an entry of the logits takes at the peak of an uncompiled forward pass."""
    curved, apart = (name in plan.needs.statistics for name in (Statistic.ENTROPY, Statistic.MARGIN))
    return (2 + (itemsize < VALUE_BYTES) + apart + max(apart, 2 * curved)) * max(itemsize, VALUE_BYTES)


def _backward_factor(plan: Plan, itemsize: int) -> int:
    """Return the bytes an entry of the logits takes at the peak of an uncompiled backward pass."""
    curved, taught = (name in plan.needs.statistics for name in (Statistic.ENTROPY, Statistic.DIVERGENCE))
    converted = itemsize < VALUE_BYTES
    return (3 + converted + curved + (3 + converted) * taught) * max(itemsize, VALUE_BYTES) + 1


def _width_given(plan: Plan, hidden: int | None, engine: Engine) -> int:
    """Return the numbers a row that the gradients of the terms' own inputs have."""
    experts = plan.config.model.num_experts or 0
    inputs = set(plan.inputs)
    width = experts * ("gate_logits" in inputs) + experts * (hidden or 0) * ("expert_outputs" in inputs)
    width += (hidden or 0) * ("expert_outputs" in inputs)  # the sum of the experts' directions
    return width + (hidden or 0) * ("hidden_states" in inputs and engine != "linear")
