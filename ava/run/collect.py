"""The tensors of a call beyond logits and targets: checked, flattened, and only those that some term needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ava.compile.extras import expert_counts, future_targets, sample_positions
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.run.inputs import as_layers, check_device, check_float, check_states, check_tensor, describe
from ava.terms.base import Term
from ava.terms.contrastive_loss import ContrastiveLoss
from ava.terms.mtp_loss import MtpLoss

__all__ = ["INPUTS", "Call", "collect", "skipped_terms"]

INPUTS = (
    "hidden_states",
    "lm_head",
    "lm_head_bias",
    "mtp_logits",
    "mtp_hidden_states",
    "gate_logits",
    "expert_indices",
    "expert_outputs",
    "teacher_logits",
)
"""Arguments of ``Loss.forward`` that only some terms need."""
_EXPERTS = ("gate_logits", "expert_outputs")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call when its tensors are collected.

    Attributes:
        shape: ``(B, T)``.
        width: columns of the logits, padding included.
        vocab_size: columns that take part.
        device: where the logits are.
        attention_mask: ``[B, T]`` or None.
        prepared: ``[valid, target, …]``, see :func:`ava.compile.prepare.prepare`.
        segment: int64 ``[N]``, or None where no term asks for it.
    """

    shape: tuple[int, int]
    width: int
    vocab_size: int
    device: torch.device
    attention_mask: Tensor | None
    prepared: list[Tensor]
    segment: Tensor | None


def skipped_terms(plan: Plan, given: Mapping[str, Any], told: set[str]) -> frozenset[str]:
    """Return the terms that this call leaves out, because it lacks their tensors and they say ``if_missing: skip``.

    Each is said once, as a warning; ``told`` remembers which.

    Raises:
        ArgumentValueError: a term lacks a tensor and does not say so.
    """
    names = {name for name, value in given.items() if value is not None}
    skipped = set()
    for planned in plan.terms:
        lacking = planned.term.missing(names)
        if lacking is None:
            continue
        if planned.term.if_missing == "error":
            raise ArgumentValueError(
                f"`{lacking}` is missing: `{planned.name}` needs it. Pass it, or set "
                f"`terms.{planned.name}.if_missing: skip` to leave the term out of calls without it."
            )
        skipped.add(planned.name)
        if planned.name not in told and not torch.compiler.is_compiling():
            told.add(planned.name)
            warnings.warn(
                f"`{planned.name}` is left out of calls without `{lacking}` (if_missing: skip).", stacklevel=4
            )
    return frozenset(skipped)


def collect(plan: Plan, skipped: frozenset[str], given: Mapping[str, Any], call: Call) -> dict[str, Tensor]:
    """Return the extras of a :class:`~ava.compile.graph.Batch` for the terms that are on in this call."""
    terms: list[Term] = [planned.term for planned in plan.terms if planned.name not in skipped]
    inputs = {name for planned in plan.terms if planned.name not in skipped for name in planned.needs.inputs}
    extras: dict[str, Tensor] = {}
    for term in terms:
        if isinstance(term, MtpLoss):
            extras.update(_heads(term, plan, given, call))
        if isinstance(term, ContrastiveLoss):
            hidden = check_states("hidden_states", given["hidden_states"], call.shape, call.device, "H")
            rows = sample_positions(*call.shape, plan.config.targets.shift, term.max_tokens, call.device)
            extras.update(sample_rows=rows, sample=hidden.reshape(-1, hidden.shape[-1])[rows])
    if inputs.intersection(_EXPERTS):
        extras.update(_experts(plan, inputs, given, call))
    if "teacher_logits" in inputs:
        teacher = check_states("teacher_logits", given["teacher_logits"], call.shape, call.device, "V")
        if teacher.shape[-1] not in (call.width, call.vocab_size):
            raise ArgumentValueError(
                f"`teacher_logits` should have {call.vocab_size} columns like `logits`, but is {describe(teacher)}."
            )
        extras["teacher_logits"] = teacher.detach().flatten(0, 1)
    return extras


def _heads(term: MtpLoss, plan: Plan, given: Mapping[str, Any], call: Call) -> dict[str, Tensor]:
    assert call.segment is not None
    extras: dict[str, Tensor] = {}
    heads = term.num_future_tokens
    if given["mtp_logits"] is not None:
        logits = _per_head("mtp_logits", given["mtp_logits"], call, "V")
        if logits.shape[-1] != call.width:
            raise ArgumentValueError(
                f"`mtp_logits` should have {call.width} columns like `logits`, but is {describe(logits)}."
            )
        extras["mtp_logits"], heads = logits.flatten(0, 2), logits.shape[0]
    elif given["mtp_hidden_states"] is not None:
        hidden = _per_head("mtp_hidden_states", given["mtp_hidden_states"], call, "H")
        extras["mtp_hidden"], heads = hidden.flatten(0, 2), hidden.shape[0]
        extras.update(_lm_head(given, hidden.shape[-1], call))
    else:
        size = plan.config.model.hidden_size
        if size is None:
            raise ArgumentValueError(
                "`mtp_loss` needs `model.hidden_size` to make its own heads: set it, or pass `mtp_logits`, or "
                "`mtp_hidden_states` with `lm_head`."
            )
        hidden = check_states("hidden_states", given["hidden_states"], call.shape, call.device, "H")
        if hidden.shape[-1] != size:
            raise ArgumentValueError(
                f"`hidden_states` should be [B, T, H] with H = {size} (`model.hidden_size`), but is {describe(hidden)}."
            )
        extras["hidden"] = hidden.flatten(0, 1)
        if term.heads == "tied":
            extras.update(_lm_head(given, size, call))
    if heads == 0:
        raise ArgumentValueError("`mtp_logits` or `mtp_hidden_states` should be of one head or more, but is of none.")
    target, valid = call.prepared[1].view(call.shape), call.prepared[0].view(call.shape)
    targets, counts = future_targets(target, valid, call.segment.view(call.shape), heads)
    return {**extras, "mtp_targets": targets, "mtp_valid": counts}


def _per_head(name: str, value: Any, call: Call, last: str) -> Tensor:
    if isinstance(value, (list, tuple)) and value:
        each = [check_states(f"{name}[{i}]", head, call.shape, call.device, last) for i, head in enumerate(value)]
        if len({head.shape for head in each}) > 1:
            raise ArgumentValueError(f"`{name}` should have one {last} for all heads.")
        value = torch.stack(each)
    tensor = check_tensor(name, value, f"a tensor [K, B, T, {last}]")
    heads = tensor.shape[0] if tensor.ndim > 2 else 0
    return check_states(name, tensor, (heads, *call.shape), call.device, last)


def _lm_head(given: Mapping[str, Any], width: int, call: Call) -> dict[str, Tensor]:
    expected = f"the head's weight [V, H] = [{call.width}, {width}]"
    weight = check_tensor("lm_head", given["lm_head"], expected)
    check_float("lm_head", weight, expected)
    check_device("lm_head", weight, call.device, "logits")
    if tuple(weight.shape) != (call.width, width):
        raise ArgumentValueError(f"`lm_head` should be {expected}, but is {describe(weight)}.")
    if given["lm_head_bias"] is None:
        return {"lm_head": weight}
    expected = f"the head's bias [V] = [{call.width}]"
    bias = check_tensor("lm_head_bias", given["lm_head_bias"], expected)
    check_float("lm_head_bias", bias, expected)
    check_device("lm_head_bias", bias, call.device, "logits")
    if tuple(bias.shape) != (call.width,):
        raise ArgumentValueError(f"`lm_head_bias` should be {expected}, but is {describe(bias)}.")
    return {"lm_head": weight, "lm_head_bias": bias}


def _experts(plan: Plan, inputs: set[str], given: Mapping[str, Any], call: Call) -> dict[str, Tensor]:
    rows = call.shape[0] * call.shape[1]
    model = plan.config.model
    mask = call.attention_mask
    routed = torch.ones(rows, dtype=torch.bool, device=call.device) if mask is None else mask.reshape(-1) != 0
    extras = {"routed": routed}
    if "gate_logits" in inputs:
        gates = as_layers("gate_logits", given["gate_logits"], rows, call.device, "E")
        check_float("gate_logits", gates, "a tensor [..., E]")
        experts = gates.shape[2]
        if model.num_experts is not None and experts != model.num_experts:
            raise ArgumentValueError(
                f"`gate_logits` should have {model.num_experts} experts (`model.num_experts`), but is "
                f"{describe(gates[0])} a layer."
            )
        usage = next(
            (getattr(p.term, "target_expert_usage", None) for p in plan.terms if p.name == "moe_balance_loss"), None
        )
        if isinstance(usage, tuple) and len(usage) != experts:
            raise ArgumentValueError(
                f"`gate_logits` should have {len(usage)} experts (`terms.moe_balance_loss.target_expert_usage`), but "
                f"has {experts}."
            )
        extras["gate_logits"] = gates
        full = plan.config.compile.checks == "full"
        extras["expert_counts"] = expert_counts(_indices(given, gates, rows, model.top_k, call, full), experts, routed)
    if "expert_outputs" in inputs:
        outputs = given["expert_outputs"]
        if isinstance(outputs, (list, tuple)):
            stacked = as_layers("expert_outputs", outputs, rows, call.device, "H")
        else:
            tensor = check_tensor("expert_outputs", outputs, "a tensor [E, ..., H]")
            check_device("expert_outputs", tensor, call.device, "logits")
            if tensor.ndim < 3 or tensor.shape[1:-1].numel() != rows:
                raise ArgumentValueError(
                    f"`expert_outputs` should be [E, ..., H] with B * T = {rows} entries an expert, but is "
                    f"{describe(tensor)}."
                )
            stacked = tensor.reshape(tensor.shape[0], rows, tensor.shape[-1])
        check_float("expert_outputs", stacked, "a tensor [E, ..., H]")
        extras["expert_outputs"] = stacked
    return extras


def _indices(given: Mapping[str, Any], gates: Tensor, rows: int, top_k: int, call: Call, full: bool) -> Tensor:
    if given["expert_indices"] is None:
        return gates.detach().topk(min(top_k, gates.shape[2]), dim=2).indices
    indices = given["expert_indices"]
    if isinstance(indices, Tensor) and gates.shape[0] > 1:
        indices = list(indices)
    layers = as_layers("expert_indices", indices, rows, call.device, "k")
    if layers.is_floating_point() or layers.dtype == torch.bool:
        raise ArgumentValueError(f"`expert_indices` should hold integers, but is {describe(layers)}.")
    if layers.shape[2] == 0:
        raise ArgumentValueError("`expert_indices` should hold at least one expert a token, but is empty.")
    # on a CPU looking costs nothing; elsewhere the host would have to wait for the device
    look = full or (call.device.type == "cpu" and not torch.compiler.is_compiling())
    if look and bool(((layers < 0) | (layers >= gates.shape[2])).any()):
        raise ArgumentValueError(
            f"`expert_indices` should be in [0, {gates.shape[2]}), but reaches from {int(layers.min())} to "
            f"{int(layers.max())}."
        )
    if layers.shape[0] != gates.shape[0]:
        raise ArgumentValueError(
            f"`expert_indices` should have {gates.shape[0]} layers like `gate_logits`, but has {layers.shape[0]}."
        )
    return layers.long()
