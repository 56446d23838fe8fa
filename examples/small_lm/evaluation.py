"""What the model learned, in units that no loss setting changes, and how much its own text repeats itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import END, Batch
from .model import Output


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Without gradients, and in `eval()`, where a loss leaves its state alone."""
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in modules:
            module.train()


def held_out(model: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
    """Unsmoothed cross-entropy at temperature 1, in nats a token and in bits a byte, and accuracy."""
    nats = hits = text = tokens = 0.0
    with evaluating(model):
        for batch in batches:
            logits, targets = (model(batch.inputs).logits.flatten(0, 1).float(), batch.targets.flatten())
            nats += F.cross_entropy(logits, targets, reduction="sum").item()
            hits += (logits.argmax(-1) == targets).sum().item()
            text += (targets != END).sum().item()
            tokens += targets.numel()
    return {"nats": nats / tokens, "bits_per_byte": nats / math.log(2) / text, "accuracy": hits / tokens}


def by_the_loss(
    model: nn.Module,
    loss_fn: nn.Module,
    call: Callable[[Output, Batch], Mapping[str, Tensor]],
    batches: Sequence[Batch],
) -> dict[str, float]:
    """Every term of the loss before its weight, and the cross-entropy at its temperature: means over equal batches.

    A model trained at a temperature above 1 makes its logits that much steeper, and looks too sure of itself at 1.
    """
    sums: dict[str, float] = {}
    with evaluating(model, loss_fn):
        for batch in batches:
            detail = call(model(batch.inputs), batch)
            raw = {name: value for name, value in detail.items() if name.startswith("raw/")}
            for name, value in {"nats_at_temperature": detail["metrics/perplexity"].log(), **raw}.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(batches)
    return sums


def greedy(model: nn.Module, prompts: Tensor, count: int, context: int) -> Tensor:
    """The most likely continuation `[B, count]` of prompts `[B, P]`, seen through the last `context` tokens."""
    tokens = prompts
    with evaluating(model):
        for _ in range(count):
            likeliest = model(tokens[:, -context:]).logits[:, -1].argmax(-1)
            tokens = torch.cat((tokens, likeliest[:, None]), dim=1)
    return tokens[:, prompts.shape[1] :]


def distinct(row: Sequence[int], n: int) -> float:
    """Share of a text's n-grams that are different from each other (Li et al., 2016)."""
    grams = list(zip(*(row[start:] for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def repetition(rows: Tensor) -> dict[str, float]:
    """rep-4, the share of 4-grams that occurred before in their row (Welleck et al., 2020), and distinct-2."""
    texts = rows.tolist()
    return {
        "rep_4": sum(1 - distinct(text, 4) for text in texts) / len(texts),
        "distinct_2": sum(distinct(text, 2) for text in texts) / len(texts),
    }


def readable(tokens: Tensor) -> str:
    """Bytes as text, an end-of-document token as `␃`."""
    return "".join(
        "␃" if token == END else chr(token) if 32 <= token < 127 or token == 10 else "·" for token in tokens.tolist()
    )
