"""What the terminal shows: a live panel, plain lines where there is no terminal, and the table at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .files import Record

HEADLINES = {
    "nats": "nats a token, at τ = 1",
    "nats_at_temperature": "nats a token, at the loss's τ",
    "bits_per_byte": "bits per byte",
    "accuracy": "accuracy",
    "rep_4": "rep-4 of greedy text",
    "distinct_2": "distinct-2 of greedy text",
}
HIGHER_IS_BETTER = {"accuracy", "distinct_2"}


class Display:
    """`with Display(console) as display: display.show(record, share_done)`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        percent = TextColumn("{task.percentage:>3.0f} %")
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(None), percent, TimeElapsedColumn())
        self.task = self.bar.add_task("step 0", total=1.0)
        terminal = console.file.isatty() and not console.is_dumb_terminal
        self.live = Live(self.bar, console=console, refresh_per_second=4) if terminal else None
        self.earlier: tuple[float, float] | None = None
        self.held_out = "…"

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, record: Record, done: float) -> None:
        numbers = {name: value for name, value in record.items() if value is not None}
        terms = {name.removeprefix("loss/"): value for name, value in numbers.items() if name.startswith("loss/")}
        if "held_out/nats" in numbers:
            self.held_out = f"{numbers['held_out/nats']:.4f}"
        facts = {
            "τ": f"{numbers['metrics/temperature']:.3f}" if "metrics/temperature" in numbers else "…",
            "tokens/s": self.speed(numbers["tokens"], numbers["seconds"]),
            "lr": f"{numbers['lr']:.1e}",
            "held-out": self.held_out,
        }
        if self.live:
            self.bar.update(self.task, completed=done, description=f"step {record['step']}")
            self.live.update(Group(self.bar, panel(terms, numbers, facts)))
        else:
            weighted = "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
            self.say(
                f"step {record['step']}  {weighted}  " + "  ".join(f"{fact} {text}" for fact, text in facts.items())
            )

    def speed(self, tokens: float, seconds: float) -> str:
        earlier, self.earlier = self.earlier, (tokens, seconds)
        return f"{(tokens - earlier[0]) / max(seconds - earlier[1], 1e-9):,.0f}" if earlier else "…"


def panel(terms: Mapping[str, float], numbers: Mapping[str, float], facts: Mapping[str, str]) -> RenderableType:
    table = columns("term", "weighted", "raw")
    for name, value in terms.items():
        raw = numbers.get(f"raw/{name}")
        table.add_row(name, f"{value:.4f}", "" if raw is None else f"{raw:.4f}")
    return Group(table, Text("   ".join(f"{fact} {text}" for fact, text in facts.items())))


def columns(first: str, *numbers: str, title: str | None = None) -> Table:
    table = Table(first, title=title, title_justify="left", box=None, padding=(0, 2), header_style="bold")
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def summary(before: Mapping[str, float], after: Mapping[str, float], real: Mapping[str, float], title: str) -> Table:
    """The held-out set before and after; `real` is what the same measure gives for the text itself."""
    table = columns("", "before", "after", "the text itself", title=title)
    for name in [*HEADLINES, *(name for name in after if name not in HEADLINES)]:
        old, new = before.get(name), after[name]
        better = old is not None and (new > old if name in HIGHER_IS_BETTER else new < old)
        cells = ["" if value is None else f"{value:.4f}" for value in (old, new, real.get(name))]
        table.add_row(HEADLINES.get(name, name), cells[0], Text(cells[1], "green" if better else ""), cells[2])
    return table
