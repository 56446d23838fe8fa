"""The reported metrics: over the call's own valid positions, detached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor

from .positions import Positions
from .rows import entropy, finite_columns, nll


def row_metrics(x: Tensor, at: Positions, tau: float = 1.0) -> dict[str, float]:
    """`tokens`, `accuracy`, `perplexity` (unsmoothed NLL at τ), `entropy`, `confidence`, `temperature`."""
    losses: list[float] = []
    hits: list[float] = []
    entropies: list[float] = []
    sure: list[float] = []
    for b, t in at.all_valid():
        z, y = x[b, t].detach() / tau, at.targets[b][t]
        losses.append(float(nll(z, y)))
        hits.append(float(int(z.argmax()) == y))
        entropies.append(float(entropy(z)))
        sure.append(float(torch.softmax(finite_columns(z), dim=0).max()))
    count = max(1, len(losses))
    mean_loss = sum(losses) / count
    return {
        "tokens": float(at.count),
        "accuracy": sum(hits) / count,
        "perplexity": math.exp(mean_loss) if mean_loss < 709 else math.inf,
        "entropy": sum(entropies) / count,
        "confidence": sum(sure) / count,
        "temperature": float(tau),
    }


def load_metrics(loads: Sequence[Sequence[float]]) -> dict[str, float]:
    """`expert_load_cv` (`std(unbiased)/mean`, mean over layers) and `expert_load_max` (over layers and experts)."""
    variations = [stdev(f) / fmean(f) if len(f) > 1 and any(f) else 0.0 for f in loads]
    return {"expert_load_cv": fmean(variations), "expert_load_max": max(max(f) for f in loads)}
