"""What a loss remembers, over long runs, against the reference's state machine written in plain Python."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from tests.reference.moe_balance_loss import step_load, update_bias, update_usage
from tests.reference.temperature import observation, temperatures

Micro = tuple[float, int]
"""A micro-step: the mean of its main loss over its valid positions, and how many there are."""


def adaptive(accumulate: int = 1, **temperature: Any) -> Loss:
    return Loss.load(
        {
            "version": 1,
            "primary": {"type": "deepseek", "temperature": {"adaptive": True, **temperature}},
            "reduction": {"gradient_accumulation_steps": accumulate},
            "compile": {"enabled": False},
        }
    )


def call(loss: Loss, micro: Micro) -> None:
    """One training forward whose main loss is the one asked for: of two tokens, at the temperature of the moment."""
    value, tokens = micro
    gap = float(loss.state.temperature) * math.log(math.expm1(value)) if math.isfinite(value) else math.nan
    logits = torch.zeros(1, 4, 2, dtype=torch.float64)
    logits[..., 1] = gap
    targets = torch.where(torch.arange(4)[None] < tokens, 0, -100)
    observed = loss(logits, targets)
    if tokens and math.isfinite(value):
        assert float(observed) == pytest.approx(value, rel=1e-9)


def steps_of(seed: int, count: int, accumulate: int) -> list[list[Micro]]:
    """Steps that are calm, then wild, then between, with micro-steps without tokens and some that are not a number."""
    rng = random.Random(seed)
    level = rng.uniform(1.0, 3.0)
    steps: list[list[Micro]] = []
    for number in range(count):
        spread = (0.01, 0.6, 0.07, 0.07)[4 * number // count] * level
        step = [(max(0.05, rng.gauss(level, spread)), rng.choice([0, 1, 2, 4, 4, 4])) for _ in range(accumulate)]
        if rng.random() < 0.04:
            step = [(value, 0) for value, _ in step]
        if rng.random() < 0.04:
            step[rng.randrange(accumulate)] = (math.nan, 2)
        steps.append(step)
    return steps


def observed(step: Sequence[Micro]) -> float | None:
    """What a step lets the history see: nothing where it is not a number."""
    if any(math.isnan(value) and tokens for value, tokens in step):
        return None
    return observation([value * tokens for value, tokens in step], [tokens for _, tokens in step])


@pytest.mark.parametrize(
    ("accumulate", "temperature"),
    [
        (1, {}),
        (1, {"initial": 1.9, "rate": 0.05}),
        (3, {"bounds": [0.97, 1.02], "rate": 0.003}),
        (1, {"initial": 3.0, "rate": 0.1}),  # from outside the bounds
        (2, {"rate": 0.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_temperature_over_a_long_run(seed: int, accumulate: int, temperature: dict[str, Any]) -> None:
    steps = steps_of(seed, 400 // accumulate, accumulate)
    expected = temperatures([observed(step) for step in steps], **temperature)
    loss = adaptive(accumulate, **temperature)
    found = []
    for step in steps:
        for micro in step:
            call(loss, micro)
        found.append(float(loss.state.temperature))
    assert found == pytest.approx(expected, abs=1e-12)
    assert int(loss.state.step) == len(steps)
    if not temperature:
        moves = {round(b - a, 6) for a, b in itertools.pairwise(expected)}
        assert moves >= {-0.01, 0.0, 0.01}, "the run should see it rise, fall and rest"


def test_temperature_waits_for_ten_observations() -> None:
    loss = adaptive()
    for count in range(12):
        call(loss, (1.0, 4))
        assert float(loss.state.temperature) == pytest.approx(1.0 if count < 9 else 1.0 - 0.01 * (count - 8))


def test_the_history_forgets_after_a_hundred() -> None:
    loss = adaptive(rate=0.001)
    for index in range(130):
        call(loss, (5.0 if index < 30 else 1.0, 4))
    assert sorted(loss.state.history.tolist()) == pytest.approx([1.0] * 100)
    assert int(loss.state.observed) == 130


def test_a_fixed_temperature_stays() -> None:
    primary = {"type": "deepseek", "temperature": {"initial": 1.4}}
    loss = Loss.load({"version": 1, "primary": primary, "compile": {"enabled": False}})
    for step in steps_of(2, 40, 1):
        call(loss, step[0])
    assert float(loss.state.temperature) == 1.4


def test_a_step_that_is_not_a_number_leaves_nothing_behind() -> None:
    loss = adaptive(accumulate=2)
    for micro in [(1.0, 4), (math.nan, 4), (2.0, 4), (2.0, 4)]:
        call(loss, micro)
    assert loss.state.history[:2].tolist() == pytest.approx([2.0, 0.0])
    assert (int(loss.state.step), int(loss.state.observed)) == (2, 1)
    assert (float(loss.state.loss_sum), float(loss.state.tokens)) == (0.0, 0.0)


def test_an_attached_optimizer_closes_what_any_number_of_forwards_saw() -> None:
    loss = adaptive()
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    loss.attach(optimizer)
    steps: list[list[Micro]] = [[(1.0, 4), (2.0, 2), (3.0, 0)], [(4.0, 1)], [], [(2.0, 4)] * 5]
    for step in steps:
        for micro in step:
            call(loss, micro)
        parameter.grad = torch.ones(())
        optimizer.step()
    wanted = [value for step in steps if (value := observed(step)) is not None]
    assert loss.state.history[: len(wanted)].tolist() == pytest.approx(wanted)
    assert (int(loss.state.step), int(loss.state.observed)) == (4, 3)
    del optimizer
    call(loss, (1.0, 4))  # a loss whose optimizer is gone counts forwards again
    assert int(loss.state.step) == 5


# ---- experts -------------------------------------------------------------------------------------------------------

LAYERS, EXPERTS, LENGTH = 2, 4, 6


def routed(rng: random.Random, tokens: int) -> tuple[dict[str, Tensor | list[Tensor]], list[list[float]]]:
    """A call with this many tokens routed, and the load of each layer."""
    favourite = rng.randrange(EXPERTS)

    def pick() -> list[int]:
        return rng.sample(range(EXPERTS), 2) if rng.random() < 0.5 else [favourite, (favourite + 1) % EXPERTS]

    chosen = [[pick() for _ in range(LENGTH)] for _ in range(LAYERS)]
    mask = torch.tensor([[1] * tokens + [0] * (LENGTH - tokens)])
    gates = [torch.tensor([[[rng.gauss(0, 1) for _ in range(EXPERTS)] for _ in range(LENGTH)]]) for _ in range(LAYERS)]
    loads = []
    for layer in chosen:
        counts = [sum(token.count(i) for token in layer[:tokens]) for i in range(EXPERTS)]
        loads.append([count / sum(counts) if sum(counts) else 0.0 for count in counts])
    indices = [torch.tensor([layer]) for layer in chosen]
    return {"attention_mask": mask, "gate_logits": gates, "expert_indices": indices}, loads


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("method", ["gradient", "switch", "loss_free"])
def test_expert_state_over_a_run(method: str, accumulate: int) -> None:
    term = {"method": method, "momentum": 0.7, "rate": 0.02}
    loss = Loss.load(
        {
            "version": 1,
            "terms": {"moe_balance_loss": term},
            "reduction": {"gradient_accumulation_steps": accumulate},
            "compile": {"enabled": False},
        }
    )
    rng = random.Random(accumulate)
    usage: list[list[float] | None] = [None] * LAYERS
    bias = [[0.0] * EXPERTS for _ in range(LAYERS)]
    for number in range(40):
        loads, tokens = [], []
        for _ in range(accumulate):
            tokens.append(0 if number % 9 == 4 else rng.randint(0, LENGTH))
            inputs, load = routed(rng, tokens[-1])
            loads.append(load)
            loss(torch.zeros(1, LENGTH, 5), torch.zeros(1, LENGTH, dtype=torch.int64), **inputs)
        for layer in range(LAYERS):
            f = step_load([load[layer] for load in loads], tokens)
            usage[layer] = update_usage(usage[layer], f, momentum=0.7)
            bias[layer] = update_bias(bias[layer], f, rate=0.02) if method == "loss_free" else bias[layer]
            known = usage[layer]
            if known is not None:
                assert loss.state.expert_usage[layer].tolist() == pytest.approx(known, abs=1e-12)
            assert loss.expert_bias[layer].tolist() == pytest.approx(bias[layer], abs=1e-12)
    assert (max(bias[0]) > 0.01) is (method == "loss_free")


def test_the_balance_term_uses_the_average_of_the_last_boundary() -> None:
    """Before the first boundary its own load; after it, what was there when the step began."""
    loss = Loss.load(
        {"version": 1, "terms": {"moe_balance_loss": {"weight": 1.0}}, "compile": {"enabled": False},
         "reduction": {"gradient_accumulation_steps": 2}}
    )  # fmt: skip
    rng = random.Random(3)
    usage: list[list[float] | None] = [None] * LAYERS
    seen: list[tuple[list[list[float]], int]] = []
    for number in range(8):
        inputs, load = routed(rng, 4)
        out = loss(torch.zeros(1, LENGTH, 5), torch.zeros(1, LENGTH, dtype=torch.int64), **inputs, return_detailed=True)
        expected = 0.0
        for layer, gate in enumerate(inputs["gate_logits"]):
            mean = gate[0, :4].softmax(1).mean(0).tolist()
            r = usage[layer] or load[layer]
            expected += sum((r[i] * EXPERTS - 1) * mean[i] for i in range(EXPERTS)) / LAYERS
        assert float(out["raw/moe_balance_loss"]) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        seen.append((load, 4))
        if number % 2:
            for layer in range(LAYERS):
                f = step_load([load[layer] for load, _ in seen], [tokens for _, tokens in seen])
                usage[layer] = update_usage(usage[layer], f)
            seen.clear()
