"""An explanation as tables and blocks of text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ava.cli.render.words import range_text, value_text
from ava.numbers import bytes_text, number, percent, short
from ava.plan.explain import Explanation, FieldInfo
from ava.plan.explain_term import TermInfo, sparkline
from ava.plan.words import memory_note, needs_text, term_cost
from ava.terms.base import Schedule

__all__ = [
    "blocks",
    "draw_field",
    "draw_fields",
    "draw_preset",
    "draw_term",
    "draw_term_page",
    "gauge",
    "heading",
    "plain_table",
    "size_rows",
    "sizes_note",
    "weight_text",
]

_ORIGINS = {"default": "dim", "file": "", "set": "bold cyan", "implied": "cyan"}
_VERDICTS = {"inside": "green", "below": "yellow", "above": "yellow", None: ""}


def draw_preset(told: Explanation) -> Iterator[RenderableType]:
    """Yield the page of a whole configuration."""
    title = Text(told.name, "bold")
    if told.plan.config.description:
        title.append(f" · {told.plan.config.description.strip().splitlines()[0]}", "not bold")
    yield title
    yield Text(" ← ".join(told.files), "dim")
    yield heading("Terms")
    yield _sizes(told)
    yield heading("Memory")
    yield _memory(told)
    yield heading("Values")
    yield draw_fields(told.fields)
    yield heading("What each term is")
    yield from blocks(Padding(draw_term(term), (0, 0, 0, 2)) for term in told.terms)


def blocks(items: Iterator[RenderableType]) -> Iterator[RenderableType]:
    """Yield ``items`` with an empty line after each but the last."""
    for index, item in enumerate(items):
        if index:
            yield Text("")
        yield item


def heading(text: str) -> RenderableType:
    """Return a section's title."""
    return Padding(Text(text, "bold underline"), (1, 0, 0, 0))


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table with a rule under its head and nothing else drawn; columns of numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    return table


def _sizes(told: Explanation) -> RenderableType:
    names = ("weight", "untrained", "weighted", "share")
    table = plain_table("", *names, right=names)
    table.columns[0].no_wrap = True
    for term in told.terms:
        verdict = next((field.verdict for field in told.fields if field.path == ("terms", term.name, "weight")), None)
        share = percent(told.share(term))
        if isinstance(term.weight, Schedule):
            share += f" → {percent(told.share(term, last=True))}"
        weight = Text(weight_text(term), _VERDICTS[verdict])
        table.add_row(Text(term.name, "bold"), weight, number(term.untrained), number(term.weighted), share)
    table.add_section()
    table.add_row(Text("total", "dim"), "", "", number(told.untrained_total), "")
    parts: list[RenderableType] = [table]
    lines = [(term, term.weight) for term in told.terms if isinstance(term.weight, Schedule)]
    if lines:
        grid = Table.grid(padding=(0, 2))
        for term, schedule in lines:
            grid.add_row(term.name, Text(sparkline(schedule), "cyan"), Text(schedule.text))
        parts += [Text(""), grid]
    return Group(*parts, Text(""), Text(sizes_note(told), "dim"))


def weight_text(term: TermInfo) -> str:
    """Return the weight; of a schedule, its ends."""
    first, last = term.weights
    text = short(first)
    return f"{text} → {short(last)}" if isinstance(term.weight, Schedule) else text


def sizes_note(told: Explanation) -> str:
    """Return what the untrained values are for."""
    size = f"{told.vocab_size:,} tokens" + (" (assumed: `model.vocab_size` is not set)" if told.assumed else "")
    text = f"Untrained: the value for a uniform prediction over {size}"
    text += "; penalties at their largest, in text that repeats no n-gram." if len(told.terms) > 1 else "."
    unknown = [term.name for term in told.terms if term.untrained is None]
    return text + (f" No formula tells it for {', '.join(unknown)}." if unknown else "")


def draw_fields(fields: Sequence[FieldInfo]) -> RenderableType:
    """Return the table of values, section by section."""
    table = plain_table("", "value", "set in", "change", "usual")
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True  # names stay whole; a long value gives way
    for section, members in groupby(fields, lambda field: _section(field)):
        table.add_row(Text(section, "bold"))
        for field in members:
            off = field.effect == "none"
            usual = Text(range_text(field.recommended), "dim")
            if field.verdict in ("below", "above"):
                usual.append(f" ({field.verdict})", "yellow not dim")
            table.add_row(
                Text(f"  {field.path[-1]}", "dim" if off else ""),
                Text(value_text(field.value), "dim" if off or field.origin == "default" else _VERDICTS[field.verdict]),
                Text(field.where, _ORIGINS[field.origin]),
                Text("" if off else field.effect, "dim" if field.effect == "static" else "green"),
                usual,
            )
    note = (
        "static: part of the compiled graph. runtime: a tensor, so a change never recompiles. "
        "Blank: this configuration does not use it."
    )
    return Group(table, Text(""), Text(note, "dim"))


def _section(field: FieldInfo) -> str:
    if field.path[0] == "terms":
        return str(field.path[1])
    return ".".join(map(str, field.path[:-1])) or "top level"


def draw_term(term: TermInfo, *, whole: bool = False, more: Sequence[tuple[str, str]] = ()) -> RenderableType:
    """Return a term's block, with ``more`` rows; with ``whole``, all of its documentation."""
    title = Text(term.name, "bold cyan")
    texts = [Text(part) for part in (term.documentation if whole else term.documentation[:1])]
    rows: list[tuple[str, str]] = [("formula", term.formula)]
    rows += [("source" if index == 0 else "", str(source)) for index, source in enumerate(term.sources)]
    rows += [("needs", needs_text(term.needs)), ("cost", term_cost(term))]
    rows += more
    parts: list[RenderableType] = [title]
    for text in texts:
        parts += [text, *([Text("")] if whole else [])]
    return Group(*parts, _pairs(rows))


def size_rows(term: TermInfo, share: float) -> list[tuple[str, str]]:
    """Return a term's weight over the steps, where it moves, and its size for an untrained model, named."""
    rows = []
    if isinstance(term.weight, Schedule):
        rows.append(("weight", f"{sparkline(term.weight)} {term.weight.text}"))
    size = f"{number(term.untrained)} × {short(term.weights[0])} = {number(term.weighted)}"
    return [*rows, ("untrained", f"{size}, {percent(share)} of the loss")]


def draw_term_page(term: TermInfo, fields: Sequence[FieldInfo], vocab_size: int) -> Iterator[RenderableType]:
    """Yield the page of a term by itself: its block, and each field with its meaning."""
    size = f"{number(term.untrained)} for a uniform prediction over {vocab_size:,} tokens"
    yield draw_term(term, whole=True, more=[("untrained", size)])
    yield heading("Fields")
    table = plain_table("", "default", "usual", "meaning")
    table.columns[0].no_wrap = True
    for field in fields:
        meaning = Text(field.description).append(f"\nAccepts {field.accepts}.", "dim")
        usual = range_text(field.recommended)
        table.add_row(Text(str(field.path[-1]), "bold"), value_text(field.default), usual, meaning)
    yield table


def draw_field(field: FieldInfo) -> Iterator[RenderableType]:
    """Yield the page of one field."""
    yield Text(".".join(map(str, field.path)), "bold cyan")
    if field.description:
        yield Text(field.description)
    usual = range_text(field.recommended)
    effects = {
        "static": "static: part of the compiled graph, so a change compiles again",
        "runtime": "runtime: a tensor, so a change never recompiles",
        "none": "not used by this configuration",
    }
    rows = [("value", value_text(field.value))]
    if isinstance(field.value, dict) and "steps" in field.value:
        rows.append(("over the steps", sparkline(Schedule.model_validate(field.value), 40)))
    rows += [("set in", field.where), ("default", value_text(field.default)), ("accepts", field.accepts)]
    if usual:
        rows.append(("usual", usual + (f"  {gauge(field)} {_where(field)}" if field.verdict else "")))
    yield _pairs([*rows, ("change", effects[field.effect])])


def gauge(field: FieldInfo, width: int = 15) -> str:
    """Return a picture of where the value lies in its recommended range: ``├──●─────┤``."""
    if field.verdict != "inside" or field.position is None:
        line = f"├{'─' * (width - 2)}┤"
        return f"● {line}" if field.verdict == "below" else f"{line} ●"
    at = round(field.position * (width - 1))
    return "".join(
        "●" if index == at else "├" if not index else "┤" if index == width - 1 else "─" for index in range(width)
    )


def _where(field: FieldInfo) -> str:
    place = {"below": "below what is usual", "above": "above what is usual"}.get(field.verdict or "")
    return place or f"inside, at {100 * (field.position or 0):.0f} %"


def _memory(told: Explanation) -> RenderableType:
    table = plain_table("engine", "memory", "given", right=("memory",))
    table.columns[0].no_wrap = True
    for info in told.engines:
        table.add_row(Text(info.name, "bold"), bytes_text(info.bytes), Text(info.given))
    return Group(table, Text(""), Text(memory_note(told), "dim"))


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, Text(text))
    return grid
