"""Supervised contrastive loss over hidden states, the class of a position being its target."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .positions import Positions
from .rows import zero


def chosen(at: Positions, max_tokens: int = 256) -> list[tuple[int, int]]:
    """Every `ceil(N/max_tokens)`-th flattened position, those that are valid."""
    everywhere = [(b, t) for b in range(at.batch) for t in range(at.length)]
    stride = max(1, math.ceil(len(everywhere) / max_tokens))
    return [(b, t) for b, t in everywhere[::stride] if at.valid[b][t]]


def contrastive_loss(hidden: Tensor, at: Positions, *, temperature: float = 0.07, max_tokens: int = 256) -> Tensor:
    """The mean over anchors with a positive of `−mean_{j∈P(i)} (s_ij − log Σ_{a≠i} exp s_ia)`, own-mean."""
    h = hidden.double()
    items = chosen(at, max_tokens)
    classes = [at.targets[b][t] for b, t in items]
    features = [h[b, t] / torch.linalg.vector_norm(h[b, t]).clamp_min(1e-12) for b, t in items]
    per_anchor = []
    for i in range(len(items)):
        others = [a for a in range(len(items)) if a != i]
        positives = [j for j in others if classes[j] == classes[i]]
        if not positives:
            continue
        similarity = {a: (features[i] * features[a]).sum() / temperature for a in others}
        log_sum = torch.logsumexp(torch.stack([similarity[a] for a in others]), dim=0)
        per_anchor.append(-torch.stack([similarity[j] - log_sum for j in positives]).mean())
    if not per_anchor:
        return zero(hidden)
    return zero(hidden) + torch.stack(per_anchor).mean() * at.own_mean_factor
