"""What the Python of a page takes for granted: a model, a batch, a loop's variables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

import ava

__all__ = ["NAMES"]

VOCAB = 64
MODEL = {"vocab_size": VOCAB, "eos_token_id": 0}


class _TinyModel(torch.nn.Module):
    """Tokens ``[B, T]`` to logits ``[B, T, V]``."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(VOCAB, 16)
        self.lm_head = torch.nn.Linear(16, VOCAB)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.lm_head(self.embed(tokens))


def _batch() -> dict[str, torch.Tensor]:
    tokens = torch.randint(1, VOCAB, (2, 12))
    return {"input_ids": tokens, "targets": torch.randint(1, VOCAB, (2, 12))}


def _loop() -> dict[str, Any]:
    model = _TinyModel()
    return {
        "ava": ava,
        "torch": torch,
        "model": model,
        "loss": ava.Loss.load("standard", **MODEL),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
        "loader": [[_batch(), _batch()]] * 2,
        "logits": torch.randn(2, 12, VOCAB, requires_grad=True),
        "targets": torch.randint(1, VOCAB, (2, 12)),
        "step": 0,
        "rate": 1e-3,
    }


class _Wrapped:
    """What a data-parallel wrapper of model and loss looks like to a loop."""

    def __init__(self, model: torch.nn.Module, loss: ava.Loss) -> None:
        self.model, self.loss = model, loss

    def no_sync(self) -> nullcontext[None]:
        return nullcontext()

    def __call__(self, batch: dict[str, torch.Tensor], items: torch.Tensor | float) -> torch.Tensor:
        return self.loss(self.model(batch["input_ids"]), batch["targets"], num_items=items)


def _distributed() -> dict[str, Any]:
    from ava.integrations.distributed import window_items

    names = _loop()
    # A loss whose terms look at one position alone, which a rank of context parallelism may hold a part of.
    names["loss"] = ava.Loss.load("fast_prototype", **MODEL)
    window = names["loader"][0]
    wrapped = _Wrapped(names["model"], names["loss"])
    return names | {"window": window, "wrapped": wrapped, "nullcontext": nullcontext, "window_items": window_items}


def _terms() -> dict[str, Any]:
    vocabulary, experts, width = 50257, 8, 768
    positions = (1, 6)
    return {
        "ava": ava,
        "logits": torch.randn(*positions, vocabulary),
        "targets": torch.randint(vocabulary, positions),
        "hidden_states": torch.randn(*positions, width),
        "gate_logits": torch.randn(*positions, experts),
        "expert_indices": torch.randint(experts, (*positions, 2)),
        "expert_outputs": torch.randn(experts, *positions, 16),
        "teacher_logits": torch.randn(*positions, vocabulary),
    }


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "training.md": _loop,
    "distributed.md": _distributed,
    "troubleshooting.md": _loop,
    "inspect.md": _loop,
    "terms/": _terms,
}
