"""The loss taken apart: the value and the gradient of each term by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ava.plan.explain_term import MAIN
from ava.run.dry_run.report import Parts, TermFigures
from ava.run.loss import Loss

__all__ = ["Inputs", "decompose", "leaves_of"]

Inputs = Mapping[str, Any]
"""Arguments of a call: tensors, or lists of them."""

_LOUD = 2.0**16
"""Weight at which a term is measured: its gradient then stands far above the rounding of the main loss's."""


def decompose(loss: Loss, tensors: Inputs, weights: dict[str, float], tell: Callable[[str], None]) -> Parts:
    """Return each term's value and gradient, at the weights given.

    Runs uncompiled in float32 or better, without touching the loss's state. The total is linear in the weights, so a
    term's gradient is the difference between that of a total with the term and one without any.

    Args:
        loss: an uncompiled loss with ``balancing: fixed``; its weights are changed.
        tensors: the arguments of the call.
        weights: the weight of each term, by name, that ``weighted`` and the gradients are for.
        tell: called with each term's name before it is measured.
    """
    inputs = {
        name: [_precise(part) for part in value] if isinstance(value, list) else _precise(value)
        for name, value in tensors.items()
    }
    leaves = leaves_of(inputs)
    was_training = loss.training
    loss.eval()
    names = [planned.name for planned in loss.plan.terms]

    def gradient(index: int | None, weight: float = 0.0) -> list[Tensor]:
        loss._schedules[:, :2] = 0.0
        if index is not None:
            loss._schedules[index, :2] = weight
        total = loss(**inputs)
        grads = torch.autograd.grad(total, leaves, allow_unused=True)
        return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)]

    try:
        loss._schedules[:, :2] = 0.0
        with torch.no_grad():
            out = loss(**inputs, return_detailed=True)
        raw = {MAIN: out[MAIN].item()}
        raw |= {name: out[f"raw/{name}"].item() for name in names if f"raw/{name}" in out}
        tell(MAIN)
        main = gradient(None)
        gradients = {MAIN: main}
        for index, name in enumerate(names):
            if name in raw:
                tell(name)
                loud = gradient(index, _LOUD)
                gradients[name] = [(a - b) / _LOUD for a, b in zip(loud, main, strict=True)]
    finally:
        loss.train(was_training)
    return _figures(raw, gradients, {MAIN: 1.0, **weights})


def leaves_of(inputs: Inputs) -> list[Tensor]:
    """Return the tensors of a call that want a gradient."""
    parts = (part for value in inputs.values() for part in (value if isinstance(value, list) else [value]))
    return [part for part in parts if part.requires_grad]


def _precise(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    copy = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))
    return copy.clone().requires_grad_(tensor.requires_grad)


def _figures(raw: dict[str, float], gradients: dict[str, list[Tensor]], weights: dict[str, float]) -> Parts:
    norms = {name: _dot(grad, grad) ** 0.5 for name, grad in gradients.items()}
    cosines = {name: dict[str, float]() for name in raw}
    names = list(raw)
    for index, name in enumerate(names):
        for other in names[:index]:
            product = norms[name] * norms[other]
            cosine = _dot(gradients[name], gradients[other]) / product if product else 0.0
            cosines[name][other] = cosines[other][name] = max(-1.0, min(1.0, cosine)) if cosine == cosine else cosine
    weighted = {name: weights[name] * raw[name] for name in names}
    sizes = {name: weights[name] * norms[name] for name in names}
    total, all_sizes = sum(weighted.values()), sum(sizes.values())
    terms = {
        name: TermFigures(
            raw=raw[name],
            weight=weights[name],
            weighted=weighted[name],
            contribution=weighted[name] / total if total else 0.0,
            gradient_norm=sizes[name],
            gradient_share=sizes[name] / all_sizes if all_sizes else 0.0,
            cosine_to_main=1.0 if name == MAIN else cosines[name][MAIN],
        )
        for name in names
    }
    return Parts(terms, {name: {other: cosines[name][other] for other in names if other != name} for name in names})


def _dot(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the inner product, summed in float64 piece by piece."""
    return sum(
        torch.dot(a.flatten()[at : at + _PIECE].double(), b.flatten()[at : at + _PIECE].double()).item()
        for a, b in zip(one, other, strict=True)
        for at in range(0, a.numel(), _PIECE)
    )


_PIECE = 1 << 24
