"""A call of a loss: its arguments checked, and made into what a graph takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor

from ava.compile.batch import Mode, active_needs, prepared_wants
from ava.compile.prepare import prepare
from ava.errors import ArgumentTypeError, ArgumentValueError, did_you_mean
from ava.run.collect import INPUTS, Call, collect, skipped_terms
from ava.run.engine import HeadInput, LogitsInput, engine_input
from ava.run.inputs import as_items, check_mask, check_target_range, check_tokens
from ava.run.sharding import gather_parts
from ava.terms.mtp_loss import MtpLoss

if TYPE_CHECKING:
    from ava.run.loss import Loss

__all__ = ["FORWARD_ARGUMENTS", "CheckedCall", "check_call", "refuse_unknown"]

FORWARD_ARGUMENTS = (
    "logits",
    "targets",
    "attention_mask",
    "input_ids",
    "segment_ids",
    *INPUTS,
    "num_items",
    "process_group",
    "return_detailed",
)
"""Arguments of ``Loss.forward``."""


@dataclass(frozen=True, slots=True)
class CheckedCall:
    """What is computed, from tensors that fit together.

    Attributes:
        given: the arguments as plain tensors of this rank.
        rows: where the rows come from.
        prepared: the answer of :func:`ava.compile.prepare.prepare`.
        extras: see :class:`ava.compile.batch.Batch`.
        heads: parameters of the loss's own heads, where they are used.
        num_items: 0-d or None.
        mode: what is baked into the graph.
    """

    given: dict[str, Any]
    rows: LogitsInput | HeadInput
    prepared: list[Tensor]
    extras: dict[str, Tensor]
    heads: Mapping[str, Tensor]
    num_items: Tensor | None
    mode: Mode


def refuse_unknown(unknown: Mapping[str, Any]) -> NoReturn:
    """Raise ArgumentTypeError for the first of these keywords, none of which ``Loss.forward`` has."""
    name = next(iter(unknown))
    hint = did_you_mean(name, FORWARD_ARGUMENTS)
    if name == "num_items_in_batch":  # what Hugging Face's Trainer passes
        hint = "; in a Trainer, pass `ava.integrations.huggingface.compute_loss_func(loss)` in place of the loss"
    raise ArgumentTypeError(f"`{name}` is not an argument of Loss{hint}")


def check_call(loss: Loss, arguments: Mapping[str, Any], process_group: Any, detailed: bool) -> CheckedCall:
    """Check the arguments of ``Loss.forward`` and do the integer work.

    Raises:
        ArgumentValueError: a tensor is missing or has the wrong shape, dtype or device.
        ArgumentTypeError: an argument of another kind.
        TargetIndexError: a target outside the vocabulary, with ``compile.checks: full``.
    """
    plan, config = loss.plan, loss.config
    model, shift = config.model, config.targets.shift
    spread = gather_parts(model, arguments, process_group)
    given = spread.given
    rows = engine_input(plan, given, spread.shard)
    if given["targets"] is None:
        raise ArgumentValueError("`targets` should be an integer tensor [B, T], but is None.")
    vocab_size = model.vocab_size or spread.columns or rows.width
    shape, device = rows.shape, rows.device
    for name in ("targets", "input_ids", "segment_ids"):
        if given[name] is not None:
            given[name] = check_tokens(name, given[name], shape, device, rows.name)
    if given["attention_mask"] is not None:
        given["attention_mask"] = check_mask("attention_mask", given["attention_mask"], shape, device, rows.name)

    skipped = skipped_terms(plan, {name: given[name] for name in INPUTS}, loss._told)
    wants, candidates = prepared_wants(active_needs(plan, skipped))
    segmented = any(isinstance(p.term, MtpLoss) and p.name not in skipped for p in plan.terms)
    prepared = prepare(
        given["targets"],
        given["attention_mask"],
        given["input_ids"],
        given["segment_ids"],
        vocab_size,
        shift,
        model.ignore_index,
        model.eos_token_id,
        model.pad_token_id,
        " ".join([*wants, "segment"] if segmented else wants),
        [number for pick in candidates for number in (pick.size, pick.window)],
    )
    segment = prepared.pop(2 + len(wants)) if segmented else None
    if config.compile.checks == "full":
        aligned = given["targets"].roll(-1, 1) if shift else given["targets"]
        check_target_range(aligned, prepared[0].view(shape), vocab_size)
    call = Call(shape, rows.width, vocab_size, device, given["attention_mask"], prepared, segment)
    extras = collect(plan, skipped, given, call)
    if loss.log_variances is not None:
        extras["log_variances"] = loss.log_variances
    if "gate_logits" in extras:
        gates = extras["gate_logits"]
        loss.state.hold_experts(gates.shape[0], gates.shape[2])
    return CheckedCall(
        given,
        rows,
        prepared,
        extras,
        {} if loss.heads is None or "hidden" not in extras else dict(loss.heads.named_parameters()),
        as_items(given["num_items"], device),
        Mode(vocab_size, detailed, loss.training, loss.closes_every, skipped, spread.shard),
    )
