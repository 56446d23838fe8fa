"""How much a change matters: its class, and what it asks of the caller that it did not ask before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ava.config.change import ChangeClass
from ava.plan.diff.walk import Pair
from ava.plan.plan import Plan
from ava.terms.base import Schedule, Term
from ava.terms.main_loss import Temperature

__all__ = ["Verdict", "always_off", "classify"]

_HEADS = ("heads", "num_future_tokens")
_SHAPES = ("vocab_size", "padded_vocab_size", "hidden_size", "num_experts")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A class, and for what is breaking (or has no effect) the reason in words."""

    class_: ChangeClass
    reasons: tuple[str, ...] = ()


def classify(pair: Pair, before: Plan, after: Plan) -> Verdict:
    """Return the class of a field that differs.

    ``before`` and ``after`` are the whole plans: what a term needs is new only where no other term needed it.
    """
    section = pair.path[0]
    if section == "description":
        return Verdict("cosmetic", ("nothing that is computed",))
    if section == "compile":
        return Verdict("reporting" if pair.path[1] == "checks" else "numerics")
    if section == "terms":
        return _term(pair, before, after)
    if section == "model":
        return _model(pair, before, after)
    if section == "primary":
        return _primary(pair, after)
    if section == "balancing" and not before.terms and not after.terms:
        return Verdict("numerics", ("there is no term to balance",))
    return Verdict("objective")


def always_off(term: Term) -> bool:
    """Return whether the weight is 0 at every step.

    >>> from ava.terms.z_loss import ZLoss
    >>> always_off(ZLoss(weight=0.0)), always_off(ZLoss())
    (True, False)
    """
    weight = term.weight
    return weight.start == weight.to == 0 if isinstance(weight, Schedule) else weight == 0


def _term(pair: Pair, before: Plan, after: Plan) -> Verdict:
    name = pair.path[1]
    old, new = (next((item.term for item in plan.terms if item.name == name), None) for plan in (before, after))
    reasons = [] if new is None else _needed(old, new, before, after)
    if old is not None and new is not None:
        reasons = [reason for reason in reasons if _made_by(pair, old, new)] + _shapes(pair, new, before)
    if reasons:
        return Verdict("breaking", tuple(reasons))
    off = all(term is None or always_off(term) for term in (old, new))
    if off:
        return Verdict("reporting", ("its weight is 0: it is shown, and not part of the total",))
    if new is not None and len(pair.path) > 2 and (unused := _unused(new, str(pair.path[2]))):
        return Verdict(unused[0], (unused[1],))
    return Verdict("objective")


def _needed(old: Term | None, new: Term, before: Plan, after: Plan) -> list[str]:
    """Return what the new term must be given, and the old configuration did not ask for."""
    reasons = []
    if new.if_missing == "error":
        reasons += [f"needs `{name}` now" for name in new.needs().inputs if not _asked(before, name)]
    model = after.config.model
    for name in new.needs().model:
        had = name in before.required_model and getattr(before.config.model, name) is None
        if getattr(model, name) is None and not had:
            reasons.append(f"needs `model.{name}` now, from the file or the caller")
    if old is None and new.name == "mtp_loss" and model.hidden_size is not None:
        reasons.append("brings heads with parameters, which the optimizer and the checkpoint must hold")
    if new.name == "moe_balance_loss" and _loss_free(new) and not (old is not None and _loss_free(old)):
        reasons.append("keeps a bias per expert, `loss.expert_bias`, which the router has to add")
    return reasons


def _asked(plan: Plan, name: str) -> bool:
    return any(name in item.needs.inputs and item.term.if_missing == "error" for item in plan.terms)


def _loss_free(term: Term) -> bool:
    return getattr(term, "method", None) == "loss_free"


def _made_by(pair: Pair, old: Term, new: Term) -> bool:
    """Return whether this field of a term that was on before is what brought a new need."""
    if pair.path[2] in ("if_missing", "method"):
        return True
    changed = type(old).model_validate({**_given(old), str(pair.path[2]): pair.after})
    return changed.needs() != old.needs()


def _given(term: Term) -> dict[str, Any]:
    return {info.alias or name: getattr(term, name) for name, info in type(term).model_fields.items()}


def _shapes(pair: Pair, new: Term, before: Plan) -> list[str]:
    field = pair.path[2]
    if new.name == "mtp_loss" and field in _HEADS:
        if field == "heads":
            head = "; calls must give `lm_head`" if new.needs().inputs and pair.after == "tied" else ""
            return [f"the loss's own heads have other parameters: older checkpoints do not fit{head}"]
        return [f"{pair.after} heads in place of {pair.before}: their parameters, or `mtp_logits`, have another shape"]
    if new.name == "moe_balance_loss" and field == "target_expert_usage":
        sizes = [len(value) if isinstance(value, tuple) else None for value in (pair.before, pair.after)]
        if sizes[1] is not None and sizes[1] not in (sizes[0], before.config.model.num_experts):
            return [f"`gate_logits` must have {sizes[1]} experts now"]
    return []


def _unused(term: Term, field: str) -> tuple[ChangeClass, str] | None:
    """Return the class and the reason for a field that this term does not read."""
    if field == "if_missing" and not term.needs().inputs:
        return "cosmetic", "the term needs no tensor that could be missing"
    if field in ("confidence_threshold", "weight_range") and getattr(term, "weighting", "") == "uniform":
        return "numerics", "not read with `weighting: uniform`"
    if term.name == "moe_balance_loss":
        method = getattr(term, "method", "")
        if (field == "momentum" and method != "gradient") or (field == "rate" and method != "loss_free"):
            return "numerics", f"not read with `method: {method}`"
    return None


def _model(pair: Pair, before: Plan, after: Plan) -> Verdict:
    name = str(pair.path[1])
    needing = [item.name for item in after.terms if name in item.needs.model]
    if pair.after is None and needing:
        return Verdict("breaking", (f"`{needing[0]}` needs it: it has to come from the caller now",))
    if name in _SHAPES and (reason := _shape(pair, name, before, after)):
        return Verdict("breaking", (reason,))
    if name not in after.static_model and name not in before.static_model:
        return Verdict("cosmetic", ("no term reads it",))
    return Verdict("objective")


def _shape(pair: Pair, name: str, before: Plan, after: Plan) -> str | None:
    model = after.config.model
    future = any(item.name == "mtp_loss" for item in after.terms)
    heads = future and model.hidden_size is not None
    own = "the heads' parameters have another shape: older checkpoints do not fit"
    if name == "hidden_size" and future and pair.before is None:
        return "`mtp_loss` makes heads of its own now, with parameters, unless the caller already set it"
    if name == "hidden_size" and future and pair.after is None:
        return "`mtp_loss` makes no heads of its own now, unless the caller sets it: calls must give `mtp_logits`"
    if name == "hidden_size":
        return own if heads else None
    if name == "num_experts":
        gates = "gate_logits" in before.inputs and "gate_logits" in after.inputs and pair.after is not None
        return f"`gate_logits` must have {pair.after} experts now" if gates else None
    old, new = (plan.config.model.padded_vocab_size or plan.config.model.vocab_size for plan in (before, after))
    if old == new or new is None or old is None:
        return None
    return own if heads else f"the logits must be {new:,} wide now"


def _primary(pair: Pair, after: Plan) -> Verdict:
    temperature = after.primary.temperature
    if pair.path == ("primary", "type"):
        return Verdict("numerics", ("the kinds differ by their temperature and `mtp_loss` alone",))
    if pair.path == ("primary", "temperature"):
        there = pair.after if pair.after is not None else pair.before
        if isinstance(there, Temperature) and there.initial == 1 and not there.adaptive:
            return Verdict("numerics", ("the temperature is 1 either way",))
    if len(pair.path) == 3 and pair.path[2] in ("bounds", "rate") and temperature and not temperature.adaptive:
        return Verdict("cosmetic", ("not read while `adaptive` is off",))
    return Verdict("objective")
