"""A loss that takes labels as transformers gives them, and the checks of what it is called with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.integrations.huggingface.alignment import check_not_shifted, segments_of, twin_of
from ava.integrations.huggingface.record import run_of
from ava.integrations.huggingface.watch import Watch
from ava.run.inputs import describe
from ava.run.loss import Loss

__all__ = ["ROUTED", "Adapter", "check_loss", "check_router", "first_of", "layers_of"]

ROUTED = "gate_logits"


class Adapter:
    """A loss that takes labels as transformers gives them."""

    def __init__(self, loss: Loss, watch: Watch | None) -> None:
        self.loss = loss
        self.watch = watch
        self._shifted, self._aligned = twin_of(loss, True), twin_of(loss, False)
        self._looked = False
        self._told = False

    @property
    def terms_need(self) -> set[str]:
        """Arguments of the loss that its terms ask for and that do not say ``if_missing: skip``."""
        return {name for p in self.loss.plan.terms if p.term.if_missing == "error" for name in p.needs.inputs}

    def value(
        self,
        logits: Tensor | None,
        labels: Any,
        num_items: Any,
        read: Mapping[str, Any],
        given: dict[str, Any],
        shape: tuple[int, int],
    ) -> Tensor:
        """Return the loss of a batch: of ``logits``, or of hidden states and a head in ``given``."""
        loss = self.loss
        device = given["hidden_states"].device if logits is None else logits.device
        if loss.state.temperature.device != device:
            loss.to(device)
        model = self.watch.model if self.watch is not None else None
        observes = loss.training and torch.is_grad_enabled() and (model is None or model.training)
        self._check_training(observes, num_items)
        targets, ahead = read.get("shift_labels"), True
        if targets is None:
            targets, ahead = labels, False
        if not isinstance(targets, Tensor):
            raise ArgumentValueError(f"`labels` should be an integer tensor [B, T], but is {describe(targets)}.")
        check_shape(targets, shape, read.get("input_ids"), "shift_labels" if ahead else "labels")
        tensors = {**self._positions(read, targets, shape, ahead), **given}
        twin = self._aligned if ahead else self._shifted
        twin.__dict__.update(training=observes, _attached=loss._attached)
        run = run_of(loss)
        if isinstance(num_items, Tensor) and num_items.numel() > 1:
            num_items = num_items.reshape(-1)[0]  # DataParallel: one number, repeated for each device
        answer = twin(logits, targets, num_items=num_items, return_detailed=run.recording, **tensors)
        if not run.recording:
            assert isinstance(answer, Tensor)
            return answer
        run.add(answer, observes)
        total: Tensor = answer["total_loss"]
        return total

    def _positions(
        self, read: Mapping[str, Any], targets: Tensor, shape: tuple[int, int], ahead: bool
    ) -> dict[str, Tensor | None]:
        model = self.loss.config.model
        ids, mask = read.get("input_ids"), read.get("attention_mask")
        ids = ids if isinstance(ids, Tensor) and tuple(ids.shape) == shape else None
        mask = mask if isinstance(mask, Tensor) and tuple(mask.shape) == shape else None
        segments = segments_of(read, shape, model.eos_token_id)
        if ahead:
            # the mask is of the inputs; labels that were shifted by the collator say themselves what counts
            mask = mask if ROUTED in self.loss.plan.inputs else None
            segments = None if segments is None else torch.cat([segments[:, 1:], segments[:, -1:]], 1)
        elif not self._looked and ids is not None and self.loss.config.compile.checks != "off":
            self._looked = True
            check_not_shifted(targets, ids, model.ignore_index)
        return {"input_ids": ids, "attention_mask": mask, "segment_ids": segments}

    def _check_training(self, observes: bool, num_items: Any) -> None:
        steps = self.loss.config.reduction.gradient_accumulation_steps
        if observes and num_items is None and steps > 1:
            raise ArgumentValueError(
                f"`num_items_in_batch` is missing with `reduction.gradient_accumulation_steps: {steps}`: the trainer "
                f"does not divide what `compute_loss_func` returns, so a mean would come out {steps} times too large. "
                "It counts the window's `labels`: put them in the batch, or pass the number."
            )
        if (
            observes
            and not self._told
            and not run_of(self.loss).has_callback
            and next(self.loss.parameters(), None) is not None
        ):
            self._told = True
            warnings.warn(
                "The loss has parameters of its own, which the trainer does not know: add `LossCallback(loss)` to its "
                "`callbacks`, or give it an optimizer that holds `loss.parameters()`.",
                stacklevel=5,
            )


def check_loss(loss: object) -> None:
    """Raise ArgumentTypeError unless this is a loss."""
    if not isinstance(loss, Loss):
        raise ArgumentTypeError(
            f"`loss` should be an `ava.Loss`, but is {type(loss).__name__}; `ava.Loss.load` makes one of a preset's "
            "name or a path."
        )


def check_shape(targets: Tensor, shape: tuple[int, int], input_ids: Any, name: str) -> None:
    """Raise ArgumentValueError unless labels and logits lie on the tokens that the model read."""
    rows, length = shape
    cut = isinstance(input_ids, Tensor) and input_ids.ndim == 2 and input_ids.shape[1] == length + 1
    if cut or (tuple(targets.shape) == (rows, length + 1)):
        both = "logits and labels are" if tuple(targets.shape) == shape else "the logits are"
        raise ArgumentValueError(
            f"{both} already shifted: the model read {length + 1} tokens a row, and the logits are of {length} "
            "positions. Pass both as the model had them; the loss shifts the labels itself."
        )
    if tuple(targets.shape) != shape:
        raise ArgumentValueError(
            f"`{name}` should be [B, T] = [{rows}, {length}] to match the logits, but is {describe(targets)}."
        )


def check_router(gates: Any, needed: set[str]) -> None:
    """Raise ArgumentValueError where a term on routers would be lost."""
    if gates is None and ROUTED in needed:
        raise ArgumentValueError(
            "A term needs the router's logits, and the model's output has none: set `model.config.output_router_logits "
            "= True` (the model's own auxiliary loss then stays out of the total), and with a loss function pass the "
            "model, `as_loss_function(loss, model=model)`."
        )


def layers_of(router_logits: Any) -> Any:
    """Return the gate logits of the layers that have a router, or None."""
    if isinstance(router_logits, (tuple, list)):
        found = [layer for layer in router_logits if isinstance(layer, Tensor) and layer.ndim > 1]
        return found or None
    return router_logits


def first_of(*values: Any) -> Any:
    """Return the first value that is there, or None."""
    return next((value for value in values if value is not None), None)
