"""``model.loss_function``, which a transformers model calls inside its forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ava.errors import ArgumentValueError
from ava.integrations.huggingface.adapter import ROUTED, Adapter, check_loss, check_router, first_of, layers_of
from ava.integrations.huggingface.head import head_weight
from ava.integrations.huggingface.watch import Watch, inner_model
from ava.run.collect import INPUTS
from ava.run.inputs import describe
from ava.run.loss import Loss
from ava.terms.mtp_loss import MtpLoss

__all__ = ["LossFunction", "as_loss_function"]


def as_loss_function(loss: Loss, *, model: nn.Module | None = None) -> LossFunction:
    """Return a function for ``model.loss_function = …``: ``(logits, labels, vocab_size, num_items_in_batch, …)``.

    Args:
        loss: the loss.
        model: the model it is set on (with PEFT, the wrapped one); needed for terms on routers or hidden states.

    Raises:
        ArgumentTypeError: ``loss`` is not a loss, or ``model`` not a model.
        ArgumentValueError: the model adds a balancing loss of its own to one that balances its experts.
    """
    return LossFunction(loss, model)


class LossFunction(Adapter):
    """What :func:`as_loss_function` returns."""

    def __init__(self, loss: Loss, model: nn.Module | None) -> None:
        check_loss(loss)
        watch = None
        if model is not None:
            hidden = "hidden_states" in loss.plan.inputs
            own = getattr(inner_model(model), "router_aux_loss_coef", 0.0)
            if own and "moe_balance_loss" in {p.name for p in loss.plan.terms}:
                raise ArgumentValueError(
                    f"The model adds its own balancing loss ({own:g} times) to what its loss function returns, and "
                    "`moe_balance_loss` would balance the experts twice: set `model.router_aux_loss_coef = 0`, or use "
                    "`compute_loss_func`."
                )
            watch = Watch(model, keep_hidden=hidden, skip_logits=False, with_labels=True)
        super().__init__(loss, watch)

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor | None = None,
        vocab_size: int | None = None,
        num_items_in_batch: Tensor | float | None = None,
        ignore_index: int | None = None,
        shift_labels: Tensor | None = None,
        **read: Any,
    ) -> Tensor:
        """Return the loss of a batch, 0-d.

        Args:
            logits: ``[B, T, V]``.
            labels: ``[B, T]`` as the model read them, unshifted; not used with ``shift_labels``.
            vocab_size: ``V``.
            num_items_in_batch: labels of the accumulation window on all ranks; None for the mean over the batch.
            ignore_index: the label that does not count; it has to be the configuration's.
            shift_labels: ``[B, T]``, the token that each position predicts.
            read: what else the model's forward was given; positions and documents of packed rows are read from it.
        """
        expected = self.loss.config.model.ignore_index
        if ignore_index is not None and ignore_index != expected:
            raise ArgumentValueError(
                f"`ignore_index` should be {expected} (`model.ignore_index`), but is {ignore_index}: set it in the "
                "configuration."
            )
        if not isinstance(logits, Tensor) or logits.ndim not in (2, 3):
            raise ArgumentValueError(f"`logits` should be [B, T, V], but is {describe(logits)}.")
        if logits.ndim == 2:
            logits = logits[None]
        if vocab_size is not None and logits.shape[-1] != vocab_size and self.loss.config.model.vocab_size is None:
            raise ArgumentValueError(f"`logits` should have {vocab_size} columns, but is {describe(logits)}.")
        seen = {**(self.watch.take() if self.watch is not None else {}), **read}
        seen.update(shift_labels=shift_labels)
        labels, seen["shift_labels"] = (_one_row(tensor) for tensor in (labels, seen["shift_labels"]))
        shape = (logits.shape[0], logits.shape[1])
        return self.value(logits, labels, num_items_in_batch, seen, self._given(seen), shape)

    def _given(self, read: Mapping[str, Any]) -> dict[str, Any]:
        watch = self.watch
        given = {name: read.get(name) for name in INPUTS if name in self.loss.plan.inputs}
        if "hidden_states" in given and watch is not None:
            given["hidden_states"] = watch.take_hidden()
        if ROUTED in given:
            given[ROUTED] = layers_of(first_of(given[ROUTED], watch and watch.router_logits))
            check_router(given[ROUTED], self.terms_need)
        missing = sorted(name for name in given if given[name] is None and name in self.terms_need)
        if "hidden_states" in missing and watch is None:
            raise ArgumentValueError(
                "`hidden_states` is missing: a model's loss function is given logits and labels only. Pass the model, "
                "`as_loss_function(loss, model=model)`."
            )
        if any(isinstance(p.term, MtpLoss) and p.term.heads == "tied" for p in self.loss.plan.terms):
            if watch is None:
                raise ArgumentValueError("`lm_head` is missing: pass the model, `as_loss_function(loss, model=model)`.")
            given["lm_head"], given["lm_head_bias"] = head_weight(watch.inner)
        return given


def _one_row(labels: Any) -> Any:
    """Return labels ``[B, T]``; ``[T]`` is one row."""
    return labels[None] if isinstance(labels, Tensor) and labels.ndim == 1 else labels
