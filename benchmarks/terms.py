"""What each term adds to a step, beside what the plan says it costs.

python benchmarks/terms.py [--rows 1024] [--vocab-size 50257] [--threads 2]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from benchmarks.harness import Row, interleaved, parser, report
from benchmarks.logits import TERMS, batch


def main() -> None:
    """Measure cross-entropy alone, with each logit term alone, and the preset `standard`."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1024)
    made.add_argument("--vocab-size", type=int, default=50257)
    options = made.parse_args()
    if options.quick:
        options.rows, options.vocab_size, options.rounds = 64, 1009, 3
    torch.set_num_threads(options.threads)
    logits, targets = batch(options.rows, options.vocab_size, torch.float32)
    model = {"vocab_size": options.vocab_size, "eos_token_id": options.vocab_size - 1}
    losses = {"cross-entropy": ava.Loss.load({"version": 1}, **model)}
    losses |= {name: ava.Loss.load({"version": 1, "terms": {name: {}}}, **model) for name in TERMS}
    losses["standard"] = ava.Loss.load("standard", **model)
    sides = {name: (lambda loss=loss: loss(logits, targets)) for name, loss in losses.items()}
    seconds = interleaved(sides, [logits], options.rounds)
    alone = seconds["cross-entropy"]
    shape = f"{options.rows} × {options.vocab_size}"
    rows = []
    for name in (*TERMS, "standard"):
        cost = losses[name].plan.cost
        planned = f"{name} (plan: {cost.columns} columns, {cost.saved_bytes} B, {cost.flops} flops a row)"
        rows.append(Row(f"{planned} ÷ cross-entropy", 1.1, seconds[name] / alone, shape))
    report("terms", rows, seconds, options)


if __name__ == "__main__":
    main()
