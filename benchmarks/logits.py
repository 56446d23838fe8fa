"""The logits engine against eager cross-entropy, against itself with bare cross-entropy, and against the same terms
composed naively under ``torch.compile``.

    python benchmarks/logits.py [--rows 1024] [--vocab-size 50257] [--threads 2]

The naive composition is the one that the tests compare with (``tests/reference/naive.py``), in its kindest form: one
``log_softmax`` for all terms. Its integer preparation is done beforehand and is not timed; ours is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from benchmarks.harness import Row, interleaved, report
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


def batch(rows: int, vocab_size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits ``[B, T, V]`` and targets with some repetition, as text has."""
    torch.manual_seed(0)
    shape = (max(1, rows // 256), min(rows, 256))
    logits = (torch.randn(*shape, vocab_size) * 3).to(dtype).requires_grad_()
    targets = torch.randint(vocab_size, shape)
    targets[:, ::5] = 7
    targets[:, 40:60] = targets[:, 20:40]
    return logits, targets


def measure(rows: int, vocab_size: int, dtype: torch.dtype) -> dict[str, float]:
    """Return the median seconds of each side, after checking that their answers agree."""
    logits, targets = batch(rows, vocab_size, dtype)
    eos = vocab_size - 1
    primary = {"type": "deepseek", "label_smoothing": SMOOTHING, "temperature": {"initial": TAU}}
    config = {"version": 1, "primary": primary, "terms": {name: {} for name in TERMS}}
    all_terms = ava.Loss.load(config, vocab_size=vocab_size, eos_token_id=eos)
    bare = ava.Loss.load({"version": 1}, vocab_size=vocab_size)
    at = naive.indices(positions(targets, eos_token_id=eos), eos_token_id=eos)
    tau = torch.tensor(TAU)
    composed = torch.compile(
        lambda x: naive.shared_total(x.flatten(0, 1), at, tau=tau, label_smoothing=SMOOTHING), fullgraph=True
    )

    sides = {
        "eager cross_entropy": lambda: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        "all terms": lambda: all_terms(logits, targets),
        "bare cross-entropy": lambda: bare(logits, targets),
        "naive, compiled": lambda: composed(logits),
    }
    agree(sides["all terms"], sides["naive, compiled"], logits)
    agree(sides["bare cross-entropy"], sides["eager cross_entropy"], logits)
    return interleaved(sides, [logits])


def agree(ours: object, theirs: object, logits: torch.Tensor) -> None:
    """Stop unless both sides give the same loss and gradient: a wrong fast answer does not count."""
    answers = []
    for side in (ours, theirs):
        logits.grad = None
        loss = side()  # type: ignore[operator]
        loss.backward()
        answers.append((loss.detach().float(), logits.grad))
    (loss, gradient), (expected, naive_gradient) = answers
    loose = 1e-5 if logits.dtype == torch.float32 else 2e-2
    torch.testing.assert_close(loss, expected, rtol=loose, atol=0)
    assert gradient is not None
    assert naive_gradient is not None
    error = (gradient.float() - naive_gradient.float()).norm() / naive_gradient.float().norm()
    assert error < (1e-4 if logits.dtype == torch.float32 else 2e-2), f"gradients differ by {error:.1e}"


def main() -> None:
    """Measure both dtypes, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--vocab-size", type=int, default=50257)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = f"{options.rows} × {options.vocab_size}"
    rows, seconds = [], {}
    for dtype, goal in ((torch.float32, 0.6), (torch.bfloat16, 1.0)):
        name = str(dtype).removeprefix("torch.")
        times = measure(options.rows, options.vocab_size, dtype)
        seconds.update({f"{side}, {name}": value for side, value in times.items()})
        ours = times["all terms"]
        rows += [
            Row(f"all logit terms ÷ eager F.cross_entropy, {name}", goal, ours / times["eager cross_entropy"], shape),
            Row(f"all logit terms ÷ bare cross-entropy here, {name}", 1.1, ours / times["bare cross-entropy"], shape),
            Row(f"all logit terms ÷ naive, compiled, {name}", 0.3, ours / times["naive, compiled"], shape),
        ]
    report("logits", rows, seconds)


if __name__ == "__main__":
    main()
