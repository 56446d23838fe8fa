"""From figures to findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ava.config import Config
from ava.errors import Finding, Path, Rule, Span
from ava.plan.explain_term import MAIN
from ava.run.dry_run import rules
from ava.run.dry_run.report import Measured, TermFigures

__all__ = ["TOLERANCE", "judge"]

AGAINST = -0.9
DOMINANT = 0.5
_MEANT_LARGE = ("repetitive", "collapsed", "skewed")
TOLERANCE = {"float64": 1e-10, "float32": 1e-4, "bfloat16": 3e-2, "float16": 1e-2}
"""Relative difference between compiled and uncompiled that rounding explains, by dtype."""


def judge(measured: Measured, config: Config, scenario: str, dtype: str) -> tuple[Finding, ...]:
    """Return what the figures tell, the whole run first and then term by term."""
    return (*_run(measured, config, dtype), *_terms(measured, config, scenario))


def _run(measured: Measured, config: Config, dtype: str) -> Iterator[Finding]:
    if not measured.finite:
        wrong = [name for name, term in measured.parts.terms.items() if not _finite(term)]
        what = f"{', '.join(f'`{name}`' for name in wrong)}" if wrong else "the total or its gradient"
        hint = "" if wrong else f" in {dtype}, though every term by itself is"
        yield _at(config, rules.NOT_FINITE, f"{what} is not finite{hint}", ("terms", *wrong[:1]) if wrong else ())
    if measured.graph_breaks:
        text = f"the loss does not compile into one graph ({measured.graph_breaks} graph breaks), so it ran uncompiled"
        yield _at(config, rules.GRAPH_BREAK, text, ("compile",))
    if measured.recompiles:
        text = f"the loss was compiled {measured.recompiles} more times for batches of one shape"
        yield _at(config, rules.RECOMPILE, text, ("compile",))
    difference = measured.eager_difference
    if difference is not None and measured.finite and not difference <= TOLERANCE[dtype]:
        text = f"compiled and uncompiled differ by {difference:.1e}, relative; rounding explains {TOLERANCE[dtype]:.0e}"
        yield _at(config, rules.DIFFERS, text, ("compile",))


def _terms(measured: Measured, config: Config, scenario: str) -> Iterator[Finding]:
    terms = measured.parts.terms
    sizes = sum(term.gradient_norm for term in terms.values())
    for name, term in terms.items():
        path: Path = ("terms", name)
        if name == MAIN or not _finite(term):
            continue
        if term.weight == 0:
            yield _at(config, rules.IDLE, f"`{name}` does nothing: its weight is 0", path)
        elif term.gradient_norm == 0:
            hint = "" if scenario in _MEANT_LARGE else "; `repetitive`, `collapsed` or `skewed` may wake it"
            yield _at(config, rules.IDLE, f"`{name}` does nothing in the scenario `{scenario}`{hint}", path)
        else:
            if term.cosine_to_main < AGAINST:
                text = f"`{name}` pulls against the main loss: the cosine of the gradients is {term.cosine_to_main:.2f}"
                yield _at(config, rules.FIGHTS, text, path)
            if term.gradient_share > DOMINANT and scenario not in _MEANT_LARGE:
                others = sizes - term.gradient_norm
                advised = others > 0 and config.balancing == "fixed"
                tenth = f"; at weight {term.weight * others / 9 / term.gradient_norm:.1g} it would have a tenth"
                text = f"`{name}` makes up {100 * term.gradient_share:.0f} % of the gradient{tenth if advised else ''}"
                yield _at(config, rules.DOMINATES, text, path)


def _finite(term: TermFigures) -> bool:
    return all(math.isfinite(value) for value in (term.raw, term.weighted, term.gradient_norm))


def _at(config: Config, rule: Rule, message: str, path: Path) -> Finding:
    source = config.source
    span = source.span(path, key=True) if source is not None else Span("<config>", 1, 1, 1, 1)
    return rule.finding(message, span, path)
