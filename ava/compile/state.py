"""What a loss remembers between calls: the step, the temperature and what it observed since the last step.

Everything is a buffer, updated on its device without a host synchronisation, so that a checkpoint resumes bit for
bit and a compiled graph never sees a new Python number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ava.errors import ArgumentValueError

__all__ = ["HISTORY", "READY", "Closing", "State", "close", "keep_dtype", "observe"]

HISTORY = 100
"""Values of the main loss that the adaptive temperature looks at."""
READY = 10
"""Values it needs before it moves."""
_UNSTEADY, _STEADY = 0.1, 0.05
_EXPERT_TABLES = ("expert_usage", "expert_counts", "expert_bias")


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
    expert_usage: Tensor
    expert_counts: Tensor
    expert_bias: Tensor
    expert_steps: Tensor

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self._start = temperature
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("micro_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float64))
        self.register_buffer("history", torch.zeros(HISTORY, dtype=torch.float64))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("loss_sum", torch.zeros((), dtype=torch.float64))
        self.register_buffer("tokens", torch.zeros((), dtype=torch.float64))

    def hold_experts(self, layers: int, experts: int) -> None:
        """Make room for the load of ``L`` layers of ``E`` experts; once there is any, its shape is fixed.

        Raises:
            ArgumentValueError: an earlier call, or the checkpoint, had another number of layers or experts.
        """
        if "expert_usage" in self._buffers:
            held = tuple(self.expert_usage.shape)
            if held != (layers, experts):
                raise ArgumentValueError(
                    f"`gate_logits` should be of {held[0]} layers with {held[1]} experts as in earlier calls, but is "
                    f"of {layers} layers with {experts} experts."
                )
            return
        device, dtype = self.temperature.device, self.temperature.dtype
        for name in _EXPERT_TABLES:
            self.register_buffer(name, torch.zeros(layers, experts, dtype=dtype, device=device))
        self.register_buffer("expert_steps", torch.zeros((), dtype=torch.int64, device=device))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(prefix + "expert_usage")
        if isinstance(saved, Tensor) and saved.ndim == 2:
            self.hold_experts(*saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def tensors(self) -> dict[str, Tensor]:
        """Return the buffers by name, as the graph takes them."""
        return dict(self.named_buffers())

    @torch.no_grad()
    def write(self, after: dict[str, Tensor]) -> None:
        """Write new values into the buffers; what is absent stays."""
        for name, value in after.items():
            if value is not self._buffers[name]:
                getattr(self, name).copy_(value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> State:
        def move_only(buffer: Tensor) -> Tensor:
            moved = fn(buffer)
            if moved.dtype == buffer.dtype:
                return moved
            return keep_dtype(buffer, moved.device)

        nowhere = self.temperature.is_meta
        super()._apply(move_only, recurse)  # type: ignore[no-untyped-call]
        if nowhere and not self.temperature.is_meta:  # `to_empty` leaves whatever the memory held
            self.reset()
        return self

    @torch.no_grad()
    def reset(self) -> None:
        """Make all values those of a new loss."""
        for buffer in self.buffers():
            buffer.zero_()
        self.temperature.fill_(self._start)


def keep_dtype(buffer: Tensor, device: torch.device) -> Tensor:
    """Return the buffer on a device in its own dtype (float32 where the device has no float64)."""
    if buffer.is_meta:
        return torch.empty_like(buffer, device=device)
    if device.type == "mps" and buffer.dtype == torch.float64:
        return buffer.to(device=device, dtype=torch.float32)
    return buffer.to(device)


@dataclass(frozen=True, slots=True)
class Closing:
    """What a step boundary does beside counting: constants of the graph.

    Attributes:
        adaptive: whether the temperature follows the main loss.
        method: of ``moe_balance_loss``, or None.
        momentum: of the running average of the experts' load.
        rate: of the bias of ``method: loss_free``.
    """

    adaptive: bool
    method: str | None = None
    momentum: float = 0.0
    rate: float = 0.0


Tensors = dict[str, Tensor]


def observe(state: Tensors, seen: Tensor, expert_counts: Tensor | None) -> Tensors:
    """Return the state after a micro-step.

    Nothing here is in place: a graph that updates one buffer twice in place loses the first update under
    ``torch.compile`` (torch 2.13), so new values are computed from old ones and written once, by the caller.

    Args:
        state: the buffers of :class:`State`.
        seen: sum of the main loss over its valid positions, and their number, ``[2]`` float64.
        expert_counts: assignments of each expert, ``[L, E]``, or None.
    """
    after = dict(state)
    after["loss_sum"] = state["loss_sum"] + seen[0].to(state["loss_sum"].dtype)
    after["tokens"] = state["tokens"] + seen[1].to(state["tokens"].dtype)
    after["micro_step"] = state["micro_step"] + 1
    if expert_counts is not None:
        after["expert_counts"] = state["expert_counts"] + expert_counts.to(state["expert_counts"].dtype)
    return after


def close(state: Tensors, closes: Tensor, closing: Closing, limits: Tensor) -> Tensors:
    """Return the state after the optimizer step is closed, where ``closes`` (a 0-d bool) says so.

    Args:
        state: the buffers of :class:`State`.
        closes: whether this is a step boundary.
        closing: what a boundary does beside counting.
        limits: the temperature's change a step, its lowest and its highest value, ``[3]``.
    """
    after = {**state, **_remembered(state, closes)}
    if closing.adaptive:
        after["temperature"] = _moved_temperature(after, closes, limits)
    if closing.method is not None and "expert_counts" in state:
        after.update(_balanced_experts(state, closes, closing))
    after["step"] = state["step"] + closes.long()
    # not a product: an infinite sum of a failed micro-step must not outlive its step
    for name in ("micro_step", "loss_sum", "tokens", "expert_counts"):
        if name in state:
            after[name] = torch.where(closes, torch.zeros_like(state[name]), state[name])
    return after


def _balanced_experts(state: Tensors, closes: Tensor, closing: Closing) -> Tensors:
    counts, usage, steps = state["expert_counts"], state["expert_usage"], state["expert_steps"]
    routed = counts.sum(1, keepdim=True)
    load = counts / routed.clamp(min=1)
    seen = closes & (routed > 0)
    average = torch.where(steps > 0, closing.momentum * usage + (1 - closing.momentum) * load, load)
    after = {"expert_usage": torch.where(seen, average, usage), "expert_steps": steps + seen.any().long()}
    if closing.method == "loss_free":
        bias = state["expert_bias"]
        moved = bias + closing.rate * (routed - counts * counts.shape[1]).sign()  # mean(load) - load, exactly
        after["expert_bias"] = torch.where(seen, moved - moved.mean(1, keepdim=True), bias)
    return after


def _remembered(state: Tensors, closes: Tensor) -> Tensors:
    place = torch.arange(HISTORY, device=state["history"].device)
    mean_loss = state["loss_sum"] / state["tokens"].clamp(min=1)
    seen = closes & (state["tokens"] > 0) & mean_loss.isfinite()
    history = torch.where((place == state["observed"] % HISTORY) & seen, mean_loss, state["history"])
    return {"history": history, "observed": state["observed"] + seen.long()}


def _moved_temperature(state: Tensors, closes: Tensor, limits: Tensor) -> Tensor:
    history, temperature = state["history"], state["temperature"]
    held = state["observed"].clamp(max=HISTORY)
    filled = torch.arange(HISTORY, device=history.device) < held
    mean = torch.where(filled, history, 0.0).sum() / held.clamp(min=1)
    variance = torch.where(filled, (history - mean).square(), 0.0).sum() / (held - 1).clamp(min=1)
    variation = variance.sqrt() / mean
    rate, low, high = limits.unbind()
    move = torch.where(variation > _UNSTEADY, rate, torch.where(variation < _STEADY, -rate, 0.0))
    moved = torch.minimum(torch.maximum(temperature + move, low), high)
    return torch.where(closes & (held >= READY), moved, temperature)
