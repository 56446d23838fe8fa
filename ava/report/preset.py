"""The page of a configuration: its plan, its weights over the steps, and what a dry run measured."""

from __future__ import annotations

from collections.abc import Sequence

from ava.errors import ArgumentValueError
from ava.numbers import short
from ava.plan import Cost, Plan
from ava.plan.explain import Explanation
from ava.plan.explain_term import TermInfo
from ava.plan.words import memory_note, needs_text, term_cost
from ava.report.axis import steps_axis, values_axis
from ava.report.bars import bar
from ava.report.chart import Line, line_chart
from ava.report.dry_run import dry_run_facts, dry_run_parts
from ava.report.figures import facts
from ava.report.html import Child, Html, anchor, breakable, element, join, prose
from ava.report.measured import DryRun
from ava.report.numbers import bytes_text, count, number, plural
from ava.report.page import Part, render
from ava.report.tables import details, table
from ava.terms.base import Schedule, Source, Weight

__all__ = ["dry_run_page", "preset_page"]

_POINTS = 101


def preset_page(told: Explanation, run: DryRun | None = None, *, title: str | None = None) -> str:
    """Return the page of ``told``, with what ``run`` measured.

    Raises:
        ArgumentValueError: the dry run is of other terms.
    """
    if run is not None:
        _same_terms(told, run)
    config = told.plan.config
    words = config.description.strip().splitlines()[0] if config.description and config.description.strip() else ""
    files = join([[" ← " if index else "", element("code", name)] for index, name in enumerate(told.files)])
    pairs: list[tuple[str, Child, Child]] = [
        ("terms", str(len(told.terms)), "the main loss among them" if told.plan.terms else "the main loss"),
        ("untrained loss", number(told.untrained_total), "at the first step, by formula"),
        ("vocabulary", count(told.vocab_size), "assumed: not set" if told.assumed else None),
    ]
    lead = [
        element("p", words, class_="lead") if words else None,
        element("p", files, class_="note") if told.files else None,
        facts([*pairs, *(dry_run_facts(run) if run is not None else [])]),
    ]
    parts = [*(dry_run_parts(run) if run is not None else [])]
    if run is None:
        parts.append(Part("shares", "Untrained shares", _shares(told)))
    parts += [
        Part("weights", "Weights over the steps", _weights(told)),
        Part("plan", "Plan", _plan(told)),
        Part("terms", "What each term is", element("div", map(_card, told.terms), class_="cards")),
        Part("values", "Values", _values(told)),
    ]
    return render(title or told.name, lead, parts)


def _same_terms(told: Explanation, run: DryRun) -> None:
    here, there = [term.name for term in told.terms], list(run.terms)
    if set(here) != set(there):
        raise ArgumentValueError(
            f"the saved dry run is of `{run.preset}` with the terms {', '.join(there)}; `{told.name}` has "
            f"{', '.join(here)}. Run `ava-loss dry-run {told.name} --format json` again"
        )


def dry_run_page(run: DryRun, *, title: str | None = None) -> str:
    """Return the page of a saved dry run by itself."""
    lead = [element("p", "What a dry run measured.", class_="lead"), facts(dry_run_facts(run))]
    return render(title or f"Dry run of {run.preset}", lead, dry_run_parts(run))


def _shares(told: Explanation) -> Child:
    moving = any(isinstance(term.weight, Schedule) for term in told.terms)
    rows = [
        [breakable(term.name), *_share_bars(told, term, moving), number(term.untrained), number(term.weights[0])]
        for term in told.terms
    ]
    note = (
        f"For a uniform prediction over {count(told.vocab_size)} tokens, penalties at their largest in text that "
        "repeats no n-gram; by formula, not measured. A dry run measures each term and its gradient."
    )
    after = ["share after all schedules"] if moving else []
    heads = ("term", "share at the first step", *after, "raw", "first weight" if moving else "weight")
    return [
        element("p", note, class_="note"),
        table(
            "Each term's share of the untrained loss",
            heads,
            rows,
            right=range(len(heads) - 2, len(heads)),
            class_="shares",
        ),
    ]


def _share_bars(told: Explanation, term: TermInfo, moving: bool) -> list[Html]:
    first = bar(term.name, "the untrained loss at the first step", told.share(term))
    last = bar(term.name, "the untrained loss after all schedules", told.share(term, last=True), tone="other")
    return [first, last] if moving else [first]


def _weights(told: Explanation) -> Child:
    ends = [term.weight.delay + term.weight.steps for term in told.terms if isinstance(term.weight, Schedule)]
    last = max(round(1.1 * max(ends, default=0)), 1000 if not ends else 1)
    across = steps_axis(0, last)
    charts = []
    for term in told.terms:
        points = [(float(step), _at(term.weight, step)) for step in _moments(term.weight, last)]
        up = values_axis([0.0, *(value for _, value in points)], log=False)
        words = _weight_words(term.weight)
        line = Line(term.name, [points])
        described = f"The weight of {term.name} from step 0 to {count(last)}: {words}."
        name = f"Weight of {term.name} over the steps"
        charts.append(line_chart(term.name, name, [line], across, up, described, small=True, note=words))
    rows = [[breakable(term.name), _weight_words(term.weight), *map(number, term.weights)] for term in told.terms]
    heads = ("term", "weight", "first", "last")
    return [
        element("p", "The factor of each term in the total, by optimizer step.", class_="note"),
        element("div", charts, class_="charts"),
        details("The same as a table", table("Weights over the steps", heads, rows, right=(2, 3))),
    ]


def _moments(weight: Weight, last: int) -> list[int]:
    """Return the steps to draw: evenly, and where a schedule begins and ends."""
    steps = {round(last * index / (_POINTS - 1)) for index in range(_POINTS)} if isinstance(weight, Schedule) else set()
    turns = {weight.delay, weight.delay + weight.steps} if isinstance(weight, Schedule) else set()
    return sorted({0, last} | steps | {step for step in turns if step <= last})


def _at(weight: Weight, step: int) -> float:
    return weight.at(step) if isinstance(weight, Schedule) else float(weight)


def _weight_words(weight: Weight) -> str:
    return weight.text if isinstance(weight, Schedule) else f"{short(weight)}, constant"


def _plan(told: Explanation) -> Child:
    plan = told.plan
    asked = [("main_loss", plan.primary.needs()), *((planned.name, planned.needs) for planned in plan.terms)]
    needed: list[tuple[str, str, list[str]]] = []
    kinds = (
        ("statistic", sorted(map(str, plan.needs.statistics)), lambda need: set(map(str, need.statistics))),
        ("column", list(map(str, plan.needs.picks)), lambda need: set(map(str, need.picks))),
        ("position", sorted(plan.needs.positions), lambda need: set(need.positions)),
        ("argument", list(plan.inputs), lambda need: set(need.inputs)),
        ("model field", list(plan.required_model), lambda need: set(need.model)),
    )
    for kind, items, of in kinds:
        needed += [(kind, item, [name for name, need in asked if item in of(need)]) for item in items]
    shared = [[item, kind, _names(names)] for kind, item, names in needed]
    engines = [[info.name, bytes_text(info.bytes), info.given] for info in told.engines]
    return [
        element("h3", "What is computed, and for whom"),
        table("What is computed, and for which terms", ("item", "kind", "for"), shared),
        _costs(plan) if plan.terms else None,
        element("h3", "Engines, and their memory"),
        table("Memory of each engine", ("engine", "memory", "given"), engines, right=(1,)),
        element("p", prose(memory_note(told)), class_="note"),
        details("The plan as text", element("pre", str(plan), tabindex="0", class_="scroll")),
    ]


def _costs(plan: Plan) -> Child:
    rows = [[breakable(planned.name), *_cost(planned.cost)] for planned in plan.terms]
    rows.append(["everything", *_cost(plan.cost)])
    heads = ("what leaving out … saves", "columns", "bytes kept", "flops", "more passes", "parameters")
    return [
        element("h3", "Cost of a row of logits, beyond the one pass over the vocabulary"),
        table("Cost of each term for a row of logits", heads, rows, right=range(1, 6)),
    ]


def _names(names: Sequence[str]) -> Html:
    return join([[", " if index else "", breakable(name)] for index, name in enumerate(names)])


def _cost(cost: Cost) -> list[Child]:
    fields = ("columns", "saved_bytes", "flops", "passes", "parameters")
    return [count(getattr(cost, name)) if getattr(cost, name) else "–" for name in fields]


def _card(term: TermInfo) -> Html:
    rows: list[tuple[Child, Child]] = [
        ("formula", element("code", term.formula)),
        ("needs", needs_text(term.needs)),
        ("cost", term_cost(term)),
    ]
    for field, (low, high) in term.recommended.items():
        rows.append((breakable(f"usual {field}"), f"{number(low)} – {number(high)}"))
    rows += [("source", anchor(_paper(source), source.link)) for source in term.sources]
    return element(
        "article",
        element("h3", breakable(term.name)),
        element("p", prose(term.summary)),
        element("dl", [[element("dt", name), element("dd", value)] for name, value in rows]),
        id=f"term-{term.name}",
    )


def _paper(source: Source) -> str:
    return f"{source.paper}, {source.equation}" if source.equation else source.paper


def _values(told: Explanation) -> Child:
    rows = [
        [
            breakable(".".join(map(str, field.path))),
            _value(field.value),
            field.where,
            "not used" if field.effect == "none" else field.effect,
            "–" if field.recommended is None else " – ".join(map(number, field.recommended)),
            field.verdict or "–",
        ]
        for field in told.fields
    ]
    heads = ("field", "value", "set in", "change", "usual", "the value is")
    note = "static: part of the compiled graph; runtime: a tensor, so that a change never recompiles."
    every = table("Every value", heads, rows)
    given = sum(field.origin != "default" for field in told.fields)
    return details(f"{plural(len(rows), 'value')}, {given} of them set", element("p", note, class_="note"), every)


def _value(value: object) -> str:
    if isinstance(value, dict) and "steps" in value:
        return Schedule.model_validate(value).text
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return short(value) if isinstance(value, float) else str(value)
