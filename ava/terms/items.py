"""What the terms that are no sum over rows of logits see: experts, and sampled hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Items"]


@dataclass(frozen=True)
class Items:
    """The inputs of a call beyond logits, flattened; each is there only if some term needs it.

    Attributes:
        hidden: sampled hidden states, ``[m, H]``.
        classes: the target of each sample, int64 ``[m]``; ``-1`` where it is not valid.
        gate_logits: ``[L, N, E]`` of ``L`` layers.
        load: share of the valid assignments that each expert got, ``[L, E]``, without a gradient.
        usage: the running average of the load as of the last step boundary, ``[L, E]``; the call's own load before
            the first.
        routed: bool ``[N]``: tokens that are not padding.
        expert_outputs: ``[E, N, H]``.
    """

    hidden: Tensor | None = None
    classes: Tensor | None = None
    gate_logits: Tensor | None = None
    load: Tensor | None = None
    usage: Tensor | None = None
    routed: Tensor | None = None
    expert_outputs: Tensor | None = None

    def mean_over_routed(self, values: Tensor) -> Tensor:
        """Return the mean of ``values [..., N]`` over the tokens that are not padding, ``[...]``; 0 without any."""
        import torch

        assert self.routed is not None
        kept = torch.where(self.routed, values, 0.0)
        return kept.sum(-1) / self.routed.sum().clamp(min=1)
