"""Weights and their schedules, as tensors: a new weight is a new number in a buffer, never a new graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ava.terms.base import Schedule, Weight

__all__ = ["schedule_table", "weights_at"]


def schedule_table(weights: Sequence[Weight]) -> Tensor:
    """Return one row per term, ``[K, 5]`` float64: from, to, delay, steps, and 1 for a cosine."""
    rows = [
        (w.start, w.to, w.delay, w.steps, float(w.shape == "cosine")) if isinstance(w, Schedule) else (w, w, 0, 1, 0)
        for w in weights
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 5)


def weights_at(table: Tensor, step: Tensor) -> Tensor:
    """Return the weight of each term at an optimizer step, ``[K]`` float64."""
    start, end, delay, steps, cosine = table.unbind(1)
    done = ((step - delay) / steps).clamp(0.0, 1.0)
    done = torch.where(cosine > 0, 0.5 - 0.5 * (math.pi * done).cos(), done)
    return start + (end - start) * done
