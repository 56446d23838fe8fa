"""The figures of ``ava-loss bench`` for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ava.cli.render.explain import heading, plain_table
from ava.numbers import bytes_text, number
from ava.run.bench import LOSS, Benched

__all__ = ["draw_bench"]

_NAMES = {
    "cross_entropy": "F.cross_entropy",
    "cross_entropy_compiled": "F.cross_entropy, compiled",
    "linear_cross_entropy": "F.linear_cross_entropy",
}
_HEAD = ("time", "this loss ÷", "memory")
_LEGEND = "Medians of forward and backward, in turns; memory at its peak, above the inputs, gradients included."


def draw_bench(result: Benched) -> Iterator[RenderableType]:
    """Yield the tables, or what differs."""
    yield Text(result.preset, "bold")
    yield Text(_title(result))
    for note in result.notes:
        yield Text(note, "dim")
    yield heading("Results")
    yield _agreement(result)
    if not result.agree:
        yield Text("The results differ, so nothing was timed.", "bold red")
        return
    yield heading("Forward and backward")
    yield _times(result)
    yield Text("")
    yield Text(_LEGEND, "dim")


def _title(result: Benched) -> str:
    asked = result.setting
    columns = f" × {result.hidden_size} × " if asked.engine == "linear" else " × "
    shape = f"{asked.rows}{columns}{asked.vocab_size} {asked.dtype} on {asked.device}"
    threads = f" ({result.threads} {'thread' if result.threads == 1 else 'threads'})" if asked.device == "cpu" else ""
    return f"engine {asked.engine} · {shape}{threads} · {'compiled' if result.compiled else 'not compiled'}"


def _agreement(result: Benched) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", overflow="fold")
    grid.add_column(no_wrap=True)
    labels = {
        "compiled": "this loss, compiled − uncompiled",
        "cross_entropy": "cross-entropy here − F.cross_entropy",
    }
    for name, value in result.differences.items():
        grid.add_row(labels[name], f"{number(value, 2)} relative")
    if result.compile_seconds is not None:
        grid.add_row("compiling", f"{result.compile_seconds:.1f} s")
    return grid


def _times(result: Benched) -> Table:
    table = plain_table("", *_HEAD, right=_HEAD)
    table.columns[0].overflow = "fold"
    for name, taken in result.milliseconds.items():
        label = Text("this loss", "bold") if name == LOSS else Text(_label(name, result))
        ratio = "" if name == LOSS else f"{result.ratios[name]:.2f}"
        table.add_row(label, f"{number(taken, 3)} ms", ratio, bytes_text(result.peak_bytes[name]))
    return table


def _label(name: str, result: Benched) -> str:
    plain = _NAMES[name]
    return f"F.linear + {plain}" if result.setting.engine == "linear" and name != "linear_cross_entropy" else plain
