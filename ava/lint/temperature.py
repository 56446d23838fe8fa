"""AVA3xx and AVA5xx about the temperature of the primary loss."""

from __future__ import annotations

from collections.abc import Iterator

from ava.errors import documentation
from ava.lint.subject import ConfigRule, Subject
from ava.numbers import short
from ava.terms.advice import Advice
from ava.terms.main_loss import Temperature

__all__ = ["RULES"]

_T = ("primary", "temperature")
_BOUNDS, _INITIAL, _RATE, _ADAPTIVE = ((*_T, name) for name in ("bounds", "initial", "rate", "adaptive"))


def _adaptive(subject: Subject) -> Temperature | None:
    temperature = subject.config.primary.temperature
    return temperature if temperature is not None and temperature.adaptive else None


def _outside_bounds(temperature: Temperature) -> bool:
    low, high = temperature.bounds
    return not low <= temperature.initial <= high


def _initial_outside_bounds(subject: Subject) -> Iterator[Advice]:
    temperature = _adaptive(subject)
    if temperature is not None and _outside_bounds(temperature):
        low, high = temperature.bounds
        yield Advice(
            f"`temperature.initial` {short(temperature.initial)} is outside its bounds, {short(low)} to {short(high)}, "
            "and jumps there at the first adaptation; start within them",
            _INITIAL,
            (_BOUNDS,),
        )


def _frozen(subject: Subject) -> Iterator[Advice]:
    temperature = _adaptive(subject)
    if temperature is None:
        return
    low, high = temperature.bounds
    if not temperature.rate:
        yield Advice(
            "an adaptive temperature with `rate: 0` never moves; write a rate such as 0.01, or `adaptive: false`",
            _RATE,
            (_ADAPTIVE,),
        )
    elif low == high:
        yield Advice(
            f"an adaptive temperature with both bounds at {short(low)} never moves; "
            "widen them, or write `adaptive: false`",
            _BOUNDS,
            (_ADAPTIVE,),
        )


def _idle_fields(subject: Subject) -> Iterator[Advice]:
    temperature = subject.config.primary.temperature
    if temperature is None or temperature.adaptive:
        return
    for path in (_BOUNDS, _RATE):
        if path[-1] in temperature.model_fields_set:
            yield Advice(
                f"`temperature.{path[-1]}` has no effect without `adaptive: true`; add that, or remove the field",
                path,
                (_ADAPTIVE,),
                key=True,
                idle=True,
            )


def _plain(subject: Subject) -> Iterator[Advice]:
    temperature = subject.config.primary.temperature
    if temperature is None or temperature.adaptive or temperature.initial != 1:
        return
    if not temperature.model_fields_set & {"bounds", "rate"}:  # else that is what to say
        yield Advice(
            "a fixed temperature of 1 changes nothing; write `adaptive: true`, or remove `temperature`",
            _T,
            (_INITIAL, _ADAPTIVE, _BOUNDS, _RATE),
            key=True,
            idle=True,
        )


def _wide_bounds(subject: Subject) -> Iterator[Advice]:
    temperature = _adaptive(subject)
    if temperature is None:
        return
    (low, high), (lowest, highest) = temperature.bounds, temperature.recommended["bounds"]
    if low < lowest or high > highest:
        effect = (
            f"at {short(low)} gradients are {short(1 / low, 3)} times as large"
            if low < lowest
            else f"at {short(high)} every prediction is nearly flat"
        )
        yield Advice(
            f"`temperature.bounds` {short(low)} to {short(high)} are wide: {effect}; "
            f"keep them within {short(lowest)} and {short(highest)}, or 0.7 and 1.5 for a run that must stay stable",
            _BOUNDS,
        )


def _narrow_bounds(subject: Subject) -> Iterator[Advice]:
    temperature = _adaptive(subject)
    if temperature is None:
        return
    low, high = temperature.bounds
    if 0 < high - low < 2 * temperature.rate:
        yield Advice(
            f"`temperature.bounds` {short(low)} to {short(high)} are less than two steps of "
            f"`rate` {short(temperature.rate)} apart, so the temperature only jumps between them; "
            "widen them, or lower the rate",
            _BOUNDS,
            (_RATE,),
        )


def _start(subject: Subject) -> Iterator[Advice]:
    temperature = subject.config.primary.temperature
    if temperature is None or (temperature.adaptive and _outside_bounds(temperature)):
        return
    low, high = temperature.recommended["initial"]
    value = temperature.initial
    if not low <= value <= high:
        effect = (
            "flattens every prediction" if value > high else f"makes gradients {short(1 / value, 3)} times as large"
        )
        yield Advice(
            f"`temperature.initial` {short(value)} {effect}; start at 1, or within {short(low)} and {short(high)}",
            _INITIAL,
            (_ADAPTIVE, _BOUNDS) if temperature.adaptive else (_ADAPTIVE,),
        )


_HEAD = "version: 1\nprimary: {type: deepseek, temperature: "

RULES = (
    ConfigRule(
        "AVA309",
        "initial-outside-bounds",
        "warning",
        documentation(
            "Finds an adaptive temperature that starts outside its own bounds.",
            "At the first adaptation it is moved to the nearer bound at once: the loss jumps, and the start that the "
            "file promises lasts ten steps.",
            _HEAD + "{initial: 1.0, adaptive: true, bounds: [1.2, 2.0]}}",
            _HEAD + "{initial: 1.2, adaptive: true, bounds: [0.7, 1.5]}}",
        ),
        _initial_outside_bounds,
    ),
    ConfigRule(
        "AVA310",
        "frozen-temperature",
        "warning",
        documentation(
            "Finds an adaptive temperature that cannot move: a `rate` of 0, or two equal bounds.",
            "The file says that the temperature follows the loss, and it does not.",
            _HEAD + "{adaptive: true, rate: 0}}",
            _HEAD + "{adaptive: true, rate: 0.01}}",
        ),
        _frozen,
    ),
    ConfigRule(
        "AVA311",
        "idle-temperature-field",
        "warning",
        documentation(
            "Finds `bounds` or `rate` of a temperature that is not adaptive.",
            "Only adaptation reads them. Whoever wrote them most likely meant `adaptive: true`.",
            _HEAD + "{initial: 1.2, bounds: [0.7, 1.5]}}",
            _HEAD + "{initial: 1.2, adaptive: true, bounds: [0.7, 1.5]}}",
        ),
        _idle_fields,
    ),
    ConfigRule(
        "AVA312",
        "plain-temperature",
        "info",
        documentation(
            "Finds a `temperature` that stays at 1.",
            "Dividing by 1 changes nothing. Where training is slow to converge, an adaptive temperature may help.",
            _HEAD + "{initial: 1.0}}",
            _HEAD + "{initial: 1.0, adaptive: true}}",
        ),
        _plain,
    ),
    ConfigRule(
        "AVA501",
        "wide-temperature-bounds",
        "warning",
        documentation(
            "Finds bounds of an adaptive temperature beyond 0.5 and 2.0.",
            "At a low temperature the logits are multiplied by a large number, and so are their gradients, which is "
            "how a loss becomes NaN. At a high one the prediction is nearly uniform and teaches little.",
            _HEAD + "{adaptive: true, bounds: [0.1, 5.0]}}",
            _HEAD + "{adaptive: true, bounds: [0.7, 1.5]}}",
        ),
        _wide_bounds,
    ),
    ConfigRule(
        "AVA502",
        "narrow-temperature-bounds",
        "warning",
        documentation(
            "Finds bounds of an adaptive temperature that are less than two steps of its `rate` apart.",
            "Each adaptation then goes from one end to the other, and the loss with it.",
            _HEAD + "{adaptive: true, bounds: [0.99, 1.005], rate: 0.01}}",
            _HEAD + "{adaptive: true, bounds: [0.7, 1.5], rate: 0.01}}",
        ),
        _narrow_bounds,
    ),
    ConfigRule(
        "AVA503",
        "temperature-start",
        "warning",
        documentation(
            "Finds a temperature that starts (or stays) outside 0.8 to 1.5.",
            "Below, gradients grow by its inverse, and an untrained model can overflow on its first steps. Above, "
            "predictions are flattened, and the model learns logits that are too large without it.",
            _HEAD + "{initial: 3.0}}",
            _HEAD + "{initial: 1.2}}",
        ),
        _start,
    ),
)
