"""Several ranks: what an optimizer step divides by, counted over all of them, and what may be split over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ava.compile.prepare import prepare
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.run.loss import Loss
from ava.terms.base import CONTEXT, Candidates, Kind, Needs
from ava.terms.contrastive_loss import ContrastiveLoss

__all__ = ["check_split_positions", "count_items", "looks_around", "window_items"]

_LARGEST = torch.iinfo(torch.int64).max


def count_items(loss: Loss, targets: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Return the number of valid positions of a batch as the loss counts them, 0-d int64 on its device.

    ``targets.shift``, ``model.ignore_index`` and ``model.pad_token_id`` of the configuration are respected.

    Args:
        loss: the loss whose configuration says what counts.
        targets: ``[B, T]`` or ``[T]`` integers.
        attention_mask: of the same shape, 0 for padding.
    """
    if not isinstance(targets, Tensor):
        raise ArgumentTypeError(f"`targets` should be an integer tensor [B, T], but is {type(targets).__name__}.")
    if targets.ndim not in (1, 2) or targets.is_floating_point():
        raise ArgumentValueError(
            f"`targets` should be an integer tensor [B, T], but is of {targets.dtype} and shape {list(targets.shape)}."
        )
    if attention_mask is not None and attention_mask.shape != targets.shape:
        raise ArgumentValueError(
            f"`attention_mask` should be {list(targets.shape)} like `targets`, but is {list(attention_mask.shape)}."
        )
    model = loss.config.model
    shape = targets.shape if targets.ndim == 2 else (1, *targets.shape)
    prepared: list[Tensor] = prepare(
        targets.reshape(shape).long(),
        None if attention_mask is None else attention_mask.reshape(shape),
        None,
        None,
        model.vocab_size or _LARGEST,
        loss.config.targets.shift,
        model.ignore_index,
        model.eos_token_id,
        model.pad_token_id,
        "",
        [],
    )
    return prepared[0].sum()


def window_items(
    loss: Loss,
    batches: Iterable[Mapping[str, Any]],
    *,
    averages: int = 1,
    group: torch.distributed.ProcessGroup | None = None,
) -> Tensor:
    """Return the ``num_items`` that makes an accumulation window the mean over all of its tokens, 0-d float64.

    It is the number of valid positions of the window, on all ranks, over what the trainer divides by afterwards: the
    ranks (DDP and FSDP average gradients) and ``averages``. All ranks have to call it.

    Args:
        loss: the loss whose configuration says what counts.
        batches: the micro-batches of one optimizer step on this rank, with ``targets`` (or ``labels``) and, where
            there is one, ``attention_mask``.
        averages: by how much else the trainer divides a micro-batch's loss: the accumulation steps under accelerate
            and Lightning, 1 in a loop that does not.
        group: the data-parallel ranks; by default all.

    Raises:
        ArgumentValueError: no batch, or one without targets.
    """
    counts = []
    for batch in batches:
        targets = batch.get("targets", batch.get("labels"))
        if targets is None:
            raise ArgumentValueError(
                f"a batch should hold `targets` or `labels`, but holds {', '.join(map(str, batch)) or 'nothing'}."
            )
        counts.append(count_items(loss, targets, batch.get("attention_mask")))
    if not counts:
        raise ArgumentValueError("`batches` should hold at least one micro-batch, but is empty.")
    items = torch.stack(counts).sum().double()
    ranks = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        ranks = torch.distributed.get_world_size(group)
        torch.distributed.all_reduce(items, group=group)
    return items / (ranks * averages)


def looks_around(loss: Loss) -> tuple[str, ...]:
    """Return the terms that look at other positions of a row than their own, by name."""

    def elsewhere(needs: Needs) -> bool:
        return bool(needs.positions) or any(pick == CONTEXT or isinstance(pick, Candidates) for pick in needs.picks)

    return tuple(
        planned.name
        for planned in loss.plan.terms
        if planned.term.kind is Kind.HEADS or isinstance(planned.term, ContrastiveLoss) or elsewhere(planned.needs)
    )


def check_split_positions(loss: Loss) -> None:
    """Refuse a loss that context or sequence parallelism would make wrong; call it before training.

    There a rank sees some positions of each row. A term that looks at a position's neighbours would end at the edge
    of the rank's part, silently. Terms on one position alone are exact.

    Raises:
        ArgumentValueError: the configuration has such terms, which the message names, or it shifts targets.
    """
    if loss.config.targets.shift:
        raise ArgumentValueError(
            "`targets.shift: true` would lose a target at each edge of a rank's positions: align the targets before "
            "they are split, and set `targets.shift: false`."
        )
    around = looks_around(loss)
    if around:
        raise ArgumentValueError(
            f"{', '.join(f'`{name}`' for name in around)} look at neighbouring positions, which context parallelism "
            "puts on other ranks: switch them off (`terms.NAME: null`), or gather the row's logits before the loss."
        )
