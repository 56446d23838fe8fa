"""torchtitan: a sum over tokens that the trainer divides by the valid tokens of the whole step, on all ranks.

Its trainers count ``global_valid_tokens`` over the micro-batches and ranks of an optimizer step, add gradients up
over ranks without averaging, and call ``loss_fn(pred, labels)`` (dividing the sum themselves) or, later,
``loss_fn(pred, labels, global_valid_tokens)``, which answers the quotient and a mapping of metrics. Labels are aligned
with the predictions already. :class:`TitanLoss` is called in either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.run.loss import Loss

__all__ = ["TitanLoss", "TitanLossConfig", "build_loss_fn"]


class TitanLoss:
    """A loss as torchtitan's trainer calls it.

    >>> import torch
    >>> loss = Loss.load("fast_prototype", overrides={"compile.enabled": False})
    >>> titan = TitanLoss(loss)
    >>> pred, labels = torch.zeros(1, 4, 8), torch.zeros(1, 4, dtype=torch.int64)
    >>> round(titan(pred, labels).item(), 3)  # a sum over 4 tokens, ln 8 each
    8.318
    >>> scaled, metrics = titan(pred, labels, torch.tensor(8.0))
    >>> round(scaled.item(), 3), metrics
    (1.04, {})

    Args:
        loss: the loss. Its state is saved where the trainer saves states: ``states={"loss": loss}``.
        with_metrics: whether a call with ``global_valid_tokens`` answers ``(loss, metrics)``, or the loss alone.

    Raises:
        ArgumentValueError: the configuration shifts targets, or learns its balance.
    """

    def __init__(self, loss: Loss, *, with_metrics: bool = True) -> None:
        if loss.config.targets.shift:
            raise ArgumentValueError(
                "torchtitan's labels are aligned with the predictions already: set `targets.shift: false`."
            )
        if loss.config.balancing == "uncertainty":
            raise ArgumentValueError(
                "`balancing: uncertainty` adds a part that is no sum over tokens, and torchtitan divides all of it by "
                "the tokens of the step; set `balancing: fixed`."
            )
        self.loss = loss
        self.with_metrics = with_metrics

    @property
    def fn(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The sum over tokens, ``fn(pred, labels)``. It compiles itself, as ``compile:`` in its file says."""
        return lambda pred, labels: self._call(pred, labels, 1, {})

    def __call__(
        self, pred: Tensor, labels: Tensor, global_valid_tokens: Tensor | float | None = None, **inputs: Any
    ) -> Any:
        """Return the sum over tokens, or with ``global_valid_tokens`` the quotient and the metrics.

        Args:
            pred: logits ``[B, T, V]``, or ``[N, V]`` of one packed row.
            labels: ``[B, T]`` or ``[N]``.
            global_valid_tokens: valid tokens of the optimizer step, over all its micro-batches and ranks.
            inputs: further tensors of ``Loss.forward``. ``positions``, which start at 0 in each document of a packed
                row, become its ``segment_ids``.
        """
        if global_valid_tokens is None:
            return self._call(pred, labels, 1, inputs)
        scaled = self._call(pred, labels, global_valid_tokens, inputs)
        return (scaled, {}) if self.with_metrics else scaled

    def _call(self, pred: Tensor, labels: Tensor, items: Tensor | float, inputs: Mapping[str, Any]) -> Tensor:
        given = dict(inputs)
        positions = given.pop("positions", None)
        if positions is not None and "segment_ids" not in given:
            given["segment_ids"] = (positions == 0).long().cumsum(-1)
        total: Tensor = self.loss(pred, labels, num_items=items, **given)
        return total


@dataclass(frozen=True, kw_only=True, slots=True)
class TitanLossConfig:
    """What to build, for a trainer that takes a configuration of its loss: ``build()`` answers a :class:`TitanLoss`.

    Attributes:
        source: a preset's name or a path.
        vocab_size: of the model.
        eos_token_id: of the tokenizer.
        with_metrics: see :class:`TitanLoss`.
    """

    source: str = "standard"
    vocab_size: int | None = None
    eos_token_id: int | None = None
    with_metrics: bool = True

    def build(self, *, compile_config: object = None) -> TitanLoss:
        """Return the loss. torchtitan's own ``compile_config`` is not used: ``compile:`` of the file says."""
        loss = Loss.load(self.source, vocab_size=self.vocab_size, eos_token_id=self.eos_token_id)
        return TitanLoss(loss, with_metrics=self.with_metrics)


def build_loss_fn(source: str | Loss, **model: Any) -> Callable[..., TitanLoss]:
    """Return the ``build_loss_fn`` of a ``TrainSpec``: called with the job's configuration, it answers the loss.

    The validator builds a loss of its own, so that training's state sees training's batches only.

    Args:
        source: a preset's name, a path, or a loss whose configuration is used.
        model: fields of ``model:`` that the source leaves open.

    Raises:
        ArgumentTypeError: ``source`` is none of these.
    """
    if not isinstance(source, (str, Loss)):
        raise ArgumentTypeError(f"`source` should be a preset's name, a path or a Loss, not {type(source).__name__}.")

    def build(job_config: object = None, **_: object) -> TitanLoss:
        return TitanLoss(Loss(source.config) if isinstance(source, Loss) else Loss.load(source, **model))

    return build
