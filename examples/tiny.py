"""What the scripts beside this one share: a language model of two layers, and batches of repetitive text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import ava

VOCAB, EOS, WIDTH, LENGTH = 64, 0, 32, 24


class TinyLM(nn.Module):
    """Tokens ``[B, T]`` to logits ``[B, T, V]``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.GRU(WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(self.embedding(tokens))[0])
        return logits


def batch(seed: int, rows: int = 4) -> dict[str, Tensor]:
    """One batch: what the model reads, what it should say, and a mask, because rows end at different lengths."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCAB, (rows, LENGTH + 1), generator=rng)
    tokens[:, LENGTH // 2 :] = tokens[:, : LENGTH + 1 - LENGTH // 2].clone()
    mask = torch.arange(LENGTH) < torch.randint(LENGTH // 2, LENGTH + 1, (rows, 1), generator=rng)
    return {"input_ids": tokens[:, :-1], "targets": tokens[:, 1:].clone(), "attention_mask": mask.long()}


def windows(steps: int, accumulate: int, rank: int = 0) -> Iterator[list[dict[str, Tensor]]]:
    """The micro-batches of each optimizer step."""
    for step in range(steps):
        yield [batch(1000 * rank + accumulate * step + index) for index in range(accumulate)]


def options(description: str | None) -> argparse.Namespace:
    """The arguments that every script takes."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps")
    parser.add_argument("--preset", default="standard", help="a preset's name or a path")
    parser.add_argument("--compile", action="store_true", help="compile the loss, which takes half a minute")
    return parser.parse_args()


def make_loss(arguments: argparse.Namespace, **overrides: object) -> ava.Loss:
    """The loss of the arguments."""
    settings = {"compile.enabled": "auto" if arguments.compile else False, **overrides}
    return ava.Loss.load(arguments.preset, overrides=settings, vocab_size=VOCAB, eos_token_id=EOS)
