"""From figures to findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ava.config import Config
from ava.errors import Finding, Path, Rule, Span
from ava.numbers import bytes_text, short
from ava.plan.explain_term import MAIN
from ava.run.dry_run import rules
from ava.run.dry_run.report import Measured, TermFigures

__all__ = ["TOLERANCE", "at", "judge"]

AGAINST = -0.9
DOMINANT = 0.5
TENTH = 0.1
OVER, SLACK = 0.15, 256 * 1024
"""Share of the plan's memory, and bytes, that a run may take above it."""
_MEANT_LARGE = ("repetitive", "collapsed", "skewed")
_WAKES = {
    "token_diversity_loss": "collapsed",
    "eos_penalty": "collapsed",
    "moe_balance_loss": "skewed",
    "router_z_loss": "skewed",
}
"""The scenario in which a term acts, where it is not `repetitive`."""
TOLERANCE = {"float64": 1e-10, "float32": 1e-4, "bfloat16": 3e-2, "float16": 1e-2}
"""Relative difference between compiled and uncompiled that rounding explains, by dtype."""


def judge(measured: Measured, config: Config, scenario: str, dtype: str) -> tuple[Finding, ...]:
    """Return what the figures tell, the whole run first and then term by term."""
    return (*_run(measured, config, dtype), *_terms(measured, config, scenario))


def _run(measured: Measured, config: Config, dtype: str) -> Iterator[Finding]:
    if not measured.finite:
        wrong = [name for name, term in measured.parts.terms.items() if not _finite(term)]
        what = f"{', '.join(f'`{name}`' for name in wrong)}" if wrong else "the total or its gradient"
        verb = "are" if len(wrong) > 1 else "is"
        hint = "" if wrong else f" in {dtype}, though every term by itself is"
        advice = "; ".join(measured.causes[:2]) or "try `--dtype float32`, or lower the weights"
        path: Path = ("terms", *wrong[:1]) if wrong else ()
        yield at(config, rules.NOT_FINITE, f"{what} {verb} not finite{hint}: {advice}", path)
    if measured.graph_breaks:
        count = "one graph break" if measured.graph_breaks == 1 else f"{measured.graph_breaks} graph breaks"
        reasons = "; ".join(measured.break_reasons)
        ran = "" if measured.compiled else ", and ran uncompiled"
        text = f"the loss does not compile into one graph{ran} ({count}{f': {reasons}' if reasons else ''})"
        yield at(
            config, rules.GRAPH_BREAK, f"{text}; keep a term's `value` on tensors, without `.item()`", ("compile",)
        )
    if measured.recompiles:
        text = f"the loss was compiled {measured.recompiles} more times for batches of one shape"
        advice = "make what changes from call to call a tensor, or set `compile.enabled: false`"
        yield at(config, rules.RECOMPILE, f"{text}; {advice}", ("compile",))
    difference = measured.eager_difference
    if difference is not None and measured.finite and not difference <= TOLERANCE[dtype]:
        limit = short(TOLERANCE[dtype])
        text = f"compiled and uncompiled differ by {short(difference, 2)}, relative; rounding explains {limit}"
        yield at(config, rules.DIFFERS, f"{text}; until it is known why, set `compile.enabled: false`", ("compile",))
    over = measured.peak_bytes - measured.planned_bytes
    if over > max(OVER * measured.planned_bytes, SLACK):
        share = 100 * over / max(measured.planned_bytes, 1)
        peak, planned = bytes_text(measured.peak_bytes), bytes_text(measured.planned_bytes)
        text = f"the peak of {peak} is {share:.0f} % above the plan's {planned}"
        if measured.engine == "logits":
            advice = "look for a term that keeps tensors of the vocabulary's width, or try `--engine linear`"
        else:
            advice = "look for a term that keeps such tensors, or try `compile.chunk_tokens: 128`"
        yield at(config, rules.COSTS, f"{text}; {advice}", ("compile",))


def _terms(measured: Measured, config: Config, scenario: str) -> Iterator[Finding]:
    terms = measured.parts.terms
    sizes = sum(term.gradient_norm for term in terms.values())
    for name, term in terms.items():
        path: Path = ("terms", name)
        if name == MAIN or not _finite(term):
            continue
        if term.weight == 0:
            text = f"`{name}` does nothing: its weight is 0; {_usual(config, name)}, or leave the term out"
            yield at(config, rules.IDLE, text, path)
        elif term.gradient_norm == 0:
            where = "on the captured tensors" if scenario == "captured" else f"in the scenario `{scenario}`"
            wakes = _WAKES.get(name, "repetitive")
            hint = "" if scenario in (wakes, "captured") else f"; try `--scenario {wakes}`, which may wake it"
            text = f"`{name}` does nothing {where}{hint}"
            yield at(config, rules.IDLE, text, path)
        else:
            if term.cosine_to_main < AGAINST:
                ratio = term.gradient_norm / max(terms[MAIN].gradient_norm, 1e-30)
                advice = f"its push is {short(ratio, 2)} of the main loss's" + (
                    f"; try `terms.{name}.weight: {short(term.weight * TENTH / ratio, 2)}`, a tenth"
                    if ratio > TENTH
                    else ""
                )
                text = f"`{name}` pulls against the main loss: the cosine of the gradients is {term.cosine_to_main:.2f}"
                yield at(config, rules.FIGHTS, f"{text}, {advice}", path)
            if term.gradient_share > DOMINANT and scenario not in _MEANT_LARGE:
                others = sizes - term.gradient_norm
                advised = others > 0 and config.balancing == "fixed"
                tenth = term.weight * others * TENTH / (1 - TENTH) / term.gradient_norm
                advice = (
                    f"; try `terms.{name}.weight: {short(tenth, 1)}`, at which it would have a tenth" if advised else ""
                )
                text = f"`{name}` makes up {100 * term.gradient_share:.0f} % of the gradient{advice}"
                yield at(config, rules.DOMINATES, text, path)


def _usual(config: Config, name: str) -> str:
    """Return the weight that a term has by default, as something to try."""
    term = next(term for term in config.enabled if term.name == name)
    return f"try `terms.{name}.weight: {short(type(term).model_fields['weight'].default)}`"


def _finite(term: TermFigures) -> bool:
    return all(math.isfinite(value) for value in (term.raw, term.weighted, term.gradient_norm))


def at(config: Config, rule: Rule, message: str, path: Path) -> Finding:
    """Return the rule's finding at the place where the configuration sets ``path``."""
    source = config.source
    span = source.span(path, key=True) if source is not None else Span("<config>", 1, 1, 1, 1)
    return rule.finding(message, span, path)
