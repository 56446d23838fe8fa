"""The module around the graph: ways to call it, its state, copies and checkpoints."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import ava
from ava.errors import ArgumentTypeError

B, T, V = 2, 6, 13
EAGER = {"compile.enabled": False}
ADAPTIVE = {
    "version": 1,
    "primary": {"type": "deepseek", "temperature": {"adaptive": True, "rate": 0.05}},
    "terms": {"z_loss": {"weight": {"from": 0, "to": 1, "steps": 7}}, "token_diversity_loss": {}},
    "reduction": {"gradient_accumulation_steps": 3},
}


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, T, V, generator=generator) * (1 + seed % 4) ** 2, torch.randint(
        V, (B, T), generator=generator
    )


def plain() -> ava.Loss:
    return ava.Loss.load({"version": 1}, overrides=EAGER)


def adaptive(**overrides: Any) -> ava.Loss:
    return ava.Loss.load(ADAPTIVE, overrides={**EAGER, **overrides})


def test_standard_alone_is_the_cross_entropy_of_torch() -> None:
    x, y = batch()
    y[0, 1] = -100
    torch.testing.assert_close(plain()(x, y), F.cross_entropy(x.flatten(0, 1), y.flatten()))
    smooth = ava.Loss.load({"version": 1, "primary": {"label_smoothing": 0.1}}, overrides=EAGER)
    expected = F.cross_entropy(x.flatten(0, 1), y.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(smooth(x, y), expected)


def test_positions_keywords_flat_rows_and_other_layouts_agree() -> None:
    x, y = batch()
    expected = plain()(x, y)
    assert expected.shape == ()
    torch.testing.assert_close(plain()(logits=x, targets=y), expected)
    torch.testing.assert_close(plain()(x.flatten(0, 1), y.flatten()), expected)
    torch.testing.assert_close(plain()(x, y.int()), expected)
    strided = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous()
    torch.testing.assert_close(plain()(strided, y), expected)
    wide = torch.randn(B, T, 2 * V)
    wide[..., ::2] = x
    torch.testing.assert_close(plain()(wide[..., ::2], y), expected)


@pytest.mark.parametrize(
    "items", [24, 24.0, torch.tensor(24), torch.tensor([24.0]), torch.tensor(24, dtype=torch.int32)]
)
def test_num_items_divides_the_sum(items: object) -> None:
    x, y = batch()
    expected = F.cross_entropy(x.flatten(0, 1), y.flatten(), reduction="sum") / 24
    torch.testing.assert_close(plain()(x, y, num_items=items), expected)


def test_the_output_is_a_mapping_whose_parts_add_up() -> None:
    x, y = batch()
    x.requires_grad_()
    out = adaptive()(x, y, return_detailed=True)
    assert isinstance(out, Mapping)
    parts = [value for name, value in out.items() if "/" not in name and name != "total_loss"]
    torch.testing.assert_close(torch.stack(parts).sum(), out["total_loss"].detach())
    assert [name for name, value in out.items() if value.requires_grad] == ["total_loss"]
    logged = out.log_dict()
    assert {"loss/total", "loss/main", "loss/z_loss", "raw/z_loss", "metrics/temperature"} <= set(logged)
    assert not any(value.requires_grad for value in logged.values())
    out.backward()
    assert x.grad is not None


def test_a_step_closes_after_the_configured_number_of_forwards_in_training_only() -> None:
    loss = adaptive()
    steps = []
    for seed in range(7):
        loss(*batch(seed))
        steps.append(int(loss.metrics()["step"]))
    assert steps == [0, 0, 1, 1, 1, 2, 2]
    before = copy.deepcopy(loss.state_dict())
    loss.eval()
    loss(*batch(9))
    loss(*batch(9), return_detailed=True)
    for name, value in loss.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_an_attached_optimizer_closes_the_step() -> None:
    weight = torch.nn.Parameter(torch.zeros(V))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    loss = adaptive().attach(optimizer)
    for step in range(3):
        for seed in range(4):
            x, y = batch(seed)
            loss(x + weight, y).backward()
        assert int(loss.metrics()["step"]) == step
        optimizer.step()
        optimizer.zero_grad()
    assert int(loss.metrics()["step"]) == 3
    assert loss.metrics()["weight/z_loss"].item() == pytest.approx(3 / 7)


def test_attaching_to_no_optimizer_leaves_things_as_they_are() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    loss = adaptive().attach(optimizer)
    with pytest.raises(ArgumentTypeError, match=r"`attach` takes a `torch\.optim\.Optimizer`, not Linear"):
        loss.attach(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    optimizer.step()
    assert int(loss.metrics()["step"]) == 1


def test_what_was_made_on_meta_starts_as_new_after_to_empty() -> None:
    config = {
        "version": 1,
        "primary": {"type": "deepseek", "temperature": {"initial": 1.3, "adaptive": True}},
        "terms": {"z_loss": {"weight": {"from": 0.5, "to": 1.0, "steps": 10}}},
    }
    new = ava.Loss.load(config, overrides=EAGER)
    with torch.device("meta"):
        made = ava.Loss.load(config, overrides=EAGER)
    made = made.to_empty(device="cpu")
    for name, value in [*new.named_buffers(), *new.metrics().items()]:
        other = dict([*made.named_buffers(), *made.metrics().items()])[name]
        torch.testing.assert_close(other, value, rtol=0, atol=0)
    assert made(*batch()).item() == new(*batch()).item()


def test_stopping_in_the_middle_of_a_window_and_resuming_is_bit_identical() -> None:
    def run(loss: ava.Loss, first: int, last: int) -> list[float]:
        return [loss(*batch(seed)).item() for seed in range(first, last)]

    whole = adaptive()
    expected = run(whole, 0, 60)
    part = adaptive()
    assert run(part, 0, 40) == expected[:40]  # 40 is not a multiple of 3
    resumed = adaptive()
    resumed.load_state_dict(pickle.loads(pickle.dumps(part.state_dict())))
    assert run(resumed, 40, 60) == expected[40:]
    assert whole.metrics()["temperature"].item() != 1.0
    for name, value in resumed.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=0, atol=0)


def test_the_state_of_experts_resumes_in_a_loss_that_has_seen_none() -> None:
    config = {"version": 1, "terms": {"moe_balance_loss": {"method": "loss_free"}}}
    first = ava.Loss.load(config, overrides=EAGER)
    gates = torch.randn(3, B, T, 4)
    first(*batch(), gate_logits=list(gates))
    assert first.expert_bias.shape == (3, 4)
    second = ava.Loss.load(config, overrides=EAGER)
    with pytest.raises(ava.errors.AvaError, match="after the first call"):
        _ = second.expert_bias
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second.expert_bias, first.expert_bias)
    torch.testing.assert_close(second.expert_bias.mean(1), torch.zeros(3, dtype=torch.float64))


def test_numbers_of_the_state_keep_their_precision_whatever_the_module_is_cast_to() -> None:
    loss = ava.Loss.load(
        {**ADAPTIVE, "terms": {"mtp_loss": {"weight": 0.1}}, "model": {"vocab_size": V, "hidden_size": 4}}
    ).to(torch.bfloat16)
    assert loss.state.temperature.dtype == torch.float64
    assert loss.metrics()["weight/mtp_loss"].item() == 0.1
    assert {parameter.dtype for parameter in loss.parameters()} == {torch.bfloat16}


def test_copies_are_independent() -> None:
    loss = adaptive()
    for seed in range(5):
        loss(*batch(seed))
    twin = copy.deepcopy(loss)
    other = pickle.loads(pickle.dumps(loss))
    assert int(twin.metrics()["step"]) == int(other.metrics()["step"]) == 1
    loss(*batch(5))
    assert int(loss.metrics()["step"]) == 2
    assert int(twin.metrics()["step"]) == 1
    assert twin.config == loss.config
    assert pickle.loads(pickle.dumps(loss.config)) == loss.config


def test_learned_balancing_has_a_parameter_per_term_and_starts_at_half() -> None:
    config = {"version": 1, "terms": {"z_loss": {"weight": 1.0}}, "balancing": "uncertainty"}
    loss = ava.Loss.load(config, overrides=EAGER)
    x, y = batch()
    out = loss(x, y, return_detailed=True)
    torch.testing.assert_close(out["z_loss"], 0.5 * out["raw/z_loss"])
    out["total_loss"].backward()
    assert loss.log_variances is not None
    assert loss.log_variances.grad is not None
    torch.testing.assert_close(loss.log_variances.grad[0], 0.5 - 0.5 * out["raw/z_loss"])


def test_presets_load_with_what_they_need() -> None:
    for name in ("standard", "moe", "anti_repetition", "mtp", "fast_prototype", "production"):
        loss = ava.Loss.load(name, vocab_size=V, hidden_size=4, eos_token_id=0, overrides=EAGER)
        assert loss.explain() == str(loss.plan)
        assert loss.config.primary.type in repr(loss)


def test_hidden_states_and_a_head_stand_for_logits() -> None:
    hidden = torch.randn(B, T, 4, requires_grad=True)
    head = torch.randn(V, 4, requires_grad=True)
    bias = torch.randn(V, requires_grad=True)
    _, y = batch()
    config = {"version": 1, "model": {"logit_scale": 0.5, "logit_softcap": 3.0}, "terms": {"z_loss": {}}}
    loss = ava.Loss.load(config, overrides=EAGER)
    direct = loss(hidden_states=hidden, lm_head=head, lm_head_bias=bias, targets=y)
    logits = 3.0 * torch.tanh((0.5 * hidden @ head.T + bias) / 3.0)
    expected = loss(logits, y)
    torch.testing.assert_close(direct, expected)
    ours = torch.autograd.grad(direct, (hidden, head, bias))
    for mine, theirs in zip(ours, torch.autograd.grad(expected, (hidden, head, bias)), strict=True):
        torch.testing.assert_close(mine, theirs)
