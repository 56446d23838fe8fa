"""The loss's own parameters inside the model, for the optimizer, the gradient clipping and DDP, not for its files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ava.run.loss import Loss

__all__ = ["add_riders"]

_NAME = "ava_loss_parameters"


class Riders(nn.Module):
    """Parameters of another module, which ``parameters()`` holds and ``state_dict()`` does not."""

    def __init__(self, owner: nn.Module) -> None:
        super().__init__()
        for name, parameter in owner.named_parameters():
            self.register_parameter(name.replace(".", "_"), parameter)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        return

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        return


class Tie(torch.autograd.Function):
    """The logits as they are, in a graph that reaches the riders.

    DDP takes a parameter that the model's output does not depend on for unused, and is then surprised by its gradient.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, *riders: Tensor) -> Tensor:
        """Return the logits."""
        ctx.riders = len(riders)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return their gradient, and none for the riders: theirs comes from the loss."""
        return (grads[0], *(None,) * ctx.riders)


def add_riders(model: nn.Module, loss: Loss) -> None:
    """Let ``model.parameters()`` hold the loss's own parameters; without any, change nothing."""
    if next(loss.parameters(), None) is None:
        return
    if _NAME not in model._modules:
        model.register_forward_hook(_tied)
    model.add_module(_NAME, Riders(loss))


def _tied(model: nn.Module, _: Any, output: Any) -> Any:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not (distributed and model.training and torch.is_grad_enabled()):
        return None
    riders = list(model._modules[_NAME].parameters())  # type: ignore[union-attr]
    if isinstance(output, tuple):
        return (Tie.apply(output[0], *riders), *output[1:])  # type: ignore[no-untyped-call]
    if isinstance(output, dict) and isinstance(output.get("logits"), Tensor):
        output["logits"] = Tie.apply(output["logits"], *riders)  # type: ignore[no-untyped-call]
    return output
