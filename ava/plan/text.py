"""A plan as text: at most a hundred columns, the same for the same configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ava.numbers import short
from ava.terms.base import Schedule, Section, Statistic, is_runtime

if TYPE_CHECKING:
    from ava.plan.passes import PlannedTerm
    from ava.plan.plan import Plan

__all__ = ["plan_text"]

WIDTH = 100
MAIN = "main_loss"


def plan_text(plan: Plan) -> str:
    """Return the text of ``plan``."""
    return "\n".join(line.rstrip() for line in _lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    config, needs = plan.config, plan.needs
    asked = [(MAIN, plan.primary.needs()), *((planned.name, planned.needs) for planned in plan.terms)]
    if config.description:
        yield from wrap(config.description.strip().splitlines()[0], WIDTH)
        yield ""
    yield from _row("main_loss", [_fields(plan.primary)])
    if plan.primary.temperature is not None:
        yield from _row("", [f"temperature: {_fields(plan.primary.temperature)}"])
    name_width = max([len(planned.name) for planned in plan.terms], default=0)
    yield from _row("terms", [_term(planned, name_width) for planned in plan.terms], name_width + 2)
    yield from _row("balancing", [config.balancing])
    yield ""
    statistics = [(str(item), [name for name, need in asked if item in need.statistics]) for item in Statistic]
    yield from _table("statistics", [(item, names) for item, names in statistics if names])
    yield from _table(
        "columns", [(str(pick), [name for name, need in asked if pick in need.picks]) for pick in needs.picks]
    )
    positions = sorted(needs.positions)
    yield from _table(
        "positions", [(item, [name for name, need in asked if item in need.positions]) for item in positions]
    )
    yield from _table("inputs", [(item, [name for name, need in asked if item in need.inputs]) for item in plan.inputs])
    yield from _table(
        "model",
        [(_model(plan, item), [name for name, need in asked if item in need.model]) for item in plan.required_model],
    )
    yield ""
    yield from _row("targets", [f"shift {_text(config.targets.shift)}"])
    yield from _row("reduction", [_fields(config.reduction)])
    yield from _row("compile", [_fields(config.compile)])
    yield from _row("engines", ["logits · linear · vocab_parallel"])
    yield ""
    name_width = max([len(MAIN), *(len(planned.name) for planned in plan.terms)])
    yield from _row(
        "cost a row",
        [
            *(f"{planned.name:<{name_width}}  {planned.cost}" for planned in plan.terms),
            f"{'all':<{name_width}}  {plan.cost}",
        ],
    )
    yield ""
    yield "~ runtime: changing it never recompiles. A term's cost is what leaving it out would save."


def _row(title: str, values: Iterable[str], hang: int = 2) -> Iterator[str]:
    """Yield ``values`` beside ``title``, one a line; what does not fit goes on ``hang`` columns further in."""
    for index, value in enumerate(values or ["none"]):
        parts = _wrap(value, hang)
        for depth, part in enumerate(parts):
            yield f"{title if index == 0 and depth == 0 else '':<14}{part}"


def _wrap(value: str, hang: int) -> list[str]:
    """Break ``value`` after its dots, if that is enough."""
    space = "\u00a0"
    tied = value.replace(" ", space).replace(f"{space}·{space}", f"{space}· ")
    parts = [part.replace(space, " ") for part in wrap(tied, WIDTH - 14, subsequent_indent=" " * hang)]
    return parts or [""]


def _table(title: str, rows: list[tuple[str, list[str]]]) -> Iterator[str]:
    """Yield what is needed beside who asked for it."""
    width = max([len(item) for item, _ in rows], default=0)
    for index, (item, names) in enumerate(rows or [("none", [])]):
        parts = wrap(", ".join(names), WIDTH - 16 - width) or [""]
        for depth, part in enumerate(parts):
            start = f"{title if index == 0 and depth == 0 else '':<14}{item if depth == 0 else '':<{width}}"
            yield f"{start}  {part}"


def _term(planned: PlannedTerm, width: int) -> str:
    return f"{planned.name:<{width}}  {_fields(planned.term)}"


def _model(plan: Plan, name: str) -> str:
    value = getattr(plan.config.model, name)
    return f"{name} {'(not set)' if value is None else value}"


def _fields(section: Section) -> str:
    """Return the fields of a section; a nested one is left to its own line."""
    words = [
        f"{'~' if is_runtime(type(section), name) else ''}{name} {_text(getattr(section, name))}"
        for name in type(section).model_fields
        if name != "temperature" or not isinstance(getattr(section, name), (Section, type(None)))
        if not (name == "if_missing" and getattr(section, name) == "error")
    ]
    return " · ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, Schedule):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return short(value) if isinstance(value, float) else "null" if value is None else str(value)
