"""An explanation as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ava.cli.render.explain import size_rows, sizes_note, weight_text
from ava.cli.render.words import range_text, value_text
from ava.numbers import bytes_text, number, percent
from ava.plan.explain import Explanation, FieldInfo
from ava.plan.explain_term import TermInfo, sparkline
from ava.plan.words import memory_note, needs_text, term_cost
from ava.terms.base import Schedule

__all__ = ["fields_markdown", "preset_markdown", "table", "term_fields_markdown", "term_markdown"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def preset_markdown(told: Explanation) -> str:
    """Return the page of a whole configuration."""
    sizes = [
        [
            f"`{term.name}`",
            weight_text(term) + (f" `{sparkline(term.weight)}`" if isinstance(term.weight, Schedule) else ""),
            range_text(term.recommended.get("weight")),
            number(term.untrained),
            number(term.weighted),
            percent(told.share(term)),
        ]
        for term in told.terms
    ]
    title = f"# {told.name}\n\n" + (
        f"{told.plan.config.description.strip()}\n\n" if told.plan.config.description else ""
    )
    engines = [[f"`{info.name}`", bytes_text(info.bytes), info.given] for info in told.engines]
    head = ["term", "weight", "usual", "untrained", "weighted", "share"]
    return (
        f"{title}## Terms\n\n{sizes_note(told)}\n\n{table(head, sizes)}"
        f"## Memory\n\n{memory_note(told)}\n\n{table(['engine', 'memory', 'given'], engines)}"
        f"## Values\n\n{fields_markdown(told.fields)}"
        + "".join(term_markdown(term) for term in told.terms).rstrip("\n")
        + "\n"
    )


def fields_markdown(fields: Sequence[FieldInfo]) -> str:
    """Return the table of values."""
    rows = [
        [
            f"`{'.'.join(map(str, field.path))}`",
            value_text(field.value),
            field.where,
            "" if field.effect == "none" else field.effect,
            range_text(field.recommended) + (f" ({field.verdict})" if field.verdict in ("below", "above") else ""),
        ]
        for field in fields
    ]
    return table(["field", "value", "set in", "change", "usual"], rows)


def term_markdown(term: TermInfo, *, whole: bool = False, share: float | None = None) -> str:
    """Return a term's section; with ``whole``, all of its documentation; with a ``share``, its size."""
    text = "\n\n".join(term.documentation if whole else term.documentation[:1])
    lines = [f"- formula: `{term.formula}`", *(f"- source: {source}" for source in term.sources)]
    lines += [f"- needs: {needs_text(term.needs)}", f"- cost: {term_cost(term)}"]
    lines += [f"- {name}: {text}" for name, text in size_rows(term, share)] if share is not None else []
    return f"## {term.name}\n\n{text}\n\n" + "\n".join(lines) + "\n\n"


def term_fields_markdown(fields: Sequence[FieldInfo]) -> str:
    """Return the table of a term's fields with their meaning."""
    rows = [
        [
            f"`{field.path[-1]}`",
            value_text(field.default),
            field.accepts,
            range_text(field.recommended),
            field.description,
        ]
        for field in fields
    ]
    return table(["field", "default", "accepts", "usual", "meaning"], rows)
