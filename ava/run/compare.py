"""Two losses on the same synthetic tensors: what a change of the configuration does to each term and the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ava.config import Config
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.plan.explain_term import MAIN
from ava.run.dry_run.fill import fill
from ava.run.dry_run.scenarios import Scenario, draw
from ava.run.loss import Loss
from ava.terms.base import Schedule

__all__ = ["Numeric", "Run", "compare", "run_one"]

_LAYOUT = ("input_ids", "attention_mask", "segment_ids")  # belong to the targets of their own batch
_SIZES = ("vocab_size", "padded_vocab_size", "hidden_size", "num_experts")


@dataclass(frozen=True)
class Run:
    """One loss on one batch: the total, each term as ``(raw, weighted)``, and the norm of the gradient."""

    total: float
    terms: dict[str, tuple[float, float]]
    gradient_norm: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what is not finite becomes None."""
        return {
            "total": _plain(self.total),
            "gradient_norm": _plain(self.gradient_norm),
            "terms": {
                name: {"raw": _plain(raw), "weighted": _plain(weighted)} for name, (raw, weighted) in self.terms.items()
            },
        }


@dataclass(frozen=True)
class Numeric:
    """Both losses on the same batch.

    Attributes:
        cosine: between the two gradients with respect to every input; 0 where one is zero.
        difference: norm of the difference of the gradients.
        notes: what was filled in or moved so that both run, a sentence each.
    """

    before: Run
    after: Run
    cosine: float
    difference: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "gradient_cosine": _plain(self.cosine),
            "gradient_difference": _plain(self.difference),
            "notes": list(self.notes),
        }


def compare(
    before: Config,
    after: Config,
    *,
    scenario: Scenario = Scenario.RANDOM,
    batch: int = 4,
    length: int = 128,
    vocab_size: int | None = None,
    dtype: str = "float32",
    seed: int = 0,
) -> Numeric:
    """Run both losses, uncompiled and after all schedules, on tensors drawn for the scenario.

    Raises:
        ArgumentValueError: the two models differ in a size, so that no tensor fits both; or one cannot be run.
    """
    configs, notes = _fitted(before, after, vocab_size)
    tensors = _tensors(configs, scenario, batch, length, getattr(torch, dtype), seed)
    (one, first), (other, second) = (run_one(config, tensors, seed) for config in configs)
    product = math.sqrt(_dot(first, first)) * math.sqrt(_dot(second, second))
    cosine = max(-1.0, min(1.0, _dot(first, second) / product)) if product else 0.0
    apart = [a - b for a, b in zip(second, first, strict=True)]
    return Numeric(one, other, cosine, math.sqrt(_dot(apart, apart)), notes)


def run_one(config: Config, tensors: dict[str, Tensor], seed: int = 0) -> tuple[Run, list[Tensor]]:
    """Return what a loss makes of ``tensors``, and its gradient with respect to each leaf (zeros for none)."""
    torch.manual_seed(seed)  # heads of its own start from here
    loss = Loss(config)
    last = [p.term.weight.delay + p.term.weight.steps for p in loss.plan.terms if isinstance(p.term.weight, Schedule)]
    loss.state.step.fill_(max(last, default=0))
    loss.eval()
    out = loss(**tensors, return_detailed=True)
    leaves = [tensor for tensor in tensors.values() if tensor.requires_grad]
    grads = torch.autograd.grad(out["total_loss"], leaves, allow_unused=True)
    gradient = [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)]
    names = [MAIN, *(planned.name for planned in loss.plan.terms)]
    terms = {
        name: (out[f"raw/{name}" if f"raw/{name}" in out else name].item(), out[name].item())
        for name in names
        if name in out
    }
    return Run(out["total_loss"].item(), terms, math.sqrt(_dot(gradient, gradient))), gradient


def _fitted(before: Config, after: Config, vocab_size: int | None) -> tuple[tuple[Config, Config], tuple[str, ...]]:
    """Return both configurations with the same sizes, uncompiled."""
    models = before.model, after.model
    sizes: dict[str, int] = {}
    notes: list[tuple[str, ...]] = []
    for name in _SIZES:
        values = {getattr(model, name) for model in models} - {None}
        if name == "vocab_size" and vocab_size is not None:
            values = {vocab_size}
        if len(values) > 1:
            hint = "; give --vocab-size" if name == "vocab_size" else ""
            raise ArgumentValueError(
                f"--numeric: `model.{name}` is {' and '.join(map(str, sorted(values)))}, so no tensor fits both{hint}"
            )
        if values and (name != "padded_vocab_size" or vocab_size is None):
            sizes[name] = values.pop()
    filled = []
    for index, config in enumerate((before, after)):
        open_ = {f"model.{name}": size for name, size in sizes.items() if getattr(models[index], name) is None}
        other = models[1 - index].eos_token_id
        if config.model.eos_token_id is None and other is not None and config.terms.eos_penalty is not None:
            open_["model.eos_token_id"] = other
        done = fill(Config.load(config, overrides=open_) if open_ else config, vocab_size=vocab_size, compiled=False)
        filled.append(done.config)
        notes.append(done.notes)
    both = [note for note in notes[0] if note in notes[1]]
    told = [f"{side}: {note}" for side, own in zip("AB", notes, strict=True) for note in own if note not in both]
    return (filled[0], filled[1]), (*both, *told)


def _tensors(
    configs: tuple[Config, Config], scenario: Scenario, batch: int, length: int, dtype: torch.dtype, seed: int
) -> dict[str, Tensor]:
    """Draw what the first needs, and on top what only the second needs."""
    drawn, more = (
        draw(Plan(config), scenario, batch=batch, length=length, dtype=dtype, seed=seed) for config in configs
    )
    return {**{name: tensor for name, tensor in more.items() if name not in _LAYOUT}, **drawn}


def _dot(one: list[Tensor], other: list[Tensor]) -> float:
    return sum(torch.dot(a.flatten().double(), b.flatten().double()).item() for a, b in zip(one, other, strict=True))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
