"""Timing two things fairly: interleaved in one process, medians after warm-up, gradients included."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

RECORDS = Path(__file__).resolve().parent / "records"
ROUNDS = 11


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, the goal, and what came out."""

    what: str
    goal: float
    measured: float
    shape: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure reaches its goal."""
        return self.measured <= self.goal


def interleaved(
    sides: Mapping[str, Callable[[], torch.Tensor]], leaves: list[torch.Tensor], rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the median seconds of forward and backward of each side, run in turns A B C A B C.

    Each callable returns a scalar loss; ``leaves`` are the tensors whose gradients are dropped between runs.
    """

    def once(side: Callable[[], torch.Tensor]) -> float:
        for leaf in leaves:
            leaf.grad = None
        start = time.perf_counter()
        side().backward()
        return time.perf_counter() - start

    for side in sides.values():  # compile, then warm up
        once(side)
        once(side)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(once(side))
    return {name: statistics.median(values) for name, values in times.items()}


def report(name: str, rows: list[Row], seconds: Mapping[str, float]) -> None:
    """Print goal, measured and met, and write the JSON record."""
    table = Table(title=name, title_justify="left")
    for heading in ("what", "shape", "goal", "measured", "met"):
        table.add_column(heading, justify="left" if heading in ("what", "shape") else "right", no_wrap=True)
    for row in rows:
        table.add_row(row.what, row.shape, f"≤ {row.goal:g}", f"{row.measured:.2f}", "yes" if row.met else "no")
    Console(width=140).print(table)
    record = {
        "benchmark": name,
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "seconds": dict(seconds),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    RECORDS.mkdir(exist_ok=True)
    (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
