"""Hugging Face accelerate: a plain loop in which the accelerator averages over ranks and over micro-batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ava.errors import ArgumentValueError
from ava.integrations.distributed import window_items
from ava.run.loss import Loss

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["attach", "num_items", "prepare_loss"]


def prepare_loss(accelerator: Accelerator, loss: Loss, optimizer: Any) -> Loss:
    """Put the loss on the accelerator's device, let the optimizer close its steps, save it with the rest; return it.

    ``accelerator.save_state`` then holds the loss's state, and ``load_state`` resumes it. A loss with parameters of
    its own (heads of ``mtp_loss``, ``balancing: uncertainty``) is a model: give it to ``accelerator.prepare`` with the
    others, which saves it too, and call only :func:`attach`.

    Args:
        accelerator: the accelerator.
        loss: the loss.
        optimizer: what ``accelerator.prepare`` returned, or the optimizer itself.
    """
    if any(parameter.requires_grad for parameter in loss.parameters()):
        raise ArgumentValueError(
            "this loss has parameters of its own: pass it to `accelerator.prepare` beside the model, so that their "
            "gradients are averaged, and call `ava.integrations.accelerate.attach(loss, optimizer)`."
        )
    loss.to(accelerator.device)
    accelerator.register_for_checkpointing(loss)
    return attach(loss, optimizer)


def attach(loss: Loss, optimizer: Any) -> Loss:
    """Let the optimizer inside an accelerated one close the loss's steps; return the loss.

    A step that the gradient scaler skips, or that only accumulates, closes nothing.
    """
    while not isinstance(optimizer, torch.optim.Optimizer) or "_optimizer_step_post_hooks" not in vars(optimizer):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None:
            raise ArgumentValueError(
                f"`optimizer` should be a torch optimizer, or what `accelerator.prepare` made of one, but is "
                f"{type(optimizer).__name__}."
            )
        optimizer = inner
    return loss.attach(optimizer)


def num_items(accelerator: Accelerator, loss: Loss, batches: Iterable[Mapping[str, Any]]) -> Tensor:
    """Return the ``num_items`` of an accumulation window, 0-d float64.

    The valid positions of its micro-batches on all processes, over what divides the loss afterwards: the processes
    (their gradients are averaged) and the accumulation steps (``accelerator.backward`` divides by them).
    """
    return window_items(loss, batches, averages=accelerator.gradient_accumulation_steps)
