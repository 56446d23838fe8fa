"""torchtune: a mean over the tokens of a micro-batch, which the recipe weighs by their number.

A recipe calls ``loss_fn(outputs, labels)``, multiplies by the labels that are not ``loss_fn.ignore_index``, and scales
the gradients by the ranks over all tokens of the step. Labels are aligned with the outputs already. A loss that it
does not know as one of its own gets outputs and labels flattened to one row, where terms that look at neighbours
would look across rows, so :class:`TuneLoss` makes itself known.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ava.errors import ArgumentValueError
from ava.integrations.distributed import looks_around
from ava.run.loss import Loss

__all__ = ["TuneLoss"]


class TuneLoss(nn.Module):
    """A loss as torchtune's recipes call it.

    >>> import torch
    >>> loss = TuneLoss(Loss.load("fast_prototype", overrides={"compile.enabled": False}))
    >>> round(loss(torch.zeros(1, 4, 8), torch.zeros(1, 4, dtype=torch.int64)).item(), 3)
    2.079

    Args:
        loss: the loss.
        num_output_chunks: take logits in this many chunks along the sequence, as ``model.set_num_output_chunks``
            makes them; None for whole logits.
        linear: take hidden states and apply the model's output layer here.

    Raises:
        ArgumentValueError: the configuration shifts targets, or both ways of cutting the output are asked for.
    """

    def __init__(self, loss: Loss, *, num_output_chunks: int | None = None, linear: bool = False) -> None:
        super().__init__()
        if loss.config.targets.shift:
            raise ArgumentValueError(
                "torchtune's labels are aligned with the outputs already: set `targets.shift: false`."
            )
        if linear and num_output_chunks is not None:
            raise ArgumentValueError("`linear` needs no `num_output_chunks`: the loss cuts its work itself.")
        self.loss = loss
        self.linear = linear
        self.num_output_chunks = num_output_chunks
        self.ignore_index = loss.config.model.ignore_index
        self._output: list[nn.Module] = []  # in a list, so that it is no submodule
        _register()

    def apply_compile_strategy(self, *_: object, **__: object) -> Self:
        """Return the loss as it is: it compiles itself, as ``compile:`` in its file says."""
        return self

    def set_model_output(self, model: Any) -> None:
        """Have the model answer what this loss takes: logits, logits in chunks, or hidden states."""
        if self.linear:
            model.skip_output_layer = True
            self._output = [model.output]
        elif self.num_output_chunks is not None:
            model.set_num_output_chunks(self.num_output_chunks)

    def forward(self, outputs: Tensor | Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return the mean over the labels that are not ignored, 0-d.

        Args:
            outputs: logits ``[B, T, V]``, a list of them in chunks along ``T``, or with ``linear`` hidden states
                ``[B, T, H]``.
            targets: ``[B, T]``.

        Raises:
            ArgumentValueError: flattened logits under a term that looks at neighbours, or ``linear`` without
                ``set_model_output``.
        """
        items = (targets != self.ignore_index).sum()
        whole = outputs if isinstance(outputs, Tensor) else torch.cat(list(outputs), dim=1)
        if whole.ndim == 2 and looks_around(self.loss):
            raise ArgumentValueError(
                "`outputs` should be [B, T, V]: flattened to one row, n-grams, repetitions and future tokens would "
                "reach from one row into the next. Build the loss after importing torchtune, or pass whole rows."
            )
        call: dict[str, Any] = {"logits": whole}
        if self.linear:
            weight, bias = self._head()
            call = {"hidden_states": whole, "lm_head": weight, "lm_head_bias": bias}
        mean: Tensor = self.loss(targets=targets, num_items=items, **call)
        return mean

    def _head(self) -> tuple[Tensor, Tensor | None]:
        if not self._output:
            raise ArgumentValueError("call `set_model_output(model)` before a loss with `linear=True`.")
        output = self._output[0]
        owner = getattr(output, "tied_module", output)
        weight, bias = getattr(owner, "weight", None), getattr(owner, "bias", None)
        if not isinstance(weight, Tensor) or hasattr(weight, "device_mesh"):
            raise ArgumentValueError(
                "the model's output layer has no plain weight [V, H] (it is sharded, or no linear layer): leave "
                "`linear` out, so that the model applies it."
            )
        return weight, bias if isinstance(bias, Tensor) else None


def _register() -> None:
    """Let ``isinstance(loss, SFTLoss)`` hold where torchtune is installed."""
    try:
        module = importlib.import_module("torchtune.modules.loss")
    except ImportError:
        return
    base = getattr(module, "SFTLoss", None)
    if base is not None and hasattr(base, "register"):
        base.register(TuneLoss)
