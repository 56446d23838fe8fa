"""The loss inside a region that is run again for its backward pass, or whose saved tensors are moved away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ava import Loss
from tests.engines.both import arguments, everything, hear, load
from tests.laws.table import assert_gradients, floats, together

SAMPLE = everything(110)
MOVING = {"z_loss": {"weight": {"from": 0.0, "to": 0.5, "steps": 3}}}
"""A weight that is another one in the next step."""


def loss_of(**terms: Any) -> Loss:
    primary = {"type": "deepseek", "temperature": {"initial": 1.2, "adaptive": True}}
    settings = SAMPLE.config({**together(SAMPLE), **terms}, primary=primary)
    return load(settings, **{"compile.chunk_tokens": 7})


def inside(loss: Loss, engine: str, reentrant: bool) -> dict[str, Tensor]:
    """The gradients of a call within a checkpoint."""
    inputs = SAMPLE.leaves(torch.float64).inputs
    hidden = inputs.pop("hidden_states")

    def region(hidden: Tensor) -> Tensor:
        out = loss(**arguments(loss, {**inputs, "hidden_states": hidden}, engine))
        assert isinstance(out, Tensor)
        return out

    checkpoint(region, hidden, use_reentrant=reentrant).backward()
    leaves = [*floats(inputs), ("hidden_states", hidden)]
    return {name: leaf.grad for name, leaf in leaves if leaf.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_gradients_within_a_checkpoint(engine: str, reentrant: bool) -> None:
    """In evaluation mode: nothing is counted."""
    assert_gradients(inside(loss_of().eval(), engine, reentrant), hear(loss_of().eval(), SAMPLE).gradients)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_a_checkpointed_call_is_one_step(engine: str, reentrant: bool) -> None:
    """Run twice, it is still the same call: the gradient of the weights it had, and counted once."""
    loss, plain = loss_of(**MOVING), loss_of(**MOVING)
    for _ in range(2):
        found, expected = inside(loss, engine, reentrant), hear(plain, SAMPLE).gradients
        assert_gradients(found, expected)
        assert int(loss.metrics()["step"]) == int(plain.metrics()["step"])


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_saved_tensors_may_be_moved(engine: str) -> None:
    loss = loss_of()
    inputs = SAMPLE.leaves(torch.float64).inputs
    with torch.autograd.graph.save_on_cpu():
        loss(**arguments(loss, inputs, engine)).backward()
    found = {name: leaf.grad for name, leaf in floats(inputs) if leaf.grad is not None}
    assert_gradients(found, hear(loss_of(), SAMPLE).gradients)
