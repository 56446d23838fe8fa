"""An explanation as one page that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from ava.cli.render.explain import size_rows, sizes_note, weight_text
from ava.cli.render.words import range_text, value_text
from ava.numbers import bytes_text, number
from ava.plan.explain import Explanation, FieldInfo
from ava.plan.explain_term import TermInfo, sparkline
from ava.plan.words import memory_note, needs_text, term_cost
from ava.report.bars import bar
from ava.report.html import Child, Html, anchor, breakable, code, element, prose
from ava.report.page import Part, render
from ava.report.tables import table
from ava.terms.base import Schedule

__all__ = ["preset_html", "subject_html", "term_html"]

_EFFECTS = {
    "static": "static: part of the compiled graph",
    "runtime": "runtime: a change never recompiles",
    "none": "not used by this configuration",
}


def preset_html(told: Explanation) -> str:
    """Return the page of a whole configuration."""
    description = told.plan.config.description.strip()
    lead = [
        element("p", description, class_="lead") if description else None,
        element("p", "Read from ", code(" ← ".join(told.files)), ".", class_="note") if told.files else None,
    ]
    parts = [
        Part("terms", "Terms", _sizes(told)),
        Part("memory", "Memory", _memory(told)),
        Part("values", "Values", _values(told.fields)),
        Part("meaning", "What each term is", element("div", [_article(term) for term in told.terms], class_="cards")),
    ]
    return render(told.name, lead, parts)


def subject_html(name: str, term: TermInfo | None, fields: Sequence[FieldInfo], share: float | None = None) -> str:
    """Return the page of a term of a configuration, with its ``share`` of the loss, or of some of its fields."""
    title = f"{name}: {term.name}" if term is not None else f"{name}: {'.'.join(map(str, _common(fields)))}"
    parts = [Part("values", "Values", _values(fields))]
    if len(fields) == 1:
        parts.append(Part("field", "Field", element("div", _pairs(_field_facts(fields[0])), class_="cards")))
    if term is not None:
        parts.insert(0, Part("term", "Term", _whole(term, *(size_rows(term, share) if share is not None else ()))))
    return render(title, None, parts)


def term_html(term: TermInfo, fields: Sequence[FieldInfo], vocab_size: int) -> str:
    """Return the page of a term by itself."""
    rows = [
        [
            code(str(field.path[-1])),
            value_text(field.default),
            prose(field.accepts),
            range_text(field.recommended),
            prose(field.description),
        ]
        for field in fields
    ]
    heads = ("field", "default", "accepts", "usual", "meaning")
    size = f"{number(term.untrained)} for a uniform prediction over {vocab_size:,} tokens"
    return render(
        term.name,
        element("p", prose(term.summary), class_="lead"),
        [
            Part("term", "Term", _whole(term, ("untrained", size), start=1)),
            Part("fields", "Fields", table(f"Fields of {term.name}", heads, rows)),
        ],
    )


def _sizes(told: Explanation) -> Child:
    rows: list[list[Child]] = []
    for term in told.terms:
        share = [bar(term.name, "the untrained loss", told.share(term))]
        if isinstance(term.weight, Schedule):
            share.append(bar(term.name, "the untrained loss after its schedule", told.share(term, last=True)))
        cell = element("div", share, style="min-width: 12rem")
        rows.append([code(term.name), _weight(term), number(term.untrained), number(term.weighted), cell])
    rows.append(["total", "", "", number(told.untrained_total), ""])
    heads = ("term", "weight", "untrained", "weighted", "share")
    return [
        table("Size of each term for an untrained model", heads, rows, right=(1, 2, 3)),
        element("p", prose(sizes_note(told)), class_="note"),
    ]


def _weight(term: TermInfo) -> Child:
    if not isinstance(term.weight, Schedule):
        return weight_text(term)
    line = element("span", sparkline(term.weight), role="img", aria_label="the weight over the steps")
    return [weight_text(term), element("br"), line]


def _memory(told: Explanation) -> Child:
    rows = [[code(info.name), bytes_text(info.bytes), info.given] for info in told.engines]
    return [
        table("Memory of each engine", ("engine", "memory", "given"), rows, right=(1,)),
        element("p", memory_note(told), class_="note"),
    ]


def _values(fields: Sequence[FieldInfo]) -> Child:
    return table("Values", ("field", "value", "set in", "change", "usual"), map(_row, fields))


def _row(field: FieldInfo) -> list[Child]:
    return [
        element("span", code(".".join(map(str, field.path)).removeprefix("terms.")), title=field.description or None),
        value_text(field.value),
        field.where,
        element("span", "" if field.effect == "none" else field.effect, title=_EFFECTS[field.effect]),
        _usual(field),
    ]


def _usual(field: FieldInfo) -> Child:
    """Return the recommended range, with a picture of where the value lies in it."""
    if field.recommended is None:
        return None
    text = range_text(field.recommended)
    if field.verdict is None:
        return text
    place = {"below": 4.0, "above": 96.0}.get(field.verdict, 15 + 70 * (field.position or 0.0))
    said = field.verdict if field.verdict != "inside" else f"inside, at {100 * (field.position or 0):.0f} %"
    picture = element(
        "svg",
        element("title", f"{value_text(field.value)} is {said} of {text}"),
        element("rect", class_="track", x="15", y="4", width="70", height="4"),
        element("circle", class_="bar" if field.verdict == "inside" else "bar other", cx=f"{place:g}", cy="6", r="4"),
        viewBox="0 0 100 12",
        width="100",
        height="12",
        role="img",
    )
    words = text if field.verdict == "inside" else f"{text} ({field.verdict})"
    label = element("span", words, style="display: inline-block; min-width: 7.5em")
    return element("span", label, " ", picture, style="white-space: nowrap")


def _field_facts(field: FieldInfo) -> list[tuple[str, Child]]:
    return [
        ("meaning", prose(field.description)),
        ("default", value_text(field.default)),
        ("accepts", prose(field.accepts)),
        ("change", _EFFECTS[field.effect]),
    ]


def _common(fields: Sequence[FieldInfo]) -> tuple[str | int, ...]:
    return fields[0].path if len(fields) == 1 else fields[0].path[:-1]


def _article(term: TermInfo) -> Html:
    return element("article", element("h3", breakable(term.name)), element("p", prose(term.summary)), _facts(term))


def _whole(term: TermInfo, *facts: tuple[str, Child], start: int = 0) -> Html:
    texts = [element("p", prose(text)) for text in term.documentation[start:]]
    return element(
        "div", element("article", texts, _facts(term, *facts)), class_="cards", style="grid-template-columns: 1fr"
    )


def _facts(term: TermInfo, *more: tuple[str, Child]) -> Html:
    facts: list[tuple[str, Child]] = [("formula", code(term.formula))]
    for source in term.sources:
        text = ", ".join(part for part in (source.paper, source.equation) if part)
        facts.append(("source", anchor(text, source.link)))
    return _pairs([*facts, ("needs", needs_text(term.needs)), ("cost", term_cost(term)), *more])


def _pairs(facts: Sequence[tuple[str, Child]]) -> Html:
    return element("dl", [[element("dt", name), element("dd", content)] for name, content in facts])
