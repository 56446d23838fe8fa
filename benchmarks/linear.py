"""The linear engine against ``F.linear_cross_entropy`` and against a compiled ``linear`` + ``cross_entropy``.

    python benchmarks/linear.py [--rows 2048] [--hidden-size 768] [--vocab-size 50257] [--rounds 7] [--threads 2]

Our side computes all logit terms, theirs bare cross-entropy. All of them take the gradients of the hidden states and of
the head's weight. ``F.linear_cross_entropy`` runs without its options (the whole logits) and with several of them: its
own choice, the chunk sizes of its heuristics, and the chunk of this package. The first row counts against the fastest
of the chunked ones. Before anything is timed, loss and gradients of all terms are compared with the naive composition
on whole logits, and those of every cross-entropy with the plain one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from ava.plan.chunks import chunk_rows
from benchmarks.harness import Row, Side, agree, interleaved, parser, report
from benchmarks.logits import CONFIG, SMOOTHING, TAU, tokens
from tests.reference import naive
from tests.reference.positions import positions

CHUNKED = "F.linear_cross_entropy, "


def heads(rows: int, hidden_size: int, vocab_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return hidden states ``[B, T, H]``, a head ``[V, H]`` and targets ``[B, T]``; the logits have deviation 3."""
    torch.manual_seed(0)
    targets = tokens(rows, vocab_size)
    hidden = torch.randn(*targets.shape, hidden_size, requires_grad=True)
    weight = (torch.randn(vocab_size, hidden_size) * 3 / hidden_size**0.5).requires_grad_()
    return hidden, weight, targets


def chunked(rows: int, vocab_size: int) -> dict[str, torch.nn.LinearCrossEntropyOptions]:
    """Return the options of ``F.linear_cross_entropy`` to try, by name."""
    options = torch.nn.LinearCrossEntropyOptions
    size = chunk_rows("auto", rows, vocab_size, 4)
    return {
        "its defaults": options(),
        "accurate, aspect_ratio": options(acc_policy="accurate", chunking_method="aspect_ratio"),
        "compact, aspect_ratio:2": options(acc_policy="compact", chunking_method="aspect_ratio:2"),
        f"compact, chunks of {size}": options(acc_policy="compact", batch_chunk_size=size),
    }


def sides(rows: int, hidden_size: int, vocab_size: int) -> tuple[dict[str, Side], list[torch.Tensor]]:
    """Return what to time and the tensors whose gradients it takes, after checking that the answers agree."""
    hidden, weight, targets = heads(rows, hidden_size, vocab_size)
    leaves, eos = [hidden, weight], vocab_size - 1
    all_terms = ava.Loss.load(CONFIG, vocab_size=vocab_size, eos_token_id=eos)
    bare = ava.Loss.load({"version": 1}, vocab_size=vocab_size)
    at = naive.indices(positions(targets, eos_token_id=eos), eos_token_id=eos)

    def plain() -> torch.Tensor:
        return F.cross_entropy(F.linear(hidden.flatten(0, 1), weight), targets.flatten())

    def composed() -> torch.Tensor:
        logits = naive.head_logits(hidden.flatten(0, 1), weight)
        return naive.shared_total(logits, at, tau=TAU, label_smoothing=SMOOTHING)

    def library(options: torch.nn.LinearCrossEntropyOptions | None) -> Side:
        return lambda: F.linear_cross_entropy(hidden.flatten(0, 1), weight, targets.flatten(), options=options)

    made: dict[str, Side] = {
        "all terms": lambda: all_terms(hidden_states=hidden, lm_head=weight, targets=targets),
        "bare cross-entropy": lambda: bare(hidden_states=hidden, lm_head=weight, targets=targets),
        "linear + cross_entropy": plain,
        "linear + cross_entropy, compiled": torch.compile(plain, fullgraph=True),
        f"{CHUNKED}whole": library(None),
        **{f"{CHUNKED}{name}": library(options) for name, options in chunked(rows, vocab_size).items()},
    }
    agree(made["all terms"], composed, leaves)
    for name, side in made.items():
        if name not in ("all terms", "linear + cross_entropy"):
            agree(side, plain, leaves)
    return made, leaves


def main() -> None:
    """Measure, print and record."""
    made = parser(__doc__, rounds=7)
    made.add_argument("--rows", type=int, default=2048)
    made.add_argument("--hidden-size", type=int, default=768)
    made.add_argument("--vocab-size", type=int, default=50257)
    options = made.parse_args()
    if options.quick:
        options.rows, options.hidden_size, options.vocab_size, options.rounds = 256, 32, 1009, 3
    torch.set_num_threads(options.threads)
    seconds = interleaved(*sides(options.rows, options.hidden_size, options.vocab_size), options.rounds)
    shape = f"{options.rows} × {options.hidden_size} × {options.vocab_size}"
    ours, compiled = seconds["all terms"], "linear + cross_entropy, compiled"
    best = min(
        (name for name in seconds if name.startswith(CHUNKED) and not name.endswith("whole")), key=seconds.__getitem__
    )
    rows = [
        Row("all terms, fused ÷ fastest chunked F.linear_cross_entropy", 0.5, ours / seconds[best], shape),
        Row("all terms, fused ÷ linear + cross_entropy, compiled", 0.55, ours / seconds[compiled], shape),
        Row("all terms, fused ÷ bare cross-entropy, fused", None, ours / seconds["bare cross-entropy"], shape),
        *(
            Row(f"all terms, fused ÷ {name}", None, ours / value, shape)
            for name, value in seconds.items()
            if name not in ("all terms", "bare cross-entropy", compiled)
        ),
    ]
    report("linear", rows, seconds, options, fastest=best)


if __name__ == "__main__":
    main()
