"""The two rows that need a GPU, and their peers; prints that it needs one and ends well where there is none.

    python benchmarks/gpu.py [--rounds 11]

Logits, bfloat16, 8192 × 128256: forward and backward of all logit terms, against the time to move 6 bytes a logit (read
twice, written once, 2 bytes each) at the rate that a copy of a tensor of that size reaches here, and against
``torch.compile`` of ``F.cross_entropy`` alone, which must be slower.

Head, bfloat16, 8192 × 4096 × 128256: the linear engine with all logit terms and the gradients of the hidden states and
of the weight, against three products of matrices of that size (logits, ``dh``, ``dW``), which is the least it can do.

Liger's kernels are timed beside them where they are installed. Times are medians of rounds taken in turns, with the
device waited for on both sides of the clock. Losses and gradients are compared before: cross-entropy of each peer with
eager ``F.cross_entropy``, and all terms with the naive composition, on the first 512 rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from benchmarks.harness import Row, Side, agree, interleaved, parser, report, timed
from benchmarks.logits import CONFIG, SMOOTHING, TAU, tokens
from tests.reference import naive
from tests.reference.positions import positions

LOGITS = (8192, 128256)
HEAD = (8192, 4096, 128256)
COMPARED = 512
BYTES = 6  # a bfloat16 logit is read by the forward pass, and read and written by the backward pass
Sides = dict[str, Side]


def terms(vocab_size: int) -> ava.Loss:
    """Return the loss with all logit terms, on the GPU."""
    return ava.Loss.load(CONFIG, vocab_size=vocab_size, eos_token_id=vocab_size - 1).cuda()


def composed(logits_of: Callable[[], torch.Tensor], targets: torch.Tensor, vocab_size: int) -> Side:
    """Return the naive composition of all terms."""
    eos = vocab_size - 1
    at = naive.indices(positions(targets.cpu(), eos_token_id=eos), eos_token_id=eos).to("cuda")
    return lambda: naive.shared_total(logits_of().flatten(0, 1), at, tau=TAU, label_smoothing=SMOOTHING)


def logits_sides(rows: int, vocab_size: int, loss: ava.Loss) -> tuple[Sides, list[torch.Tensor], torch.Tensor]:
    """Return what is timed on logits, the leaves, and the targets ``[B, T]``."""
    torch.manual_seed(0)
    targets = tokens(rows, vocab_size).cuda()
    logits = torch.randn(*targets.shape, vocab_size, dtype=torch.bfloat16, device="cuda").mul_(3).requires_grad_()

    def eager() -> torch.Tensor:
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    sides: Sides = {
        "all terms": lambda: loss(logits, targets),
        "eager F.cross_entropy": eager,
        "compiled F.cross_entropy": torch.compile(eager, fullgraph=True),
    }
    if find_spec("liger_kernel") is not None:
        from liger_kernel.transformers import LigerCrossEntropyLoss

        peer = LigerCrossEntropyLoss()

        def liger() -> torch.Tensor:
            # it writes its gradient over what it is given, so a copy goes in
            return peer(logits.flatten(0, 1).clone(), targets.flatten())

        sides["Liger's cross-entropy, and a copy of the logits"] = liger
    return sides, [logits], targets


def linear_sides(
    rows: int, hidden_size: int, vocab_size: int, loss: ava.Loss
) -> tuple[Sides, list[torch.Tensor], torch.Tensor]:
    """Return what is timed on hidden states and a head, the leaves, and the targets ``[B, T]``."""
    torch.manual_seed(0)
    targets = tokens(rows, vocab_size).cuda()
    hidden = torch.randn(*targets.shape, hidden_size, dtype=torch.bfloat16, device="cuda").requires_grad_()
    weight = torch.randn(vocab_size, hidden_size, dtype=torch.bfloat16, device="cuda").mul_(3 / hidden_size**0.5)
    weight.requires_grad_()
    options = torch.nn.LinearCrossEntropyOptions()

    def plain() -> torch.Tensor:
        return F.cross_entropy(F.linear(hidden.flatten(0, 1), weight), targets.flatten())

    sides: Sides = {
        "all terms": lambda: loss(hidden_states=hidden, lm_head=weight, targets=targets),
        "linear + cross_entropy": plain,
        "linear + cross_entropy, compiled": torch.compile(plain, fullgraph=True),
        "F.linear_cross_entropy, its defaults": lambda: F.linear_cross_entropy(
            hidden.flatten(0, 1), weight, targets.flatten(), options=options
        ),
    }
    if find_spec("liger_kernel") is not None:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        peer = LigerFusedLinearCrossEntropyLoss()

        def liger() -> torch.Tensor:
            return peer(weight, hidden.flatten(0, 1), targets.flatten())

        sides["Liger's fused linear cross-entropy"] = liger
    return sides, [hidden, weight], targets


def check(sides: Sides, leaves: list[torch.Tensor], reference: str, naively: Side) -> None:
    """Stop unless the answers agree."""
    agree(sides["all terms"], naively, leaves)
    for name, side in sides.items():
        if name not in ("all terms", reference):
            agree(side, sides[reference], leaves)


def on_logits(rounds: int) -> tuple[list[Row], dict[str, float]]:
    """Return the rows of the logits engine, and the seconds."""
    rows, vocab_size = LOGITS
    loss = terms(vocab_size)
    sides, leaves, targets = logits_sides(COMPARED, vocab_size, loss)
    check(sides, leaves, "eager F.cross_entropy", composed(lambda: leaves[0], targets, vocab_size))
    sides, leaves, _ = logits_sides(rows, vocab_size, loss)
    seconds = interleaved(sides, leaves, rounds)
    leaves[0].grad = None
    source = leaves[0].detach()
    target = torch.empty_like(source)
    copy = timed(lambda: target.copy_(source), rounds)
    rate = 2 * source.nbytes / copy  # read and written
    least = BYTES * source.numel() / rate
    seconds |= {"copy of the logits": copy, f"{BYTES} bytes a logit at that rate": least}
    shape, ours = f"{rows} × {vocab_size}", seconds["all terms"]
    peers = [name for name in sides if name not in ("all terms", "compiled F.cross_entropy")]
    return [
        Row(f"all terms, bfloat16 ÷ {BYTES} bytes a logit at the copy rate", 1.3, ours / least, shape),
        Row("all terms, bfloat16 ÷ compiled F.cross_entropy", 1.0, ours / seconds["compiled F.cross_entropy"], shape),
        *(Row(f"all terms, bfloat16 ÷ {name}", None, ours / seconds[name], shape) for name in peers),
    ], seconds


def on_head(rounds: int) -> tuple[list[Row], dict[str, float]]:
    """Return the rows of the linear engine, and the seconds."""
    rows, hidden_size, vocab_size = HEAD
    loss = terms(vocab_size)
    sides, leaves, targets = linear_sides(COMPARED, hidden_size, vocab_size, loss)
    naively = composed(lambda: F.linear(leaves[0], leaves[1]), targets, vocab_size)
    check(sides, leaves, "linear + cross_entropy", naively)
    sides, leaves, _ = linear_sides(rows, hidden_size, vocab_size, loss)
    seconds = interleaved(sides, leaves, rounds)
    for leaf in leaves:
        leaf.grad = None
    hidden, weight = leaves[0].detach().flatten(0, 1), leaves[1].detach()
    logits = hidden @ weight.T
    products = timed(lambda: (hidden @ weight.T, logits @ weight, logits.T @ hidden), rounds)
    seconds["three products of matrices"] = products
    shape, ours = " × ".join(map(str, HEAD)), seconds["all terms"]
    return [
        Row("all terms, fused, bfloat16 ÷ three products of matrices", 1.25, ours / products, shape),
        *(
            Row(f"all terms, fused, bfloat16 ÷ {name}", None, ours / seconds[name], shape)
            for name in sides
            if name != "all terms"
        ),
    ], seconds


def main(arguments: list[str] | None = None) -> None:
    """Measure both, print and record."""
    made: argparse.ArgumentParser = parser(__doc__)
    options = made.parse_args(arguments)
    if not torch.cuda.is_available():
        print("gpu: needs a GPU, and torch finds none here; nothing was measured")
        return
    if options.quick:
        global LOGITS, HEAD
        LOGITS, HEAD, options.rounds = (1024, 4096), (1024, 256, 4096), 3
    rows, seconds = on_logits(options.rounds)
    torch.cuda.empty_cache()
    more, others = on_head(options.rounds)
    seconds |= {f"head: {name}": value for name, value in others.items()}
    report("gpu", [*rows, *more], seconds, options, device=torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
