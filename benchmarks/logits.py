"""The logits engine against eager cross-entropy, against itself with bare cross-entropy, and against the same terms
composed naively under ``torch.compile``.

    python benchmarks/logits.py [--rows 1024] [--vocab-size 50257] [--rounds 11] [--threads 2]

The naive composition is the one that the tests compare with (``tests/reference/naive.py``), in its kindest form: one
``log_softmax`` for all terms. Its integer preparation is done beforehand and is not timed; ours is.

All terms run in turns with one other side at a time, A B A B: in a circle of four, each side would always come after
the same one, and what comes after eager cross-entropy, which frees several times the logits, takes 1 to 4 ms longer.
The two that are nearest to each other, and quickest, take five times the rounds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from benchmarks.harness import Row, agree, interleaved, parser, report
from tests.reference import naive
from tests.reference.positions import positions

TERMS = (
    "focal_loss",
    "z_loss",
    "token_diversity_loss",
    "immediate_repetition_penalty",
    "ngram_penalty",
    "eos_penalty",
)
TAU, SMOOTHING = 1.1, 0.1
CONFIG = {
    "version": 1,
    "primary": {"type": "deepseek", "label_smoothing": SMOOTHING, "temperature": {"initial": TAU}},
    "terms": {name: {} for name in TERMS},
}
"""All logit terms, with smoothing and a temperature."""


def tokens(rows: int, vocab_size: int) -> torch.Tensor:
    """Return targets ``[B, T]`` with some repetition, as text has; ``rows`` is a multiple of 256, or below it."""
    shape = (max(1, rows // 256), min(rows, 256))
    targets = torch.randint(vocab_size, shape)
    targets[:, ::5] = 7
    half = targets.shape[1] // 2
    span = min(20, half)
    targets[:, half : half + span] = targets[:, half - span : half].clone()
    return targets


def batch(rows: int, vocab_size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits ``[B, T, V]`` and targets."""
    torch.manual_seed(0)
    targets = tokens(rows, vocab_size)
    return (torch.randn(*targets.shape, vocab_size) * 3).to(dtype).requires_grad_(), targets


OURS, BARE = "all terms", "bare cross-entropy"
OTHERS = {
    "eager cross_entropy": ("eager F.cross_entropy", (0.6, 1.0)),
    BARE: ("bare cross-entropy here", (1.1, 1.1)),
    "naive, compiled": ("naive, compiled", (0.3, 0.3)),
}
"""What all terms are compared with: its name in the table, and the goals in float32 and bfloat16."""


def measure(rows: int, vocab_size: int, dtype: torch.dtype, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of both sides of each comparison, after checking that their answers agree."""
    logits, targets = batch(rows, vocab_size, dtype)
    eos = vocab_size - 1
    all_terms = ava.Loss.load(CONFIG, vocab_size=vocab_size, eos_token_id=eos)
    bare = ava.Loss.load({"version": 1}, vocab_size=vocab_size)
    at = naive.indices(positions(targets, eos_token_id=eos), eos_token_id=eos)
    tau = torch.tensor(TAU)
    composed = torch.compile(
        lambda x: naive.shared_total(x.flatten(0, 1), at, tau=tau, label_smoothing=SMOOTHING), fullgraph=True
    )

    sides = {
        "eager cross_entropy": lambda: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        OURS: lambda: all_terms(logits, targets),
        BARE: lambda: bare(logits, targets),
        "naive, compiled": lambda: composed(logits),
    }
    agree(sides[OURS], sides["naive, compiled"], [logits])
    agree(sides[BARE], sides["eager cross_entropy"], [logits])
    return {
        other: interleaved({OURS: sides[OURS], other: sides[other]}, [logits], rounds * (5 if other == BARE else 1))
        for other in OTHERS
    }


def main() -> None:
    """Measure both dtypes, print and record."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1024)
    made.add_argument("--vocab-size", type=int, default=50257)
    options = made.parse_args()
    if options.quick:
        options.rows, options.vocab_size, options.rounds = 64, 1009, 3
    torch.set_num_threads(options.threads)
    shape = f"{options.rows} × {options.vocab_size}"
    rows, seconds = [], {}
    for at, dtype in enumerate((torch.float32, torch.bfloat16)):
        name = str(dtype).removeprefix("torch.")
        found = measure(options.rows, options.vocab_size, dtype, options.rounds)
        for other, times in found.items():
            label, goals = OTHERS[other]
            rows.append(Row(f"all logit terms ÷ {label}, {name}", goals[at], times[OURS] / times[other], shape))
            seconds[f"{other}, {name}"] = times[other]
            seconds[f"all terms beside {other}, {name}"] = times[OURS]
    report("logits", rows, seconds, options)


if __name__ == "__main__":
    main()
