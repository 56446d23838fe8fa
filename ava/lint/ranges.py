"""AVA2xx: values outside the range in which they are usually right."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ava.errors import Path, documentation
from ava.lint.subject import ConfigRule, Subject, numbers
from ava.numbers import short
from ava.terms.advice import Advice
from ava.terms.base import Schedule, Term

__all__ = ["RULES"]

HUGE = 1e300
VOCABULARY = 50257  # where the file does not say: the size changes a comparison with ln V little


def _outside(value: float, limits: tuple[float, float]) -> str | None:
    """Return ``above`` or ``below`` where ``value`` is outside."""
    return "above" if value > limits[1] else "below" if value < limits[0] else None


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**15 else short(min(value, HUGE))


def _usual(limits: tuple[float, float]) -> str:
    return f"{short(limits[0])} to {short(limits[1])}"


def _weights(subject: Subject) -> Iterator[Advice]:
    for term in subject.config.enabled:
        limits = term.recommended.get("weight")
        if limits is None or isinstance(term.weight, Schedule) or not term.weight:
            continue
        where = _outside(term.weight, limits)
        if where and not _is_idle(term):
            yield Advice(
                f"`{term.name}.weight` {short(term.weight)} is {where} the usual range; write {_usual(limits)}",
                ("terms", term.name, "weight"),
            )


def _is_idle(term: Term) -> bool:
    return getattr(term, "method", None) == "loss_free"  # its weight has no effect, which is a rule of its own


def _schedules(subject: Subject) -> Iterator[Advice]:
    for term in subject.config.enabled:
        limits = term.recommended.get("weight")
        if limits is None or not isinstance(term.weight, Schedule):
            continue
        for path, value in numbers(term):
            where = _outside(value, limits)
            # On its way a weight may be small; a schedule that ends at 0 switches the term off.
            if where == "above" or (where == "below" and value and path[-1] == "to"):
                yield Advice(
                    f"`{term.name}.weight` {'starts' if path[-1] == 'from' else 'ends'} at {short(value)}, {where} the "
                    f"usual range; write {_usual(limits)}",
                    path,
                )


def _dominating(subject: Subject) -> Iterator[Advice]:
    vocab_size = subject.config.model.vocab_size or VOCABULARY
    main = math.log(vocab_size)
    for term in subject.config.enabled:
        raw = term.untrained(vocab_size)
        path, weight = max(numbers(term), key=lambda item: item[1])
        if raw is not None and vocab_size > 2 and weight * raw > main:
            others: tuple[Path, ...] = (("model", "vocab_size"), ("terms", term.name))
            yield Advice(
                f"`{term.name}` begins at {short(weight)} × {short(raw, 3)} = {short(weight * raw, 3)}, more than the "
                f"main loss (ln V = {short(main, 3)}); keep its weight below {_below(main / raw)}",
                path,
                others,
            )


def _below(value: float) -> str:
    if not value:
        return "0"
    digits = 10 ** (math.floor(math.log10(value)) - 1)
    return short(math.floor(value / digits) * digits, 2)


def _fields(subject: Subject) -> Iterator[Advice]:
    for term in subject.config.enabled:
        for name, limits in term.recommended.items():
            value = getattr(term, name, None)
            if name == "weight" or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            where = _outside(value, limits)
            if where:
                yield Advice(
                    f"`{term.name}.{name}` {_shown(value)} is {where} the usual range; write {_usual(limits)}",
                    ("terms", term.name, name),
                )


def _label_smoothing(subject: Subject) -> Iterator[Advice]:
    primary = subject.config.primary
    limits = primary.recommended["label_smoothing"]
    where = _outside(primary.label_smoothing, limits)
    if where and primary.label_smoothing:
        effect = "blurs what the data says" if where == "above" else "hardly acts"
        yield Advice(
            f"`label_smoothing` {short(primary.label_smoothing)} {effect}; usual are 0, or {_usual(limits)}",
            ("primary", "label_smoothing"),
        )


def _temperature_rate(subject: Subject) -> Iterator[Advice]:
    temperature = subject.config.primary.temperature
    if temperature is None or not temperature.adaptive or not temperature.rate:
        return
    low, high = temperature.bounds
    limits = temperature.recommended["rate"]
    where = _outside(temperature.rate, limits)
    if where and high - low >= 2 * temperature.rate:
        effect = "makes it jump" if where == "above" else f"needs {(high - low) / temperature.rate:,.0f} steps to cross"
        yield Advice(
            f"`temperature.rate` {short(temperature.rate)} {effect} between its bounds; "
            f"usual are {_usual(limits)} a step",
            ("primary", "temperature", "rate"),
            (("primary", "temperature", "bounds"),),
        )


RULES = (
    ConfigRule(
        "AVA201",
        "weight-range",
        "warning",
        documentation(
            "Finds a term's weight outside the range in which the term is usually right.",
            "Below it, the term costs time and changes next to nothing. Above it, the model is trained to please the "
            "term: a strong repetition penalty, for example, also suppresses words that have to come twice. To fight "
            "a model that repeats itself, go to the upper end of the range first, and add terms before more weight.",
            "version: 1\nterms:\n  ngram_penalty: {weight: 0.6}",
            "version: 1\nterms:\n  ngram_penalty: {weight: 0.2}",
        ),
        _weights,
    ),
    ConfigRule(
        "AVA202",
        "dominating-weight",
        "warning",
        documentation(
            "Finds a term that is larger than the main loss before training: its weight times its value for an "
            "untrained model exceeds ln V, the cross-entropy of a uniform prediction. (`ava-loss explain` shows the "
            "share of each term, and `ava-loss dry-run` that of its gradient.)",
            "The first steps then train the term and not the language, and a loss that falls says little about the "
            "model.",
            "version: 1\nterms:\n  z_loss: {weight: 1.0}",
            "version: 1\nterms:\n  z_loss: {weight: 1e-4}",
        ),
        _dominating,
    ),
    ConfigRule(
        "AVA203",
        "schedule-range",
        "warning",
        documentation(
            "Finds a scheduled weight that starts above the usual range, or ends outside it. A schedule may start "
            "at any smaller weight, and may end at 0, which switches the term off.",
            "Where a schedule ends is what most of the training sees.",
            "version: 1\nterms:\n  eos_penalty: {weight: {from: 0.0, to: 0.5, steps: 1000}}",
            "version: 1\nterms:\n  eos_penalty: {weight: {from: 0.0, to: 0.05, steps: 1000}}",
        ),
        _schedules,
    ),
    ConfigRule(
        "AVA204",
        "field-range",
        "warning",
        documentation(
            "Finds any other field of a term outside the range in which it is usually right. "
            "`ava-loss explain TERM` shows the ranges.",
            "A value far from all experience is a slip of the pen more often than a discovery; and an n-gram window "
            "of 500 positions also costs ten times the columns of the default.",
            "version: 1\nterms:\n  ngram_penalty: {window: 500}",
            "version: 1\nterms:\n  ngram_penalty: {window: 50}",
        ),
        _fields,
    ),
    ConfigRule(
        "AVA205",
        "label-smoothing-range",
        "warning",
        documentation(
            "Finds label smoothing other than 0 outside 0.05 to 0.15.",
            "Smoothing takes that share of the probability from the right token and spreads it over the vocabulary. "
            "Too much blurs every prediction and hides how good the model is; too little only costs the pass.",
            "version: 1\nprimary: {label_smoothing: 0.4}",
            "version: 1\nprimary: {label_smoothing: 0.1}",
        ),
        _label_smoothing,
    ),
    ConfigRule(
        "AVA206",
        "temperature-rate",
        "warning",
        documentation(
            "Finds an adaptive temperature whose `rate`, its change per optimizer step, is outside 0.001 to 0.05.",
            "A large rate moves the whole loss faster than its average can be measured, which looks like the "
            "unsteadiness that it reacts to. With a tiny one the temperature never arrives.",
            "version: 1\nprimary: {type: deepseek, temperature: {adaptive: true, rate: 0.2}}",
            "version: 1\nprimary: {type: deepseek, temperature: {adaptive: true, rate: 0.01}}",
        ),
        _temperature_rate,
    ),
)
