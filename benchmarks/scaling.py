"""Time and memory against the size of the vocabulary and against the number of rows: three sizes each.

    python benchmarks/scaling.py [--rows 512 1024 2048] [--vocab-sizes 8192 16384 32768] [--hidden-size 256]

While one is varied the other stays at its middle size. Time is the median of forward and backward of sides taken in
turns, in float32; memory is the peak of torch's own allocator events above the inputs, with their gradients in it. Each
engine runs with all logit terms, beside eager cross-entropy of the same tensors. A cost that grows linearly is four
times as large for four times the size; one with a part that does not grow is less. ``docs/performance/`` has the
pictures. With ``--quick`` nothing is compiled.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from ava.run.dry_run.instruments import peak_bytes
from benchmarks.harness import Row, Side, interleaved, once, parser, report
from benchmarks.linear import heads
from benchmarks.logits import CONFIG, batch

OURS = {"logits": "all terms, logits", "linear": "all terms, linear"}
UNITS = {"vocabulary": "column", "rows": "row"}
CPU = torch.device("cpu")


def point(rows: int, hidden_size: int, vocab_size: int, rounds: int, compiled: bool) -> dict[str, dict[str, float]]:
    """Return seconds and bytes of every side at one size."""
    overrides = {} if compiled else {"compile.enabled": False}
    loss = ava.Loss.load(CONFIG, overrides=overrides, vocab_size=vocab_size, eos_token_id=vocab_size - 1)
    found: dict[str, dict[str, float]] = {}

    def take(sides: dict[str, Side], leaves: list[torch.Tensor]) -> None:
        seconds = interleaved(sides, leaves, rounds)
        for name, side in sides.items():
            for leaf in leaves:
                leaf.grad = None
            peak = peak_bytes(lambda side=side: once(side, leaves), CPU)
            found[name] = {"seconds": seconds[name], "bytes": peak}

    logits, targets = batch(rows, vocab_size, torch.float32)
    take(
        {
            OURS["logits"]: lambda: loss(logits, targets),
            "eager cross_entropy": lambda: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        },
        [logits],
    )
    hidden, weight, goals = heads(rows, hidden_size, vocab_size)
    options = torch.nn.LinearCrossEntropyOptions()
    take(
        {
            OURS["linear"]: lambda: loss(hidden_states=hidden, lm_head=weight, targets=goals),
            "linear + cross_entropy": lambda: F.cross_entropy(F.linear(hidden.flatten(0, 1), weight), goals.flatten()),
            "F.linear_cross_entropy": lambda: F.linear_cross_entropy(
                hidden.flatten(0, 1), weight, goals.flatten(), options=options
            ),
        },
        [hidden, weight],
    )
    return found


def growth(points: list[dict[str, Any]], side: str, figure: str) -> float:
    """Return how much a figure grew from the first to the last point, as a part of how much the size did."""
    first, last = points[0], points[-1]
    return last["sides"][side][figure] / first["sides"][side][figure] / (last["size"] / first["size"])


def main() -> None:
    """Measure, print and record."""
    made = parser(__doc__, rounds=7)
    made.add_argument("--rows", type=int, nargs=3, default=(512, 1024, 2048))
    made.add_argument("--vocab-sizes", type=int, nargs=3, default=(8192, 16384, 32768))
    made.add_argument("--hidden-size", type=int, default=256)
    options = made.parse_args()
    if options.quick:
        options.rows, options.vocab_sizes, options.hidden_size, options.rounds = (64, 128, 256), (256, 512, 1024), 16, 2
    torch.set_num_threads(options.threads)
    rows, sizes, hidden = options.rows, options.vocab_sizes, options.hidden_size
    wanted = [*((rows[1], size) for size in sizes), (rows[0], sizes[1]), (rows[2], sizes[1])]
    at = {(n, v): point(n, hidden, v, options.rounds, compiled=not options.quick) for n, v in wanted}
    series = {
        "vocabulary": [{"size": size, "sides": at[rows[1], size]} for size in sizes],
        "rows": [{"size": count, "sides": at[count, sizes[1]]} for count in rows],
    }
    fixed = {"vocabulary": f"{rows[1]} rows", "rows": f"{sizes[1]} columns"}
    table = [
        Row(
            f"{side}: {what} per {UNITS[name]}, at {points[-1]['size']} ÷ at {points[0]['size']}",
            1.1,
            growth(points, side, figure),
            fixed[name],
        )
        for name, points in series.items()
        for side in OURS.values()
        for what, figure in (("time", "seconds"), ("memory", "bytes"))
    ]
    report("scaling", table, {}, options, hidden_size=hidden, fixed=fixed, series=series)


if __name__ == "__main__":
    main()
