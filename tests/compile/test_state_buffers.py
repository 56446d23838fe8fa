"""The state's buffers by themselves: their dtype, their checkpoints, and what a boundary writes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from ava.compile.state import READY, Closing, State, close, observe
from ava.errors import ArgumentValueError
from tests.reference.moe_balance_loss import step_load, update_bias, update_usage

LIMITS = torch.tensor([0.01, 0.5, 2.0], dtype=torch.float64)
EVERYTHING = Closing(True, "loss_free", 0.9, 1e-3)


def micro_step(
    state: State, loss_sum: float, tokens: int, *, every: int = 1, closing: Closing, counts: Tensor | None = None
) -> None:
    """What a training-mode forward does with the state; ``every`` 0 leaves the closing to the caller."""
    after = observe(state.tensors(), torch.tensor([loss_sum, tokens], dtype=torch.float64), counts)
    if every:
        after = close(after, after["micro_step"] >= every, closing, LIMITS)
    state.write(after)


def with_experts(layers: int, experts: int) -> State:
    state = State(1.0)
    state.hold_experts(layers, experts)
    return state


@pytest.mark.parametrize("failed", [math.nan, math.inf, -math.inf])
def test_a_failed_micro_step_does_not_outlive_its_step(failed: float) -> None:
    state = State(1.0)
    for loss_sum in (4.0, failed, 4.0, 4.0, 4.0, 4.0):
        micro_step(state, loss_sum, 2, every=3, closing=Closing(True))
    assert (int(state.step), int(state.observed)) == (2, 1)
    assert float(state.history[0]) == 2.0


def test_a_loss_of_zero_moves_nothing() -> None:
    state = State(1.0)
    for _ in range(READY + 5):
        micro_step(state, 0.0, 3, closing=Closing(True))
    assert int(state.observed) == READY + 5
    assert float(state.temperature) == 1.0


def test_a_step_closed_by_hand_is_the_same_step() -> None:
    by_count, by_hand = State(1.0), State(1.0)
    for number in range(40):
        for part in (1.0, 3.0 + number % 5):
            micro_step(by_count, part, 1, every=2, closing=Closing(True))
            micro_step(by_hand, part, 1, every=0, closing=Closing(True))
        assert int(by_hand.micro_step) == 2
        by_hand.write(close(by_hand.tensors(), torch.tensor(True), Closing(True), LIMITS))
    for name, value in by_count.tensors().items():
        assert torch.equal(value, by_hand.tensors()[name]), name
    assert float(by_count.temperature) != 1.0


def test_a_step_that_does_not_close_changes_nothing_and_nothing_is_in_place() -> None:
    state, counts = with_experts(1, 2), torch.tensor([[1.0, 2.0]])
    for _ in range(READY + 2):
        micro_step(state, 3.0, 1, counts=counts, closing=EVERYTHING)
    micro_step(state, 3.0, 1, every=0, counts=counts, closing=EVERYTHING)
    before = {name: value.clone() for name, value in state.tensors().items()}
    after = close(state.tensors(), torch.tensor(False), EVERYTHING, LIMITS)
    closed = close(observe(state.tensors(), torch.tensor([3.0, 1.0]), counts), torch.tensor(True), EVERYTHING, LIMITS)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name
        assert torch.equal(state.tensors()[name], value), name
    assert float(closed["temperature"]) != float(before["temperature"])
    assert not torch.equal(closed["expert_bias"], before["expert_bias"])


def test_resuming_is_bit_for_bit() -> None:
    rng = torch.Generator().manual_seed(3)
    straight, resumed = with_experts(2, 4), with_experts(2, 4)
    for i in range(60):
        loss, counts = float(torch.rand((), generator=rng)) + 1, torch.randint(0, 9, (2, 4), generator=rng)
        micro_step(straight, loss, 2, every=2, closing=EVERYTHING, counts=counts)
        micro_step(resumed, loss, 2, every=2, closing=EVERYTHING, counts=counts)
        if i % 7 == 0:  # also in the middle of a step
            saved, resumed = resumed.state_dict(), State(5.0)
            resumed.load_state_dict(saved)  # makes room for the experts by itself
    for name, value in straight.tensors().items():
        assert torch.equal(value, resumed.tensors()[name]), name


@pytest.mark.parametrize("experts", [1, 3, 4])
@pytest.mark.parametrize("every", [1, 3])
def test_experts_against_exact_loads(every: int, experts: int) -> None:
    """Loads as fractions: an expert at the mean is exactly there, and its bias gets no push."""
    closing, rng = Closing(False, "loss_free", 0.8, 0.01), torch.Generator().manual_seed(11)
    state = with_experts(2, experts)
    usage: list[list[float] | None] = [None, None]
    bias = [[0.0] * experts, [0.0] * experts]
    for step in range(40):
        seen = torch.randint(0, 4, (every, 2, experts), generator=rng)
        if step % 6 < 2:  # nothing routed, the very first step included; then all in balance
            seen.fill_(step % 6 * 2)
        for counts in seen:
            micro_step(state, 1.0, 1, every=every, closing=closing, counts=counts)
        for layer in range(2):
            tokens = seen[:, layer].sum(1).tolist()
            loads: Any = [
                [Fraction(count, max(total, 1)) for count in counts]
                for counts, total in zip(seen[:, layer].tolist(), tokens, strict=True)
            ]
            load = step_load(loads, tokens)
            usage[layer] = update_usage(usage[layer], load, 0.8)
            bias[layer] = update_bias(bias[layer], load, 0.01)
            expected = [float(r) for r in usage[layer] or [0.0] * experts]
            assert state.expert_usage[layer].tolist() == pytest.approx(expected, abs=1e-12), step
            assert state.expert_bias[layer].tolist() == pytest.approx(bias[layer], abs=1e-12), step
        assert not bool(state.expert_counts.any())


def test_the_number_of_layers_and_experts_is_fixed_once_known() -> None:
    state = with_experts(2, 4)
    state.expert_bias.fill_(1.0)
    state.hold_experts(2, 4)
    assert bool((state.expert_bias == 1).all())
    with pytest.raises(ArgumentValueError, match=r"2 layers with 4 experts.*3 layers with 4 experts"):
        state.hold_experts(3, 4)


@pytest.mark.parametrize("cast", ["bfloat16", "half", "float", "double"])
def test_the_state_keeps_its_dtype(cast: str) -> None:
    state = State(1.0 + 2**-40)
    state.hold_experts(1, 2)
    state.history.fill_(1 / 3)
    kinds = {name: value.dtype for name, value in state.tensors().items()}
    assert set(kinds.values()) == {torch.float64, torch.int64}
    outer = torch.nn.ModuleList([torch.nn.Linear(2, 2), state])
    getattr(outer, cast)()
    assert outer[0].weight.dtype == getattr(torch, cast)
    assert {name: value.dtype for name, value in state.tensors().items()} == kinds
    assert float(state.temperature) == 1.0 + 2**-40  # not rounded on the way
    assert float(state.history[5]) == 1 / 3


def test_the_state_moves_between_devices() -> None:
    state = State(1.0).to("meta")
    assert {value.device.type for value in state.tensors().values()} == {"meta"}
    assert state.temperature.dtype == torch.float64
