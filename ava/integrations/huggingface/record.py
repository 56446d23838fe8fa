"""What the calls of a loss answered since the last log, summed on the device and read once."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ava.run.loss import Loss
from ava.run.output import LossOutput

__all__ = ["Record", "Run", "run_of"]

_TOKENS, _PERPLEXITY = "metrics/tokens", "metrics/perplexity"


class Record:
    """Sums of the values of many calls. Terms add up over the micro-batches of a step; metrics are token-weighted.

    Args:
        means: whether the calls' terms are means over their own tokens (evaluation), to be averaged by tokens.
    """

    def __init__(self, *, means: bool) -> None:
        self.means = means
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, output: LossOutput) -> None:
        """Add a call's values, without waiting for the device."""
        values = {name: value.double() for name, value in output.log_dict().items()}
        tokens = values[_TOKENS]
        rows = []
        for name, value in values.items():
            if name == _PERPLEXITY:
                value = value.log()
            weighted = (self.means or name.startswith("metrics/")) and name != _TOKENS
            # a batch without a valid position has no perplexity, whose log would be a NaN times 0
            rows.append(torch.where(tokens > 0, value * tokens, 0.0) if weighted else value)
        names, row = tuple(values), torch.stack(rows)
        self._sums[names] = self._sums[names] + row if names in self._sums else row

    def drain(self, steps: int, *, sum_ranks: bool) -> dict[str, float]:
        """Return the values since the last call, and forget them; waits for the device.

        Args:
            steps: optimizer steps since then, which the terms' sums are divided by.
            sum_ranks: whether the ranks' terms add up (each was divided by the tokens of all ranks) or are averaged.
        """
        found: dict[str, float] = {}
        ranks = 1
        for names, row in self._sums.items():
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                ranks = torch.distributed.get_world_size()
                torch.distributed.all_reduce(row)
            for name, value in zip(names, row.tolist(), strict=True):
                found[name] = found.get(name, 0.0) + value
        self._sums.clear()
        if not found:
            return found
        tokens = max(found[_TOKENS], 1.0)
        for name in found:
            if name == _TOKENS:
                continue
            if self.means or name.startswith("metrics/"):
                found[name] /= tokens
            else:
                found[name] /= max(steps, 1) * (1 if sum_ranks else ranks)
        if _PERPLEXITY in found:
            found[_PERPLEXITY] = math.exp(min(found[_PERPLEXITY], 700.0))
        return found


@dataclass(slots=True)
class Run:
    """What a callback and the function that computes the loss tell each other.

    Attributes:
        recording: whether each call's terms are wanted.
        has_callback: whether a callback looks after the loss's own parameters.
        training: what training calls answered.
        evaluation: what evaluation calls answered.
    """

    recording: bool = False
    has_callback: bool = False
    training: Record = field(default_factory=lambda: Record(means=False))
    evaluation: Record = field(default_factory=lambda: Record(means=True))

    def add(self, values: Mapping[str, Tensor], training: bool) -> None:
        """Add a detailed answer."""
        assert isinstance(values, LossOutput)
        (self.training if training else self.evaluation).add(values)


_RUNS: weakref.WeakKeyDictionary[Loss, Run] = weakref.WeakKeyDictionary()


def run_of(loss: Loss) -> Run:
    """Return the one :class:`Run` of a loss."""
    return _RUNS.setdefault(loss, Run())
