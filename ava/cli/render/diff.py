"""Changes as a text for a terminal: class by class, worst first, before and after in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ava.cli.render.words import value_text
from ava.config.change import CLASSES, Change
from ava.numbers import change_text, number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ava.cli.compare import Comparison, Uncomparable
    from ava.run.compare import Numeric

__all__ = ["counted", "draw_diff", "numeric_rows", "shown", "where"]

_SHORT = 12
"""Columns up to which a value is padded, so that the arrows stand below one another."""
_TONES = {"breaking": "bold red", "objective": "bold yellow", "numerics": "bold cyan", "reporting": "bold blue"}


def draw_diff(
    compared: Sequence[Comparison], failed: Sequence[Uncomparable], measured: Numeric | None, *, quiet: bool = False
) -> Iterator[RenderableType]:
    """Yield each comparison under its title, and a last line that counts the changes."""
    shown_pairs = [item for item in compared if item.changes or len(compared) == 1]
    for index, item in enumerate(shown_pairs):
        if index:
            yield Text("")
        if not quiet:
            yield Text(item.title, "bold")
        yield from _changes(item.changes)
    if measured is not None:
        yield from _numeric(measured)
    if not quiet:
        changes = [change for item in compared for change in item.changes]
        if changes or len(compared) > 1:
            yield Text("")
        files = f" in {len(compared)} files" if len(compared) > 1 else ""
        line = Text(counted(changes) + files + ".")
        if failed:
            line.append(f" {len(failed)} could not be compared.", "bold red")
        yield line
        if any("N·" in change.consequence for change in changes):
            yield Text("N: rows of logits, batch × positions.", "dim")


def counted(changes: Sequence[Change]) -> str:
    """Return how many changes there are of each class: ``1 breaking, 2 objective``."""
    counts = Counter(change.class_ for change in changes)
    return ", ".join(f"{counts[name]} {name}" for name in CLASSES if counts[name]) or "No change"


def shown(value: Any, change: Change) -> str:
    """Return a value in one line of printable characters; of a whole term, whether it is on."""
    if len(change.path) == 2 and change.path[0] == "terms":
        return "off" if value is None else "on"
    if isinstance(value, dict) and "steps" not in value:
        return "{" + ", ".join(f"{name}: {value_text(item)}" for name, item in value.items()) + "}"
    text = " ".join(value_text(value).split())
    if isinstance(value, dict):
        text = f"({text})"  # it holds an arrow of its own
    return "".join(char if char.isprintable() else "\ufffd" for char in text) or '""'


def where(change: Change) -> str:
    """Return ``file:line``."""
    return "" if change.file is None else f"{change.file}:{change.line}"


def _changes(changes: Sequence[Change]) -> Iterator[RenderableType]:
    fields = [change for change in changes if change.path]
    name = max((cell_len(change.name) for change in fields), default=0)
    lengths = [cell_len(shown(change.before, change)) for change in fields]
    before = max((length for length in lengths if length <= _SHORT), default=0)
    for class_, members in groupby(changes, lambda change: change.class_):
        yield Text("")
        yield Text(class_, _TONES.get(class_, "dim"))
        for change in members:
            if change.path:
                yield Padding(_values(change, name, before), (0, 0, 0, 2))
            yield Padding(_consequence(change), (0, 0, 0, 4 if change.path else 2))


def _values(change: Change, name: int, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=name)
    grid.add_column(overflow="fold")
    before, after = shown(change.before, change), shown(change.after, change)
    values = Text(before + " " * (width - cell_len(before)), "" if before == after else "red")
    if before != after:
        values.append(" → ", "dim").append(after, "green")
    grid.add_row(Text(change.name, "bold"), values)
    return grid


def _consequence(change: Change) -> RenderableType:
    place = where(change)
    return Text(change.consequence + ("  " if change.consequence and place else "")).append(place, "dim")


def numeric_rows(measured: Numeric) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, before, after and change: each term raw and weighted, the total, the gradient's norm."""
    before, after = measured.before, measured.after
    names = [name for name in before.terms if name not in after.terms]
    for name in [*after.terms, *names]:
        for index, kind in enumerate(("", " × weight")):
            old, new = (run.terms[name][index] if name in run.terms else None for run in (before, after))
            if not index or name != "main_loss":
                yield (name if not index else f"  {kind.strip()}", number(old), number(new), _change(old, new))
    yield "total", number(before.total), number(after.total), _change(before.total, after.total)
    norms = before.gradient_norm, after.gradient_norm
    yield "gradient norm", number(norms[0]), number(norms[1]), _change(*norms)


def _change(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return "new" if old is None else "gone"
    if old == new:
        return "="
    ratio = number(new / old, 3) if old and new and (old > 0) == (new > 0) else "1"
    return f"×{ratio}" if ratio != "1" else change_text(new - old)


def _numeric(measured: Numeric) -> Iterator[RenderableType]:
    from ava.cli.render.explain import heading, plain_table

    yield heading("On the same tensors")
    table = plain_table("", "before", "after", "change", right=("before", "after", "change"))
    for row in numeric_rows(measured):
        table.add_row(Text(row[0], "dim" if row[0].startswith(" ") else "bold"), *row[1:])
    yield table
    yield Text("")
    yield Text(gradient_text(measured))


def gradient_text(measured: Numeric) -> str:
    """Return how the two gradients lie to each other."""
    share = measured.difference / measured.before.gradient_norm if measured.before.gradient_norm else 0.0
    return (
        f"Cosine between the gradients {number(measured.cosine, 6)}; "
        f"their difference has {number(100 * share, 3)} % of the norm before."
    )
