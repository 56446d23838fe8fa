"""The integer and shape work for the terms that are no sum over rows of logits: before the graph, without kernels
of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["expert_counts", "future_targets", "sample_positions"]


def future_targets(target: Tensor, valid: Tensor, segment: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return targets and validity of heads ``k = 1..K``: ``y[t+k]`` where it lies in the row and the same segment.

    Args:
        target: ``[B, T]`` int64, ``-1`` outside the vocabulary.
        valid: bool ``[B, T]``.
        segment: int64 ``[B, T]``.
        heads: ``K``.

    Returns:
        int64, ``-1`` where not valid, and bool, ``[K * B * T]`` each, head by head.
    """
    length = target.shape[1]
    targets = target.new_full((heads, *target.shape), -1)
    counts = torch.zeros_like(targets, dtype=torch.bool)
    for k in range(1, min(heads, length - 1) + 1):
        targets[k - 1, :, :-k] = target[:, k:]
        counts[k - 1, :, :-k] = valid[:, k:] & (segment[:, k:] == segment[:, :-k])
    return torch.where(counts, targets, -1).flatten(), counts.flatten()


def sample_positions(batch: int, length: int, shift: bool, limit: int, device: torch.device) -> Tensor:
    """Return every ``ceil(N / limit)``-th flattened position as an index into ``[B * T]``.

    With ``shift``, the last position of each row predicts nothing and is not counted.
    """
    width = length - 1 if shift else length
    total = batch * width
    flat = torch.arange(0, total, max(1, math.ceil(total / limit)), device=device)
    return flat // max(width, 1) * length + flat % max(width, 1)


def expert_counts(indices: Tensor, experts: int, routed: Tensor) -> Tensor:
    """Return how often each expert was chosen for a routed token, ``[L, E]`` float64.

    Args:
        indices: ``[L, N, k]`` int64.
        experts: ``E``.
        routed: bool ``[N]``.
    """
    layers = indices.shape[0]
    counts = torch.zeros(layers, experts, dtype=torch.float64, device=indices.device)
    counted = routed.double()[None, :, None].expand(indices.shape).reshape(layers, -1)
    return counts.scatter_add_(1, indices.reshape(layers, -1), counted)
