"""``UnifiedLoss`` and ``create_unified_loss``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from ava.compile.state import HISTORY, State
from ava.config import Config
from ava.errors import ArgumentTypeError, ArgumentValueError, ConfigError
from ava.losses.keywords import PLACES, Keywords
from ava.losses.translate import translate
from ava.run.loss import Loss
from ava.run.output import LossOutput

__all__ = ["UnifiedLoss", "create_unified_loss"]


class UnifiedLoss(Loss):
    """The loss of the original guide: flat keywords, translated into a configuration.

    >>> loss_fn = UnifiedLoss(vocab_size=50257, use_ngram_penalty=True, overrides={"compile.enabled": False})
    >>> loss_fn.primary_loss_type, loss_fn.ngram_penalty_weight, loss_fn.use_focal_loss
    ('deepseek', 0.1, False)
    >>> print(loss_fn.config.to_yaml())  # the way out, to a file for `ava.Loss.load`
    # yaml-language-server: ...
    version: 1
    model: {vocab_size: 50257}
    primary: {type: deepseek}
    terms:
      ngram_penalty: {}
    compile: {enabled: false}
    <BLANKLINE>

    Every keyword is optional and readable as an attribute; None stands for its default, which is that of the field
    that it sets (``ava-loss explain TERM``), ``primary_loss_type="deepseek"`` apart. What is less than obvious:

    * Targets lie as they are predicted: ``logits[b, t]`` predicts ``targets[b, t]``. For the tokens of the row
      themselves use ``overrides={"targets.shift": True}``.
    * A term is on if its switch (``use_…``) says so; where the switch is not given, if its weight is given and not 0.
      The EOS penalty is on if ``eos_token_id`` is given, unless its weight is 0.
    * ``use_diversity_loss`` means the outputs of experts where ``num_experts`` is set, else the predicted tokens.
    * ``use_moe_balancing`` balances by gradient; ``use_auxiliary_loss`` adds the Switch Transformer's balancing
      (``load_balancing_weight``) and the router z-loss (``router_z_weight``), each unless its weight is 0. Terms of a
      mixture are left out of calls without their tensors, which is said once.
    * ``primary_loss_type="adaptive_mtp"`` brings the future-token loss with it, weighed by confidence; ``use_mtp`` is
      not needed. ``mtp_type="deepseek"`` is ``weighting: uniform``, ``shared_projection=True`` is ``heads: shared``.
    * A keyword that changes nothing as it stands (``min_sequence_length`` without ``eos_token_id``) is a warning; one
      that contradicts another (an adaptive temperature with ``primary_loss_type="standard"``) is an error.

    Args:
        vocab_size: ``V``; by default, the width of the logits.
        hidden_size: ``H``, for heads of the loss's own (``use_mtp``).
        overrides: values of the configuration on top, for what has no keyword: ``{"compile.enabled": False}``.
        keywords: see :class:`~ava.losses.keywords.Keywords`.

    Raises:
        ArgumentTypeError: a keyword that does not exist, or of the wrong type.
        ArgumentValueError: a value out of range, or keywords that contradict each other.
        ConfigError: ``overrides`` has mistakes.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self,
        vocab_size: int | None = None,
        hidden_size: int | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        **keywords: Unpack[Keywords],
    ) -> None:
        told = translate({"vocab_size": vocab_size, "hidden_size": hidden_size, **keywords})
        for note in told.notes:
            warnings.warn(note, stacklevel=2)
        try:
            config = Config.load(told.document, overrides=overrides)
        except ConfigError as error:
            if overrides is not None:
                raise
            raise ArgumentValueError("\n".join(finding.message for finding in error.findings)) from None
        super().__init__(config)
        self.__dict__.update(told.values)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PLACES:
            raise AttributeError(f"`{name}` is fixed when the loss is made; make a new UnifiedLoss.")
        super().__setattr__(name, value)

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | Config,
        *,
        overrides: Any = None,
        **model: Any,
    ) -> Loss:
        """Return a plain :class:`~ava.Loss`: a file has no flat keywords."""
        return Loss.load(source, overrides=overrides, **model)

    def forward(  # type: ignore[override]
        self,
        logits: Tensor | None = None,
        targets: Tensor | None = None,
        attention_mask: Tensor | None = None,
        hidden_states: Tensor | None = None,
        *,
        return_detailed: bool = False,
        **tensors: Any,
    ) -> Tensor | dict[str, Tensor]:
        """Return the loss of a batch: the total, 0-d, or with ``return_detailed`` its parts.

        Args:
            logits: ``[B, T, V]``.
            targets: ``[B, T]`` integers, the token that each position predicts.
            attention_mask: ``[B, T]``, 0 for padding.
            hidden_states: ``[B, T, H]``; ignored where no term reads it, like every tensor.
            return_detailed: answer a dict of ``total_loss``, ``main_loss`` and each term weighted, so that these add
                up to the total; only the total is attached to the graph.
            tensors: ``gate_logits``, ``expert_indices``, ``expert_outputs``, and what :meth:`ava.Loss.forward` takes.
        """
        answer: Tensor | LossOutput = super().forward(
            logits,
            targets,
            attention_mask=attention_mask,
            hidden_states=hidden_states,
            return_detailed=return_detailed,  # type: ignore[call-overload]
            **tensors,
        )
        if isinstance(answer, Tensor):
            return answer
        return {name: value for name, value in answer.items() if "/" not in name}

    def get_loss_statistics(self) -> dict[str, float]:
        """Return what the loss holds now, as Python numbers: this waits for the device.

        ``step``, ``temperature``, ``weight/<term>``; ``main_loss``, its mean over the last 100 optimizer steps; and
        ``expert_usage/<layer>/<expert>``, the running share of the load. What was not observed yet is absent.
        """
        state = self.state
        found: dict[str, float] = {name: value.item() for name, value in self.metrics().items()}
        held = min(int(state.observed), HISTORY)
        if held:
            found["main_loss"] = state.history[:held].mean().item()
        if "expert_usage" in state._buffers and int(state.expert_steps):
            for layer, shares in enumerate(state.expert_usage.tolist()):
                found.update((f"expert_usage/{layer}/{expert}", share) for expert, share in enumerate(shares))
        return found

    @torch.no_grad()
    def reset_statistics(self) -> None:
        """Bring the state back to what it was before the first step: temperature, step, history, the experts' load."""
        temperature = self.config.primary.temperature
        fresh = State(1.0 if temperature is None else temperature.initial).tensors()
        for name, buffer in self.state.tensors().items():
            if name in fresh:
                buffer.copy_(fresh[name])
            else:
                delattr(self.state, name)


def create_unified_loss(config: Mapping[str, Any] | None = None, **keywords: Any) -> UnifiedLoss:
    """Return the :class:`UnifiedLoss` of a mapping of flat keywords.

    >>> create_unified_loss({"losses": {"use_focal_loss": True}}, vocab_size=100).focal_weight
    0.2

    Args:
        config: flat keywords, or a mapping that holds them in a section ``losses``.
        keywords: more of them; these win.

    Raises:
        ArgumentTypeError: ``config`` is no mapping, or holds a keyword that does not exist.
        ArgumentValueError: see :class:`UnifiedLoss`.
    """
    if config is not None and not isinstance(config, Mapping):
        raise ArgumentTypeError(f"`config` should be a mapping of keywords, but is {type(config).__name__}.")
    section = dict(config or {})
    if "losses" in section:
        section = section["losses"] or {}
        if not isinstance(section, Mapping):
            raise ArgumentTypeError(f"`losses` should be a mapping of keywords, but is {type(section).__name__}.")
    return UnifiedLoss(**{**section, **keywords})
