"""An explanation as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ava.cli.render.words import cost_text, number, percent, range_text, value_text
from ava.plan.explain import Explanation, FieldInfo
from ava.plan.explain_term import TermInfo

__all__ = ["fields_markdown", "preset_markdown", "table", "term_fields_markdown", "term_markdown"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def preset_markdown(told: Explanation) -> str:
    """Return the page of a whole configuration."""
    size = f"{told.vocab_size}" + (" (assumed)" if told.assumed else "")
    sizes = [
        [
            f"`{term.name}`",
            " → ".join(f"{weight:g}" for weight in dict.fromkeys(term.weights)),
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
    head = ["term", "weight", "usual", "untrained", "weighted", "share"]
    return (
        f"{title}## Terms\n\nUntrained: for a uniform prediction over {size} tokens; penalties at their largest.\n\n"
        f"{table(head, sizes)}## Values\n\n{fields_markdown(told.fields)}"
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
            field.effect,
            range_text(field.recommended) + (f" ({field.verdict})" if field.verdict in ("below", "above") else ""),
        ]
        for field in fields
    ]
    return table(["field", "value", "set in", "change", "usual"], rows)


def term_markdown(term: TermInfo, *, whole: bool = False) -> str:
    """Return a term's section."""
    text = "\n\n".join(term.documentation if whole else term.documentation[:1])
    lines = [f"- formula: `{term.formula}`", *(f"- source: {source}" for source in term.sources)]
    return f"## {term.name}\n\n{text}\n\n" + "\n".join([*lines, f"- cost: {cost_text(term.cost)}"]) + "\n\n"


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
