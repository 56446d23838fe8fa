"""From values per row to scalars, over one process or all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ava.plan import Plan

__all__ = ["across_ranks", "denominator", "masked_sum"]


def masked_sum(values: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of ``values [N]`` over the valid rows, 0-d; what other rows hold does not matter."""
    return torch.where(valid, values, 0.0).sum()


def denominator(count: Tensor, num_items: Tensor | None, plan: Plan) -> Tensor:
    """Return ``n``: ``num_items``, else the valid positions of the call, 1 where there are none.

    With ``reduction.across: data_parallel`` it is the mean number of valid positions of a rank, because data-parallel
    wrappers average gradients: local sums over that mean average to the global token mean.
    """
    items = across_ranks(count.double(), plan) / _ranks(plan) if num_items is None else num_items
    return torch.where(items > 0, items, 1)


def across_ranks(values: Tensor, plan: Plan) -> Tensor:
    """Return the sum of ``values`` over the ranks, or ``values`` themselves in a run that is not data parallel."""
    if _ranks(plan) == 1:
        return values
    from torch.distributed._functional_collectives import all_reduce

    world = torch.distributed.group.WORLD
    assert world is not None
    total: Tensor = all_reduce(values, "sum", world)
    return total


def _ranks(plan: Plan) -> int:
    if plan.config.reduction.across == "none" or not torch.distributed.is_available():
        return 1
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
