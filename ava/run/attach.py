"""An optimizer whose ``step`` closes the step of a loss."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

from ava.errors import ArgumentTypeError

if TYPE_CHECKING:
    from ava.run.loss import Loss

__all__ = ["Attached"]


class Attached:
    """A loss at an optimizer: after each ``step`` of it, ``loss.close_step()``. Neither keeps the other alive.

    Wrappers such as accelerate's are seen through.

    Raises:
        ArgumentTypeError: it is no optimizer.
    """

    def __init__(self, loss: Loss, optimizer: torch.optim.Optimizer) -> None:
        while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
            optimizer = inner
        if not hasattr(optimizer, "register_step_post_hook"):
            raise ArgumentTypeError(
                f"`attach` takes a `torch.optim.Optimizer`, not {type(optimizer).__name__}; of anything else, pass "
                "the optimizer inside it, or leave `attach` out and set `reduction.gradient_accumulation_steps`."
            )
        this = weakref.ref(loss)

        def stepped(*_: Any) -> None:
            loss = this()
            if loss is not None:
                loss.close_step()

        self._optimizer = weakref.ref(optimizer)
        self._hook = optimizer.register_step_post_hook(stepped)

    @property
    def alive(self) -> bool:
        """Whether the optimizer is still there."""
        return self._optimizer() is not None

    def leave(self) -> None:
        """Let go of the optimizer."""
        self._hook.remove()
