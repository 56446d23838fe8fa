"""Timing things fairly: in one process, in turns, medians after warm-up, with gradients, answers compared first."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "records"
ROUNDS = 11

Side = Callable[[], torch.Tensor]
"""Computes a scalar loss."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, the goal (None for a figure without one), and what came out."""

    what: str
    goal: float | None
    measured: float
    shape: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the figure reaches its goal; None without one."""
        return None if self.goal is None else self.measured <= self.goal


def parser(description: str | None, rounds: int = ROUNDS) -> argparse.ArgumentParser:
    """Return a parser with the options of every script."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--rounds", type=int, default=rounds, help="timed rounds of each side")
    made.add_argument("--threads", type=int, default=2, help="threads of torch")
    made.add_argument("--records", type=Path, default=RECORDS, help="folder of the JSON records")
    made.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, and nothing else; give --records too"
    )
    return made


def once(side: Side, leaves: Sequence[torch.Tensor]) -> float:
    """Return the seconds of one forward and backward pass."""
    for leaf in leaves:
        leaf.grad = None
    synchronize(leaves)
    start = time.perf_counter()
    side().backward()
    synchronize(leaves)
    return time.perf_counter() - start


def synchronize(leaves: Sequence[torch.Tensor]) -> None:
    """Wait for the device of the leaves, unless that is the CPU."""
    if leaves and leaves[0].device.type == "cuda":
        torch.cuda.synchronize(leaves[0].device)


def interleaved(sides: Mapping[str, Side], leaves: Sequence[torch.Tensor], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of forward and backward of each side, run in turns A B C A B C.

    ``leaves`` are the tensors whose gradients are dropped between runs.
    """
    for side in sides.values():  # compile, then warm up
        once(side, leaves)
        once(side, leaves)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(once(side, leaves))
    return {name: statistics.median(values) for name, values in times.items()}


def timed(work: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of something on the GPU, after a warm-up."""
    taken = []
    for _ in range(rounds + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[2:])


def agree(ours: Side, theirs: Side, leaves: Sequence[torch.Tensor]) -> None:
    """Stop unless both sides give the same loss and gradients: a wrong fast answer does not count.

    Raises:
        AssertionError: they do not; it says by how much.
    """
    answers = []
    for side in (ours, theirs):
        for leaf in leaves:
            leaf.grad = None
        loss = side()
        loss.backward()
        answers.append((loss.detach().double(), [leaf.grad for leaf in leaves]))
    (loss, gradients), (expected, references) = answers
    exact = leaves[0].dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(loss, expected, rtol=1e-5 if exact else 2e-2, atol=0)
    for gradient, reference in zip(gradients, references, strict=True):
        assert gradient is not None
        assert reference is not None
        error = (gradient.float() - reference.float()).norm() / reference.float().norm()
        assert error < (1e-4 if exact else 2e-2), f"gradients differ by {error:.1e}"


def fresh(arguments: Sequence[str], **environment: str) -> Any:
    """Return what a Python process of its own prints as JSON in its last line; its errors go to ours."""
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(
    name: str, rows: Sequence[Row], seconds: Mapping[str, float], options: argparse.Namespace, **more: object
) -> None:
    """Print goal, measured and met, and write the JSON record, with ``more`` in it; ``options`` are of :func:`parser`.

    With ``--quick`` there are no goals: the sizes are not theirs.
    """
    if options.quick:
        rows = [replace(row, goal=None) for row in rows]
    table = Table(title=f"{name}, sizes too small to judge" if options.quick else name, title_justify="left")
    for heading in ("what", "shape", "goal", "measured", "met"):
        table.add_column(heading, justify="left" if heading in ("what", "shape") else "right", no_wrap=True)
    met = {True: "yes", False: "no", None: ""}
    for row in rows:
        goal = "" if row.goal is None else f"≤ {row.goal:g}"
        table.add_row(row.what, row.shape, goal, f"{row.measured:.3g}", met[row.met])
    Console(width=160).print(table)
    record = {
        "benchmark": name,
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2),
        **more,
        "seconds": dict(seconds),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    options.records.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (options.records / f"{name}.json").write_text(text, encoding="utf-8")
