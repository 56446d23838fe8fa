"""From values per row to scalars."""

from __future__ import annotations

import torch
from torch import Tensor

from ava.plan import Plan

__all__ = ["distributed_mean", "masked_sum"]


def masked_sum(values: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of ``values [N]`` over the valid rows, 0-d; what other rows hold does not matter."""
    return torch.where(valid, values, 0.0).sum()


def distributed_mean(count: Tensor, plan: Plan) -> Tensor:
    """Return the number of valid positions, or its mean over the ranks with ``reduction.across: data_parallel``.

    The mean, because data-parallel wrappers average gradients: local sums over the mean number of positions average
    to the global sum over the global number.
    """
    if plan.config.reduction.across == "none" or not torch.distributed.is_initialized():
        return count
    from torch.distributed._functional_collectives import all_reduce

    group = torch.distributed.group.WORLD
    return all_reduce(count.double(), "sum", group) / torch.distributed.get_world_size(group)
