"""Logits whose probabilities are known, so that what a term says of them can be worked out on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ava import Loss
from ava.run.output import LossOutput
from ava.terms.base import Term

LOG2 = math.log(2)


def make(
    terms: dict[str, dict[str, Any]], *, primary: dict[str, Any] | None = None, shift: bool = False, **model: Any
) -> Loss:
    """Build an uncompiled loss; terms weigh 1 unless they say otherwise."""
    config = {
        "version": 1,
        "primary": primary or {},
        "targets": {"shift": shift},
        "terms": {name: {"weight": 1.0, **settings} for name, settings in terms.items()},
    }
    return Loss.load(config, overrides={"compile.enabled": False}, **model)


def term(name: str, **settings: Any) -> Term:
    """Return the term as the configuration holds it."""
    return make({name: settings}, **({"eos_token_id": 0} if name == "eos_penalty" else {})).config.enabled[0]


def logs(*rows: Sequence[float], batch: int = 1) -> Tensor:
    """Return logits ``[batch, T, V]`` that are the logarithms of these probabilities: their log-partition is 0."""
    table = torch.tensor(rows, dtype=torch.float64).log()
    return table.view(batch, -1, table.shape[1]).requires_grad_()


def flat(length: int, vocab_size: int) -> Tensor:
    """Return logits ``[1, T, V]`` of a model that prefers nothing."""
    return torch.zeros(1, length, vocab_size, dtype=torch.float64, requires_grad=True)


def row(*tokens: int) -> Tensor:
    """Return token ids ``[1, T]``."""
    return torch.tensor([tokens])


def reals(values: Any) -> Tensor:
    """Return a float64 leaf that wants a gradient."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def answer(loss: Loss, logits: Tensor, targets: Tensor, **inputs: Any) -> LossOutput:
    """Return every value of a call."""
    return loss(logits, targets, return_detailed=True, **inputs)


def raw(loss: Loss, logits: Tensor, targets: Tensor, **inputs: Any) -> float:
    """Return the unweighted value of the loss's one term."""
    (planned,) = loss.plan.terms
    return float(answer(loss, logits, targets, **inputs)[f"raw/{planned.name}"])


def slope(loss: Loss, wrt: Tensor, logits: Tensor, targets: Tensor, **inputs: Any) -> Tensor:
    """Return the gradient of the terms alone: that of the total without that of the main loss."""
    bare = Loss(loss.config.model_copy(update={"terms": type(loss.config.terms)()}))

    def gradient(of: Loss, **more: Any) -> Tensor:
        (found,) = torch.autograd.grad(of(logits, targets, **more), wrt, allow_unused=True)
        return torch.zeros_like(wrt) if found is None else found

    shared = {name: inputs[name] for name in ("attention_mask", "num_items") if name in inputs}
    return gradient(loss, **inputs) - gradient(bare, **shared)


def close(actual: Tensor, expected: Any, rtol: float = 1e-9) -> None:
    """Compare a tensor with numbers written out."""
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected, dtype=actual.dtype), rtol=rtol, atol=1e-12)
