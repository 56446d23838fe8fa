"""The state that a call computes with: the loss's own, or that of the call which is being computed again."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from ava.compile.state import State

__all__ = ["Recall"]

_KEPT = 16


class Recall:
    """Remembers the state before the last calls, for activation checkpointing.

    A checkpointed region runs a second time in the backward pass. That call must see the weights and the temperature
    of the first one, although the step may have closed since, and must not be observed again.
    """

    def __init__(self) -> None:
        self._before: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=_KEPT)

    def state_of(self, state: State, targets: Tensor, training: bool) -> tuple[dict[str, Tensor], bool]:
        """Return the state of a call, and whether the call is to be observed.

        They are copies: a compiled graph may keep one of them for its backward pass, and the loss's own change in
        place before that. A call inside a backward pass gets the state of the last call with the same targets.

        Args:
            state: the loss's own.
            targets: those of the call.
            training: whether the loss is in training mode.
        """
        if torch.compiler.is_compiling():
            return {name: value.clone() for name, value in state.tensors().items()}, True
        again = torch._C._current_graph_task_id() != -1
        address = targets.data_ptr()
        if again and training and self._before:
            same = [before for known, before in self._before if known == address]
            return (same or [self._before[-1][1]])[-1], False
        before = {name: value.clone() for name, value in state.tensors().items()}
        if training:
            self._before.append((address, before))
        return before, True
