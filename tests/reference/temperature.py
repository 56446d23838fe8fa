"""The state machine of the adaptive temperature, and the schedule of a weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

CAPACITY = 100
ENOUGH = 10


def observation(sums: Sequence[float], counts: Sequence[int]) -> float | None:
    """The step's `main_loss`: the micro-steps' (and ranks') sums over their valid tokens; `None` without any."""
    return sum(sums) / sum(counts) if sum(counts) else None


def next_temperature(
    tau: float, history: Sequence[float], *, rate: float = 0.01, bounds: Sequence[float] = (0.5, 2.0)
) -> float:
    """τ after a step boundary with this history (the last 100 observations, this step's included)."""
    if len(history) < ENOUGH:
        return tau
    mean, spread = fmean(history), stdev(history)
    if mean != 0:
        variation = spread / mean
        if variation > 0.1:
            tau += rate
        elif variation < 0.05:
            tau -= rate
    return min(max(tau, bounds[0]), bounds[1])


def temperatures(
    observations: Iterable[float | None],
    *,
    initial: float = 1.0,
    rate: float = 0.01,
    bounds: Sequence[float] = (0.5, 2.0),
    moves_without_observation: bool = True,
) -> list[float]:
    """τ after each step boundary, from what each step observed (`None`: nothing)."""
    tau = initial
    history: list[float] = []
    after: list[float] = []
    for observed in observations:
        if observed is not None:
            history = [*history, observed][-CAPACITY:]
        if observed is not None or moves_without_observation:
            tau = next_temperature(tau, history, rate=rate, bounds=bounds)
        after.append(tau)
    return after


def weight_at(weight: float | Mapping[str, Any], step: int) -> float:
    """A number, or a schedule at `step`: `from` until `delay`, `to` after `delay + steps`."""
    if not isinstance(weight, Mapping):
        return float(weight)
    done = min(max((step - weight.get("delay", 0)) / weight["steps"], 0.0), 1.0)
    if weight.get("shape", "linear") == "cosine":
        done = (1 - math.cos(math.pi * done)) / 2
    return float(weight["from"] + (weight["to"] - weight["from"]) * done)
