"""From values per row to scalars, over one process or all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ava.plan import Plan

__all__ = ["Totals", "across_ranks", "denominator", "masked_sum", "over_ranks", "ranks_of"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What a call saw, over all ranks of a data-parallel run, without a gradient.

    Attributes:
        main_sum: sum of the main loss over its valid positions, 0-d float64.
        count: number of these positions, 0-d float64.
        expert_counts: assignments of each expert, ``[L, E]`` float64, or None.
        ranks: over how many ranks they are summed.
    """

    main_sum: Tensor
    count: Tensor
    expert_counts: Tensor | None
    ranks: int


def masked_sum(values: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of ``values [N]`` over the valid rows, 0-d; what other rows hold does not matter."""
    return torch.where(valid, values, 0.0).sum()


def over_ranks(main_sum: Tensor, count: Tensor, expert_counts: Tensor | None, plan: Plan) -> Totals:
    """Return what all ranks saw together, by one all-reduce of ``2 + L * E`` numbers.

    Every rank has to call it, or none: it waits for the others.
    """
    ranks = ranks_of(plan)
    main_sum, count = main_sum.detach().double(), count.double()
    if ranks == 1:
        return Totals(main_sum, count, expert_counts, 1)
    parts = [main_sum.reshape(1), count.reshape(1)]
    if expert_counts is not None:
        parts.append(expert_counts.double().flatten())
    summed = across_ranks(torch.cat(parts), plan)
    experts = None if expert_counts is None else summed[2:].view(expert_counts.shape)
    return Totals(summed[0], summed[1], experts, ranks)


def denominator(seen: Totals, num_items: Tensor | None) -> Tensor:
    """Return ``n``: ``num_items``, else the mean number of valid positions of a rank, 1 where there are none.

    The mean over the ranks, because data-parallel wrappers average gradients: local sums over that mean average to
    the global token mean. A ``num_items`` that is no number of tokens makes it NaN: never a silent wrong number.
    """
    items = seen.count / seen.ranks if num_items is None else num_items
    return torch.where((items > 0) & items.isfinite(), items, torch.where(items == 0, 1.0, torch.nan))


def across_ranks(values: Tensor, plan: Plan) -> Tensor:
    """Return the sum of ``values`` over the ranks, or ``values`` themselves in a run that is not data parallel."""
    if ranks_of(plan) == 1:
        return values
    from torch.distributed._functional_collectives import all_reduce

    world = torch.distributed.group.WORLD
    assert world is not None
    total: Tensor = all_reduce(values, "sum", world)
    return total


def ranks_of(plan: Plan) -> int:
    """Return the ranks of a data-parallel run, 1 in any other."""
    if plan.config.reduction.across == "none" or not torch.distributed.is_available():
        return 1
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
