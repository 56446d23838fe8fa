"""The ``linear`` engine: from hidden states and heads to what the terms say of their logits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.amp import is_autocast_available

from ava.compile.batch import Measurements, Mode
from ava.compile.chunk import Body, build_future_body, build_main_body, metric_names, sum_names
from ava.compile.compiler import compiled_function
from ava.compile.heads import own_head_states
from ava.compile.measure import compute_dtype
from ava.compile.sweep import Head, LinearRows, Pass, ShapeLogits, Sweep
from ava.compile.weights import weights_at
from ava.plan import Plan
from ava.plan.chunks import chunk_rows
from ava.terms.mtp_loss import MtpLoss

__all__ = ["LinearInput", "measure_linear"]

_WORTH = 0.9
"""Rows without a target are skipped where fewer than this share of all rows is left."""


@dataclass(frozen=True, slots=True)
class LinearInput:
    """The tensors of a call that the heads read.

    Attributes:
        hidden: ``[N, H]``.
        weight: ``[V, H]``; the columns of this rank under vocabulary parallelism.
        bias: ``[V]`` or None.
        prepared: the answer of :func:`ava.compile.prepare.prepare`.
        extras: see :class:`ava.compile.batch.Batch`; what the future-token heads read is taken out.
        heads: parameters of the loss's own heads.
        schedules: ``[K, 5]``.
        state: the buffers of the loss.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    prepared: list[Tensor]
    extras: dict[str, Tensor]
    heads: Mapping[str, Tensor]
    schedules: Tensor
    state: dict[str, Tensor]


class _Tensors:
    """The tensors of the operator, each once."""

    def __init__(self) -> None:
        self.all: list[Tensor] = []

    def index(self, tensor: Tensor) -> int:
        for place, held in enumerate(self.all):
            if held is tensor:
                return place
        self.all.append(tensor)
        return len(self.all) - 1


@torch.compiler.disable(reason="it loops over chunks of rows, and compiles those")  # type: ignore[no-untyped-call, untyped-decorator]
def measure_linear(plan: Plan, mode: Mode, given: LinearInput) -> Measurements:
    """Return what the terms say of the heads' logits, which never exist whole; differentiable in its sums."""
    device = given.hidden.device
    dtype = given.hidden.dtype
    if is_autocast_available(device.type) and torch.is_autocast_enabled(device.type) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device.type)
    wide = compute_dtype(dtype)
    extras = given.extras
    term = next((p.term for p in plan.terms if isinstance(p.term, MtpLoss) and p.name not in mode.skipped), None)
    states: Tensor | None = None
    if term is not None and "hidden" in extras:
        states = own_head_states(extras.pop("hidden"), given.heads, term.num_future_tokens)
    elif "mtp_hidden" in extras:
        flat, size = extras.pop("mtp_hidden"), given.hidden.shape[0]
        states = flat.view(flat.shape[0] // size if size else 1, size, flat.shape[-1])

    tensors = _Tensors()
    model = plan.config.model
    shaped = model.logit_scale != 1.0 or model.logit_softcap is not None
    shape_logits = (
        _shape_logits(plan, device, dtype, given.bias is not None) if shaped or given.bias is not None else None
    )
    bias = None if given.bias is None else tensors.index(given.bias)
    main = Head(
        tensors.index(given.hidden), tensors.index(given.weight), bias, None, None, shape_logits, model.logit_scale
    )
    future = [] if states is None or term is None else _future_heads(term, states, given, tensors, main)
    needed = tuple(i for i, t in enumerate(tensors.all) if t.requires_grad) if torch.is_grad_enabled() else ()

    bodies = _Bodies(plan, mode, device, dtype, bool(needed), "teacher_logits" in extras)
    coefficients = _coefficients(plan, mode, given)
    names = sum_names(plan, mode.skipped)
    columns = mode.vocab_size if mode.shard is None else mode.shard.width
    kept, future_kept = _kept(given, term, future, mode.shard is not None)
    inverse_temperature = (1 / given.state["temperature"]).to(wide)
    passes = [
        Pass(
            main,
            bodies.main(),
            given.prepared,
            torch.stack([coefficients[name] for name in names]).to(wide),
            inverse_temperature,
            columns,
            extras.pop("teacher_logits", None),
            shard=mode.shard,
            kept=kept,
        )
    ]
    if future:
        assert term is not None
        one = torch.ones((), dtype=wide, device=device)
        count = (coefficients["mtp_loss"] / len(future)).to(wide)[None]
        targets = extras.pop("mtp_targets").view(len(future), -1)
        counts = extras["mtp_valid"].view(len(future), -1)
        for number, head in enumerate(future):
            tied = head.weight == main.weight
            rows = [counts[number], targets[number]]
            body = bodies.future(term, tied)
            shard, width = (mode.shard, columns) if tied else (None, mode.vocab_size)
            passes.append(Pass(head, body, rows, count, one, width, None, False, shard, future_kept[number]))
    for name in ("lm_head", "lm_head_bias"):
        extras.pop(name, None)
    sweep = Sweep(
        passes,
        _chunk(plan, given, columns, dtype, mode.shard is not None),
        dtype,
        wide,
        len(metric_names(mode.detailed)),
        needed,
    )
    sums, metrics, confidence = LinearRows.apply(sweep, *tensors.all)  # type: ignore[no-untyped-call]
    named = dict(zip(names, sums.unbind()[: len(names)], strict=True))
    if future:
        named["mtp_loss"] = sums[len(names) :].sum()
    return Measurements(named, dict(zip(metric_names(mode.detailed), metrics.unbind(), strict=True)), confidence)


def _future_heads(term: MtpLoss, states: Tensor, given: LinearInput, tensors: _Tensors, main: Head) -> list[Head]:
    """Return one head per future token."""
    through_main = "lm_head" in given.extras
    if not through_main and term.heads == "linear":  # one normalised state for all, a projection each
        hidden = tensors.index(states[0])
        weight = tensors.index(given.heads["projection"])
        return [Head(hidden, weight, None, None, number) for number in range(states.shape[0])]
    hidden = tensors.index(states)
    if through_main:
        return [replace(main, hidden=hidden, slot=number) for number in range(states.shape[0])]
    weight = tensors.index(given.heads["projection"])
    return [Head(hidden, weight, None, number) for number in range(states.shape[0])]


def _coefficients(plan: Plan, mode: Mode, given: LinearInput) -> dict[str, Tensor]:
    """Return what a sum over rows counts in the total, the main loss 1, by name, 0-d each."""
    weights = weights_at(given.schedules, given.state["step"])
    if plan.config.balancing == "uncertainty" and "log_variances" in given.extras:
        weights = weights * 0.5 * (-given.extras["log_variances"].detach().to(weights.dtype)).exp()
    named = {p.name: weights[i] for i, p in enumerate(plan.terms) if p.name not in mode.skipped}
    return {"main_loss": torch.ones((), dtype=weights.dtype, device=weights.device), **named}


def _kept(
    given: LinearInput, term: MtpLoss | None, future: Sequence[Head], sharded: bool
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return the rows that are worth visiting, of the main head and of each future-token head.

    Only where looking costs nothing: elsewhere the host would have to wait for the device. Ranks that share a
    vocabulary visit all rows, so that the number of their reductions follows from shapes.
    """
    valid = given.prepared[0]
    if valid.device.type != "cpu" or sharded or not valid.shape[0]:
        return None, [None] * len(future)
    counts = given.extras["mtp_valid"].view(-1, valid.shape[0]) if "mtp_valid" in given.extras else None
    wanted = valid
    if counts is not None and term is not None and term.weighting == "adaptive":
        wanted = valid | counts.any(0)  # they are weighed by the confidence of the main head
    each = [_worth(counts[number]) if counts is not None else None for number in range(len(future))]
    return _worth(wanted), each


def _worth(valid: Tensor) -> Tensor | None:
    rows = valid.nonzero()[:, 0]
    return rows if rows.shape[0] < _WORTH * valid.shape[0] else None


def _chunk(plan: Plan, given: LinearInput, columns: int, dtype: torch.dtype, sharded: bool) -> int:
    device = given.hidden.device
    # ranks that share a vocabulary must make equal chunks, so none may look at its own memory
    free = None if sharded else _free_bytes(device)
    rows = given.hidden.shape[0]
    return chunk_rows(plan.config.compile.chunk_tokens, rows, columns, dtype.itemsize, device.type, free)


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + reserved
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@dataclass(frozen=True, slots=True)
class _Bodies:
    """The compiled functions of chunks, shared by all calls and heads of one kind."""

    plan: Plan
    mode: Mode
    device: torch.device
    dtype: torch.dtype
    gradient: bool
    taught: bool

    def main(self) -> Body:
        mode = replace(self.mode, training=False, closes_every=1)
        key = ("main", mode, self.gradient, self.dtype, self.taught, torch.is_inference_mode_enabled())
        return compiled_function(self.plan, self.device, key, lambda: build_main_body(self.plan, mode, self.gradient))

    def future(self, term: MtpLoss, tied: bool) -> Body:
        # equal for every call: no metrics, no state, and no other term
        mode = replace(self.mode, training=False, closes_every=1, detailed=False, skipped=frozenset())
        key = ("future", mode, self.gradient, self.dtype, tied, torch.is_inference_mode_enabled())
        return compiled_function(
            self.plan, self.device, key, lambda: build_future_body(self.plan, mode, term, self.gradient, tied)
        )


def _shape_logits(plan: Plan, device: torch.device, dtype: torch.dtype, biased: bool) -> ShapeLogits:
    model = plan.config.model
    scale, softcap = model.logit_scale, model.logit_softcap

    def build() -> ShapeLogits:
        def shape_logits(product: Tensor, bias: Tensor | None) -> None:
            logits = product if scale == 1.0 else product * scale
            if bias is not None:
                logits = logits + bias.to(logits.dtype)
            if softcap is not None:
                logits = softcap * torch.tanh(logits / softcap)
            product.copy_(logits)

        return shape_logits

    return compiled_function(plan, device, ("shape", dtype, biased), build)
