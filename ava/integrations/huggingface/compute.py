"""``compute_loss_func`` of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from ava.errors import ArgumentValueError
from ava.integrations.huggingface.adapter import ROUTED, Adapter, check_loss, check_router, first_of, layers_of
from ava.integrations.huggingface.head import check_agreement, check_scaling, head_weight
from ava.integrations.huggingface.watch import Watch, field, inner_model
from ava.run.collect import INPUTS
from ava.run.inputs import describe
from ava.run.loss import Loss
from ava.terms.mtp_loss import MtpLoss

__all__ = ["ComputeLoss", "Engine", "compute_loss_func"]

Engine = Literal["logits", "linear"]


def compute_loss_func(loss: Loss, *, model: nn.Module | None = None, engine: Engine = "logits") -> ComputeLoss:
    """Return the function that ``Trainer(compute_loss_func=…)`` takes: ``(outputs, labels, num_items_in_batch=None)``.

    Labels are the trainer's: unshifted, whatever ``targets.shift`` says. Sums are divided by ``num_items_in_batch``,
    which counts the accumulation window on all ranks, so nothing comes out multiplied by the accumulation steps;
    without it (evaluation) the loss is the mean over the batch's own tokens.

    Args:
        loss: the loss.
        model: what the trainer trains. With it the loss also knows the input tokens, the attention mask and the
            documents of packed rows, and reads hidden states without ``output_hidden_states``.
        engine: ``linear`` lets the loss do the head itself in training, so that the model never makes its logits.

    Raises:
        ArgumentTypeError: ``loss`` is not a loss, or ``model`` not a model.
        ArgumentValueError: ``linear`` without a model, or with one that cannot skip its logits.
    """
    return ComputeLoss(loss, model, engine)


class ComputeLoss(Adapter):
    """What :func:`compute_loss_func` returns."""

    def __init__(self, loss: Loss, model: nn.Module | None, engine: Engine) -> None:
        check_loss(loss)
        if engine not in ("logits", "linear"):
            raise ArgumentValueError(f"`engine` should be `logits` or `linear`, but is {engine!r}.")
        if engine == "linear" and model is None:
            raise ArgumentValueError('`engine="linear"` needs the model: `compute_loss_func(loss, model=model, …)`.')
        watch = None
        if model is not None:
            hidden = "hidden_states" in loss.plan.inputs
            if engine == "linear" and hasattr(inner_model(model), "config"):
                check_scaling(loss.config.model, inner_model(model).config)
            watch = Watch(model, keep_hidden=hidden, skip_logits=engine == "linear", with_labels=False)
        super().__init__(loss, watch)
        self.engine = engine
        self._agreed = False

    def __call__(self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | float | None = None) -> Tensor:
        """Return the loss of a batch, 0-d.

        Args:
            outputs: what the model returned, with ``logits [B, T, V]``.
            labels: ``[B, T]`` as the model read them, unshifted.
            num_items_in_batch: labels of the accumulation window on all ranks; None for the mean over the batch.
        """
        read = self.watch.take() if self.watch is not None else {}
        logits = outputs[0] if isinstance(outputs, (tuple, list)) else field(outputs, "logits")
        if not isinstance(logits, Tensor):
            raise ArgumentValueError(f"`outputs` should hold `logits` [B, T, V], but they are {describe(logits)}.")
        given = self._given(outputs, read)
        if self.watch is not None and self.watch.skipped:
            hidden = given["hidden_states"]
            if hidden is None:
                raise ArgumentValueError(
                    "The model's backbone answered no `last_hidden_state`, which the loss would read. Leave the engine "
                    "at `logits`."
                )
            if not self._agreed:
                check_agreement(hidden, given["lm_head"], given["lm_head_bias"], logits, self.loss.config.model)
                self._agreed = True
            return self.value(None, labels, num_items_in_batch, read, given, (hidden.shape[0], hidden.shape[1]))
        if logits.ndim != 3:
            raise ArgumentValueError(f"`outputs.logits` should be [B, T, V], but is {describe(logits)}.")
        return self.value(logits, labels, num_items_in_batch, read, given, (logits.shape[0], logits.shape[1]))

    def _given(self, outputs: Any, read: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors beyond logits and targets that the terms ask for, or the head of the linear engine."""
        plan, watch = self.loss.plan, self.watch
        wanted = [name for name in INPUTS if name in plan.inputs]
        given = {name: first_of(field(outputs, name), read.get(name)) for name in wanted}
        skipped = watch is not None and watch.skipped
        if "hidden_states" in wanted or skipped:
            given["hidden_states"] = self._hidden(outputs)
        if ROUTED in wanted:
            routed = first_of(given[ROUTED], field(outputs, "router_logits"), watch and watch.router_logits)
            given[ROUTED] = layers_of(routed)
            check_router(given[ROUTED], self.terms_need)
        tied = any(isinstance(p.term, MtpLoss) and p.term.heads == "tied" for p in plan.terms)
        if skipped or tied or given.get("mtp_hidden_states") is not None:
            given["lm_head"], given["lm_head_bias"] = self._head()
        return given

    def _hidden(self, outputs: Any) -> Tensor | None:
        if self.watch is not None:
            return self.watch.take_hidden()
        layers: Any = field(outputs, "hidden_states")
        if layers is None and "hidden_states" in self.terms_need:
            raise ArgumentValueError(
                "`hidden_states` is missing: a term needs what the model's head reads. Pass the model, "
                "`compute_loss_func(loss, model=model)`, or set `model.config.output_hidden_states = True`."
            )
        last: Tensor | None = layers[-1] if isinstance(layers, (tuple, list)) else layers
        return last

    def _head(self) -> tuple[Tensor, Tensor | None]:
        if self.watch is None:
            raise ArgumentValueError(
                "`lm_head` is missing: a term projects through the model's head. Pass the model: "
                "`compute_loss_func(loss, model=model)`."
            )
        return head_weight(self.watch.inner)
