"""Why a loss is not finite: each cause looks at a call and says where it struck and what to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from ava.errors import Finding, Path, Rule
from ava.numbers import short
from ava.run.dry_run import rules
from ava.run.dry_run.judge import at
from ava.run.examined import Examined, Place

__all__ = ["Place", "causes", "nothing_counts"]

Found = tuple[Place | None, Finding]
_DIVERGED = (
    "the model diverged in an earlier step (halve the learning rate, warm it up, clip gradients at a norm of 1.0), or "
    "its input holds a number that is not one"
)
_SAFE_BOUNDS = "[0.7, 1.5]"
_CLAMP = "-1e4"


def causes(call: Examined, wrong: Sequence[str], gradients: Mapping[str, Place]) -> Iterator[Found]:
    """Yield every cause, in the order of the computation.

    Args:
        call: the call.
        wrong: the terms whose raw or weighted value is not finite, ``main_loss`` first.
        gradients: what is not finite in the gradients, by argument.
    """
    count = 0
    for look in _CAUSES:
        for found in look(call):
            count += 1
            yield found
    if not count:
        yield from _term_at_fault(call, wrong, gradients)


def nothing_counts(call: Examined) -> Iterator[Finding]:
    """Yield a finding where no position counts: the loss is then 0, and so is its gradient."""
    if not bool(call.valid.any()):
        text = (
            f"no position counts: every target is `model.ignore_index` ({call.loss.config.model.ignore_index}), "
            "padding or masked, so the loss is 0; look at the labels, `attention_mask` and `targets.shift`"
        )
        yield _at(call, rules.NOTHING_COUNTS, text, ("model", "ignore_index"))


def _parameters(call: Examined) -> Iterator[Found]:
    for name, _ in call.loss.named_parameters():
        place = call.tensors[name].bad
        if place is not None:
            text = f"the loss's own parameter {place}: an earlier step broke it; go back to a checkpoint, and {_CALM}"
            yield place, _at(call, rules.BAD_PARAMETER, text, ("balancing",) if name == "log_variances" else ())


_CALM = "halve the learning rate or clip gradients at a norm of 1.0"


def _inputs(call: Examined) -> Iterator[Found]:
    for name, seen in call.tensors.items():
        if seen.bad is None or name.partition("[")[0] not in call.inputs:
            continue
        kind = str(seen.tensor.dtype).removeprefix("torch.")
        if math.isinf(seen.bad.value) and seen.tensor.dtype == torch.float16:
            text = (
                f"{seen.bad}: overflow, {kind} ends at {short(torch.finfo(seen.tensor.dtype).max)}; compute it "
                "in bfloat16 or float32, or keep it small, as with `model.logit_softcap: 30.0` where the loss does the "
                "head"
            )
            yield seen.bad, _at(call, rules.OVERFLOW, text, ("model", "logit_softcap"))
        else:
            yield seen.bad, _at(call, rules.BAD_INPUT, f"{seen.bad}: {_DIVERGED}", ())


def _overflowing_head(call: Examined) -> Iterator[Found]:
    """The loss's own head: finite states and weights whose product is not."""
    if not call.linear or any(call.tensors[name].bad for name in ("hidden_states", "lm_head")):
        return
    for row, position in call.valid.nonzero().tolist():
        logits = call.logits_at(row, position)
        bad = ~logits.isfinite()
        if not bool(bad.any()):
            continue
        column = int(bad.nonzero()[0])
        place = Place("logits", (row, position, column), row, position, logits[column].item())
        hidden, head = call.inputs["hidden_states"][row, position], call.inputs["lm_head"][column]
        size = call.loss.config.model.logit_scale * torch.dot(hidden.double(), head.double()).item()
        largest = torch.finfo(logits.dtype).max
        text = (
            f"{place}: the head's product is {short(size)}, and {str(logits.dtype).removeprefix('torch.')} ends at "
            f"{short(largest)}; pass `hidden_states` in bfloat16 or float32, or try `model.logit_scale: 1.0`"
        )
        yield place, _at(call, rules.OVERFLOW, text, ("model", "logit_scale"))
        return


def _temperature(call: Examined) -> Iterator[Found]:
    value = call.loss.state.temperature.item()
    logits = call.tensors.get("logits")
    largest = 0.0 if logits is None else max(abs(logits.low), abs(logits.high))
    wide = logits is not None and logits.tensor.dtype == torch.float64
    ceiling = torch.finfo(torch.float64 if wide else torch.float32).max
    if value > 1 / ceiling and (math.isinf(largest) or largest / value < ceiling):
        return
    place = Place("temperature", (), None, None, value)
    text = (
        f"the temperature is {short(value)}; divided by it, the logits are no longer finite; try "
        f"`primary.temperature.initial: 1.0` and `primary.temperature.bounds: {_SAFE_BOUNDS}`"
    )
    yield place, _at(call, rules.BAD_TEMPERATURE, text, ("primary", "temperature"))


def _targets(call: Examined) -> Iterator[Found]:
    outside = (call.valid & (call.target < 0)).nonzero()
    if len(outside):
        row, position = outside[0].tolist()
        value = int(call.raw_target[row, position])
        place = Place("targets", (row, position), row, position, value)
        text = (
            f"{place}: outside the vocabulary of {call.vocab_size}; mark what should not count with "
            f"{call.loss.config.model.ignore_index} (`model.ignore_index`), or try `model.vocab_size: "
            f"{max(value + 1, call.vocab_size)}`"
        )
        yield place, _at(call, rules.TARGET_OUTSIDE, text, ("model", "vocab_size"))


def _switched_off(call: Examined) -> Iterator[Found]:
    """Logits of ``-inf`` where the loss needs a number: at the target, under smoothing, or in a whole row."""
    if call.linear:
        return
    logits = call.inputs["logits"].detach()[..., : call.vocab_size]
    off = (logits == -math.inf) & call.valid[..., None]
    if not bool(off.any()):
        return
    smoothing = call.loss.config.primary.label_smoothing
    whole = off.all(-1)
    at_target = off.gather(-1, call.target.clamp(min=0)[..., None])[..., 0] & (call.target >= 0) & ~whole
    smoothed = off.any(-1) & ~whole & ~at_target if smoothing else torch.zeros_like(whole)
    cases: list[tuple[torch.Tensor, str, Path]] = [
        (whole, f"every logit of the position is -inf; keep one column, or mask with {_CLAMP} in place of -inf", ()),
        (
            at_target,
            "the target's own logit is -inf, so its probability is 0; do not mask that column, or set the target to "
            f"{call.loss.config.model.ignore_index} (`model.ignore_index`)",
            ("model", "ignore_index"),
        ),
        (
            smoothed,
            f"label smoothing needs every logit, and this one is -inf; try `primary.label_smoothing: 0.0`, or mask "
            f"with {_CLAMP}",
            ("primary", "label_smoothing"),
        ),
    ]
    for where, text, path in cases:
        if bool(where.any()):
            row, position = where.nonzero()[0].tolist()
            column = int(call.target[row, position]) if where is at_target else int(off[row, position].nonzero()[0])
            place = Place("logits", (row, position, column), row, position, -math.inf)
            yield place, _at(call, rules.MASKED_LOGIT, f"{place}: {text}", path)


def _weights(call: Examined) -> Iterator[Found]:
    """A finite term whose weight makes it infinite, by itself or through a learned variance."""
    out = call.answer()
    for planned in call.loss.plan.terms:
        raw, weighted = out.get(f"raw/{planned.name}"), out.get(planned.name)
        if raw is None or weighted is None or not math.isfinite(raw) or math.isfinite(weighted):
            continue
        path: Path = ("terms", planned.name, "weight")
        if call.loss.log_variances is not None:
            index = [item.name for item in call.loss.plan.terms].index(planned.name)
            value = call.loss.log_variances[index].item()
            place = Place("log_variances", (index,), None, None, value)
            text = f"{place}: the learned weight of `{planned.name}` is not finite; try `balancing: fixed`, or {_CALM}"
            yield place, _at(call, rules.WEIGHT_OVERFLOW, text, ("balancing",))
            continue
        weight = planned.term.weight_at(int(call.loss.state.step))
        place = Place(f"weight of {planned.name}", (), None, None, weight)
        usual = type(planned.term).model_fields["weight"].default
        advice = f"try `{'.'.join(map(str, path))}: {short(usual)}`"
        text = f"`{planned.name}` is {short(raw)}, times its weight {short(weight)} not finite; {advice}"
        yield place, _at(call, rules.WEIGHT_OVERFLOW, text, path)


_CAUSES: tuple[Callable[[Examined], Iterator[Found]], ...] = (
    _parameters,
    _inputs,
    _overflowing_head,
    _temperature,
    _targets,
    _switched_off,
    _weights,
)


def _term_at_fault(call: Examined, wrong: Sequence[str], gradients: Mapping[str, Place]) -> Iterator[Found]:
    """Nothing is wrong with the call: say which term is, and where."""
    for place in gradients.values():
        text = f"{place}, though the loss is finite: {_too_large(call, place.row, place.position)}; lower the weights"
        yield place, _at(call, rules.NOT_FINITE, text, ())
    for name in wrong[:1]:
        spot = call.first_position(name if name == "main_loss" else f"raw/{name}")
        row, position = spot if spot is not None else (None, None)
        found = None if row is None else Place(name, (), row, position, math.inf)
        where = "" if row is None else f" from row {row}, position {position} on"
        text = f"`{name}` is not finite{where}: {_too_large(call, row, position)}"
        if name != "main_loss":
            usual = next(type(p.term).model_fields["weight"].default for p in call.loss.plan.terms if p.name == name)
            text += f"; try `terms.{name}: null` to leave it out (its usual weight is {short(usual)})"
        yield found, _at(call, rules.NOT_FINITE, text, ("terms", name) if name != "main_loss" else ("primary",))
    if not wrong and not gradients:
        yield None, _at(call, rules.NOT_FINITE, "the sum of the terms overflows; lower their weights", ("terms",))


def _too_large(call: Examined, row: int | None, position: int | None) -> str:
    if row is not None and position is not None:
        logits = call.logits_at(row, position).double()
        return f"its largest logit is {short(logits.max().item())} (a trained model's are below 100)"
    name, seen = max(
        ((name, seen) for name, seen in call.tensors.items() if seen.low <= seen.high),
        key=lambda item: max(abs(item[1].low), abs(item[1].high)),
    )
    return f"the largest number of the call is in `{name}`, {short(max(abs(seen.low), abs(seen.high)))}"


def _at(call: Examined, rule: Rule, message: str, path: Path) -> Finding:
    return at(call.loss.config, rule, message, path)
