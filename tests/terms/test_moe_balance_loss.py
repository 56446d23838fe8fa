"""``moe_balance_loss``: what each method charges, and what it remembers from step to step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from ava.errors import ArgumentValueError
from tests.terms.by_hand import answer, close, flat, logs, make, raw, row, slope, term

# Top 1: three of four tokens go to expert 0. f = (¾, ¼), P = ((3·0.8 + 0.4)/4, …) = (0.7, 0.3).
GATES = ((0.8, 0.2), (0.8, 0.2), (0.8, 0.2), (0.4, 0.6))
TARGETS = row(0, 1, 2, 3)


def balance(method: str, **settings: Any) -> Loss:
    return make({"moe_balance_loss": {"method": method, **settings}}, top_k=1)


def value(loss: Loss, gates: Any, targets: Tensor = TARGETS, **inputs: Any) -> float:
    return raw(loss, flat(targets.shape[1], 4), targets, gate_logits=gates, **inputs)


def choices(*experts: int) -> Tensor:
    return torch.tensor([[[expert] for expert in experts]])


def test_switch() -> None:
    # Σ f P / u with u = ½: 2 (¾·0.7 + ¼·0.3) = 1.2
    assert value(balance("switch"), logs(*GATES)) == pytest.approx(1.2)
    # at balance it is 1, whatever the router thinks
    assert value(balance("switch"), logs(*GATES), expert_indices=choices(0, 0, 1, 1)) == pytest.approx(1)


def test_gradient_method_charges_the_overused() -> None:
    # before the first boundary r is the call's own f: ½·0.7 - ½·0.3 = 0.2; nothing at balance
    assert value(balance("gradient"), logs(*GATES)) == pytest.approx(0.2)
    even = choices(0, 0, 1, 1)
    assert value(balance("gradient"), logs(*GATES), expert_indices=even) == pytest.approx(0, abs=1e-12)
    # its gradient on token 0: p_0 (pressure_0 - Σ pressure p) / 4 = 0.8 (½ - 0.3)/4, and the negative of it
    gates = logs(*GATES)
    found = slope(balance("gradient"), gates, flat(4, 4), TARGETS, gate_logits=gates)
    close(found[0, 0], [0.04, -0.04])
    close(found[0, 3], [0.4 * (0.5 + 0.1) / 4, -0.4 * (0.5 + 0.1) / 4])


def test_running_usage_over_three_steps() -> None:
    # step 1 sees f = (¾, ¼): r = f. Step 2 sees (0, 1) but charges r: ½·0.7 - ½·0.3 = 0.2; then
    # r = 0.9·¾ + 0.1·0 = 0.675. Step 3 charges 2·0.175·(0.7 - 0.3) = 0.14.
    loss = balance("gradient")
    assert value(loss, logs(*GATES)) == pytest.approx(0.2)
    assert value(loss, logs(*GATES), expert_indices=choices(1, 1, 1, 1)) == pytest.approx(0.2)
    assert value(loss, logs(*GATES), expert_indices=choices(1, 1, 1, 1)) == pytest.approx(0.14)
    loss.eval()
    held = loss.state.expert_usage.clone()
    close(held, [[0.9 * 0.675, 0.9 * 0.325 + 0.1]])
    value(loss, logs(*GATES))
    assert torch.equal(loss.state.expert_usage, held)


def test_micro_steps_weigh_by_routed_tokens() -> None:
    # one step of two calls: 1 token to expert 0, then 3 tokens to expert 1. f = (¼, ¾), not the mean (½, ½).
    config = {"version": 1, "model": {"top_k": 1}, "terms": {"moe_balance_loss": {}}}
    loss = Loss.load(config, overrides={"compile.enabled": False, "reduction.gradient_accumulation_steps": 2})
    value(loss, logs((0.9, 0.1)), row(0))
    assert int(loss.state.expert_steps) == 0
    value(loss, logs(*[(0.1, 0.9)] * 3), row(0, 1, 2))
    close(loss.state.expert_usage, [[0.25, 0.75]])


def test_usage_to_aim_at() -> None:
    # where the load is what it should be, there is no pressure; switch: ¾·0.7/¾ + ¼·0.3/¼ = 1
    assert value(balance("gradient", target_expert_usage=[0.75, 0.25]), logs(*GATES)) == pytest.approx(0, abs=1e-12)
    assert value(balance("switch", target_expert_usage=[0.75, 0.25]), logs(*GATES)) == pytest.approx(1)
    # one number for all: Σ f P / ¼ = 4·0.6
    assert value(balance("switch", target_expert_usage=0.25), logs(*GATES)) == pytest.approx(2.4)


def test_loss_free_moves_a_bias_instead() -> None:
    # loads 4, 1, 1 against their mean 2: signs (-, +, +) = (-1, 1, 1), less their mean ⅓, times the rate
    loss = balance("loss_free", rate=0.3)
    with pytest.raises(ArgumentValueError, match="`expert_bias` is there after the first call"):
        _ = loss.expert_bias
    gates = flat(6, 3)
    experts = choices(0, 0, 0, 0, 1, 2)
    assert value(loss, gates, row(0, 1, 2, 3, 0, 1), expert_indices=experts) == 0
    close(loss.expert_bias, [[-0.4, 0.2, 0.2]])
    # then 2, 4, 0: (0, -1, 1), of zero mean already
    value(loss, gates, row(0, 1, 2, 3, 0, 1), expert_indices=choices(0, 0, 1, 1, 1, 1))
    close(loss.expert_bias, [[-0.4, -0.1, 0.5]])
    close(slope(loss.eval(), gates, flat(6, 4), row(0, 1, 2, 3, 0, 1), gate_logits=gates), torch.zeros(1, 6, 3))


def test_padding_is_not_routed_and_prompts_are() -> None:
    # a masked fifth token changes nothing, whatever its gates hold; an ignored target still is a routed token
    gates = torch.cat([logs(*GATES), torch.full((1, 1, 2), torch.nan, dtype=torch.float64)], 1)
    padded = value(balance("switch"), gates, row(0, 1, 2, 3, 0), attention_mask=row(1, 1, 1, 1, 0))
    assert padded == pytest.approx(1.2)
    assert value(balance("switch"), logs(*GATES), row(-100, -100, 2, 3)) == pytest.approx(1.2)
    assert value(balance("switch"), logs(*GATES), row(-100, -100, -100, -100)) == 0


def test_mean_over_layers_each_with_its_own_load() -> None:
    # the second layer is at balance: (1.2 + 1)/2. Each layer's choices are a slice of the indices.
    two = [logs(*GATES), logs(*GATES)]
    indices = [choices(0, 0, 0, 1), choices(0, 0, 1, 1)]
    assert value(balance("switch"), two, expert_indices=indices) == pytest.approx(1.1)
    assert value(balance("switch"), two, expert_indices=torch.stack(indices)) == pytest.approx(1.1)
    loss = balance("gradient")
    value(loss, two, expert_indices=indices)
    close(loss.state.expert_usage, [[0.75, 0.25], [0.5, 0.5]])


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (torch.zeros(1, 3, 2), {}, r"`gate_logits` should be \[\.\.\., E\] with B \* T = 4 leading entries"),
    (torch.zeros(4, 2, dtype=torch.int64), {}, "`gate_logits` should be .* floating-point"),
    ([], {}, "`gate_logits` should hold at least one layer"),
    ([torch.zeros(4, 2), torch.zeros(4, 3)], {}, "`gate_logits` should have one E for all layers, but .* 2, 3"),
    ([torch.zeros(4, 2), torch.zeros(3, 2)], {}, r"`gate_logits\[1\]` should be"),
    (torch.zeros(4, 2), {"expert_indices": [torch.zeros(4, 1).long()] * 2}, "`expert_indices` should have 1 layers"),
    (torch.zeros(4, 2), {"expert_indices": torch.zeros(4, 1)}, "`expert_indices` should hold integers"),
]


@pytest.mark.parametrize(("gates", "inputs", "message"), WRONG)
def test_wrong_inputs(gates: Any, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentValueError, match=message):
        value(balance("gradient"), gates, **inputs)


def test_number_of_experts_that_does_not_fit() -> None:
    gates = torch.zeros(4, 2)
    with pytest.raises(ArgumentValueError, match=r"`gate_logits` should have 3 experts \(`model.num_experts`\)"):
        value(make({"moe_balance_loss": {}}, num_experts=3), gates)
    with pytest.raises(ArgumentValueError, match=r"should have 3 experts .*target_expert_usage`\), but has 2"):
        value(balance("switch", target_expert_usage=[0.5, 0.25, 0.25]), gates)
    loss = balance("gradient")
    value(loss, gates)
    with pytest.raises(ArgumentValueError, match="of 1 layers with 2 experts as in earlier calls, but is of 2 layers"):
        value(loss, [gates, gates])


def test_without_gate_logits() -> None:
    with pytest.raises(ArgumentValueError, match="`gate_logits` is missing: `moe_balance_loss` needs it"):
        balance("switch")(flat(4, 4), TARGETS)
    with pytest.warns(UserWarning, match="`moe_balance_loss` is left out of calls without `gate_logits`"):
        out = answer(balance("switch", if_missing="skip"), flat(4, 4), TARGETS)
    assert "moe_balance_loss" not in out


@pytest.mark.parametrize("usage", [None, [0.75, 0.25], 0.5])
@pytest.mark.parametrize("method", ["gradient", "switch", "loss_free"])
def test_needs_and_untrained(method: str, usage: Any) -> None:
    # a router without a preference: P = f = (½, ½). Against (¾, ¼): ½·½/¾ + ½·½/¼ = 4/3 for `switch`, 1 less for
    # `gradient`.
    moe = term("moe_balance_loss", method=method, target_expert_usage=usage)
    assert moe.needs().inputs == ("gate_logits",)
    even = value(balance(method, target_expert_usage=usage), flat(4, 2), expert_indices=choices(0, 0, 1, 1))
    assert even == pytest.approx(moe.untrained(4), abs=1e-12)
