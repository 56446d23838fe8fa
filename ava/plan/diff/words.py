"""What a change means, in words: sizes, directions, schedules."""

from __future__ import annotations

from typing import Any

from ava.numbers import change_text, short
from ava.plan.diff.walk import Pair
from ava.terms.base import Schedule, Term
from ava.terms.main_loss import Temperature

__all__ = ["meaning", "size"]

_PUSHES = {
    "focal_loss": "pushes {how} on tokens that are hard to predict",
    "z_loss": "holds the scale of the logits {how}",
    "token_diversity_loss": "pushes {how} against collapsed predictions",
    "immediate_repetition_penalty": "pushes {how} against repeating the last token",
    "ngram_penalty": "pushes {how} against repeated n-grams",
    "eos_penalty": "pushes {how} against ending early",
    "mtp_loss": "pushes {how} for the tokens further ahead",
    "contrastive_loss": "pulls {how} on hidden states of equal tokens",
    "moe_balance_loss": "pushes {how} for an even load of the experts",
    "router_z_loss": "holds the scale of the router's logits {how}",
    "expert_diversity_loss": "pushes {how} for experts that differ",
    "distillation_loss": "pulls {how} towards the teacher",
}
_RATIOS = {2.0: "twice as hard", 0.5: "half as hard", 1.0: "as hard as before"}


def size(before: Any, after: Any) -> str:
    """Return how much a number changed: ``×2, +0.1``; nothing for what is no number.

    >>> size(0.1, 0.2), size(4, 3), size(0, 0.5), size(True, False), size(2, -2)
    ('×2, +0.1', '×0.75, -1', '+0.5', '', '-4')
    """
    if not _number(before) or not _number(after):
        return ""
    ratio = f"×{short(after / before, 3)}, " if before and after and (before > 0) == (after > 0) else ""
    return ratio + change_text(after - before, 4)


def meaning(pair: Pair, term: Term | None) -> str:
    """Return what a field's new value does; empty where the values say it all."""
    if len(pair.path) == 2 and pair.path[0] == "terms":
        return _switched(pair)
    if pair.path[-1] == "weight" and term is not None and len(pair.path) == 3:
        return _weight(pair, term)
    name = ".".join(map(str, pair.path))
    written = _FIELDS.get(name, _FIELDS.get(f"{name}={pair.after}"))
    on = pair.after not in (None, False, 0) or (pair.after == 0 and pair.path[-1] in _IDS)  # token 0 is one
    text = "" if written is None else written[on] if isinstance(written, tuple) else written
    text = text.format(before=_value(pair.before), after=_value(pair.after))
    how = size(pair.before, pair.after) if pair.path[-1] not in _IDS else ""
    if pair.path == ("primary", "temperature"):
        text = _temperature(pair)
    return f"{text} ({how})" if text and how else text or how


_IDS = ("ignore_index", "eos_token_id", "pad_token_id")

_FIELDS: dict[str, str | tuple[str, str]] = {
    # a pair of texts: for what is false, null or zero, and for the rest
    "model.ignore_index": "targets of {after} no longer count, and those of {before} do",
    "model.eos_token_id": ("no token ends a document", "a document ends at token {after}"),
    "model.pad_token_id": ("padding is told from the targets alone", "targets of token {after} do not count"),
    "model.vocab_size": ("the vocabulary is as wide as the logits", "columns from {after} on take no part"),
    "model.padded_vocab_size": ("the logits are as wide as the vocabulary", "the logits are {after} wide"),
    "model.num_experts": ("the router's width says how many experts there are", "a router has {after} experts"),
    "model.top_k": "a token counts as routed to {after} experts, not {before}",
    "model.logit_scale": "logits that the loss computes are scaled by {after}",
    "model.logit_softcap": ("no soft cap on the logits", "logits that the loss computes stay within ±{after}"),
    "targets.shift": (
        "position t predicts the target at t: the caller shifts",
        "position t predicts the target at t + 1",
    ),
    "primary.label_smoothing": (
        "the target keeps all of its probability",
        "{after} of the target's probability is spread over the vocabulary",
    ),
    "primary.temperature.initial": "every logit term starts at temperature {after}",
    "primary.temperature.adaptive": (
        "the temperature stays where it starts",
        "the temperature follows how unsteady the main loss is",
    ),
    "primary.temperature.bounds": "the adaptive temperature stays within {after}",
    "primary.temperature.rate": "the temperature moves by {after} a step",
    "terms.focal_loss.gamma": "well-predicted tokens fade differently",
    "terms.focal_loss.alpha": "a factor of the whole term",
    "terms.ngram_penalty.window": "looks back {after} positions, not {before}",
    "terms.ngram_penalty.size": "looks for {after}-grams, not {before}-grams",
    "terms.immediate_repetition_penalty.threshold": "a run counts from {after} equal tokens on, not {before}",
    "terms.eos_penalty.min_length": "an end before position {after} is too early, not {before}",
    "terms.contrastive_loss.max_tokens": "compares at the most {after} positions, not {before}",
    "balancing=uncertainty": "learns a factor for each term: give `loss.parameters()` to the optimizer",
    "balancing=fixed": "the terms count at their weights; nothing is learned",
    "reduction.across=data_parallel": "sums are divided by a count over all ranks, and state is the same on all",
    "reduction.across=none": "each rank divides by its own count, and keeps its own state",
    "reduction.gradient_accumulation_steps": "a step closes after {after} forward passes, not {before}",
    "compile.enabled": ("runs uncompiled: slower, and with more memory", "is compiled: {after}, not {before}"),
    "compile.backend": "is compiled by {after}, not {before}",
    "compile.mode": "is compiled in mode {after}, not {before}",
    "compile.chunk_tokens": "the linear engine holds {after} rows of logits at a time, not {before}",
    "compile.checks": "a call's tensors are checked: {after}, not {before}",
}


def _switched(pair: Pair) -> str:
    term = pair.after if pair.after is not None else pair.before
    assert isinstance(term, Term)
    if pair.after is None:
        return f"its weight was {_value(term.weight)}"
    inputs = term.needs().inputs if term.if_missing == "skip" else ()
    given = f", in calls that give {' and '.join(f'`{name}`' for name in inputs)}" if inputs else ""
    return f"at weight {_value(term.weight)}{given}"


def _weight(pair: Pair, term: Term) -> str:
    old, new = _last(pair.before), _last(pair.after)
    if isinstance(pair.before, Schedule) or isinstance(pair.after, Schedule):
        then = f"; at its end {size(old, new)}" if old != new else "; the same at its end"
        return f"the weight was {_value(pair.before)} and is {_value(pair.after)}{then}"
    if not new:
        return f"no longer part of the total ({size(old, new)})"
    if not old:
        return f"part of the total now ({size(old, new)})"
    ratio = float(short(new / old, 3))
    how = _RATIOS.get(ratio, f"{short(ratio)} times as hard")
    return f"{_PUSHES.get(term.name, 'counts {how}').format(how=how)} ({size(old, new)})"


def _last(weight: Any) -> float:
    return float(weight.to if isinstance(weight, Schedule) else weight)


def _temperature(pair: Pair) -> str:
    new = pair.after
    if not isinstance(new, Temperature):
        return "the temperature is 1, and stays"
    if new.adaptive:
        return (
            f"a temperature that starts at {short(new.initial)} and follows the main loss within {_value(new.bounds)}"
        )
    return f"a fixed temperature of {short(new.initial)}"


def _value(value: Any) -> str:
    if isinstance(value, Schedule):
        return value.text
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return short(value) if isinstance(value, float) else str(value)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
