"""What a loss remembers between calls: the step, the temperature and what it observed since the last step.

Everything is a buffer, updated on its device without a host synchronisation, so that a checkpoint resumes bit for
bit and a compiled graph never sees a new Python number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["HISTORY", "READY", "State", "close", "observe"]

HISTORY = 100
"""Values of the main loss that the adaptive temperature looks at."""
READY = 10
"""Values it needs before it moves."""
_UNSTEADY, _STEADY = 0.1, 0.05


class State(nn.Module):
    """Buffers of one loss, in float64 and int64 whatever ``Loss.to(dtype)`` says.

    A training-mode forward adds what it saw (:func:`observe`); a step boundary closes the optimizer step
    (:func:`close`), every so many forwards, or when an attached optimizer has stepped.
    """

    step: Tensor
    micro_step: Tensor
    temperature: Tensor
    history: Tensor
    observed: Tensor
    loss_sum: Tensor
    tokens: Tensor

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("micro_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float64))
        self.register_buffer("history", torch.zeros(HISTORY, dtype=torch.float64))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("loss_sum", torch.zeros((), dtype=torch.float64))
        self.register_buffer("tokens", torch.zeros((), dtype=torch.float64))

    def tensors(self) -> dict[str, Tensor]:
        """Return the buffers by name, as the compiled graph takes them; it updates them in place."""
        return dict(self.named_buffers())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> State:
        def move_only(buffer: Tensor) -> Tensor:
            moved = fn(buffer)
            if moved.dtype == buffer.dtype:
                return moved
            return torch.empty_like(buffer, device=moved.device) if buffer.is_meta else buffer.to(moved.device)

        super()._apply(move_only, recurse)
        return self


def observe(state: dict[str, Tensor], loss_sum: Tensor, tokens: Tensor) -> None:
    """Add a micro-step: the sum of its main loss over its valid positions, and their number."""
    state["loss_sum"].add_(loss_sum.to(state["loss_sum"].dtype))
    state["tokens"].add_(tokens.to(state["tokens"].dtype))
    state["micro_step"].add_(1)


def close(state: dict[str, Tensor], closes: Tensor, adaptive: bool, limits: Tensor) -> None:
    """Close the optimizer step where ``closes`` (a 0-d bool) says so: move the temperature, count the step.

    Args:
        state: the buffers of :class:`State`, updated in place.
        closes: whether this is a step boundary.
        adaptive: whether the temperature follows the main loss.
        limits: its change a step, its lowest and its highest value, ``[3]``.
    """
    if adaptive:
        _move_temperature(state, closes, limits)
    state["step"].add_(closes.long())
    state["micro_step"].mul_((~closes).long())
    # not a product: an infinite sum of a failed micro-step must not outlive its step
    for name in ("loss_sum", "tokens"):
        state[name].copy_(torch.where(closes, 0.0, state[name]))


def _move_temperature(state: dict[str, Tensor], closes: Tensor, limits: Tensor) -> None:
    history, observed, temperature = state["history"], state["observed"], state["temperature"]
    place = torch.arange(HISTORY, device=history.device)
    mean_loss = state["loss_sum"] / state["tokens"].clamp(min=1)
    seen = closes & (state["tokens"] > 0) & mean_loss.isfinite()
    history.copy_(torch.where((place == observed % HISTORY) & seen, mean_loss, history))
    observed.add_(seen.long())
    held = observed.clamp(max=HISTORY)
    filled = place < held
    mean = torch.where(filled, history, 0.0).sum() / held.clamp(min=1)
    variance = torch.where(filled, (history - mean).square(), 0.0).sum() / (held - 1).clamp(min=1)
    variation = variance.sqrt() / mean
    rate, low, high = limits.unbind()
    move = torch.where(variation > _UNSTEADY, rate, torch.where(variation < _STEADY, -rate, 0.0))
    moved = torch.minimum(torch.maximum(temperature + move, low), high)
    temperature.copy_(torch.where(closes & (held >= READY), moved, temperature))
