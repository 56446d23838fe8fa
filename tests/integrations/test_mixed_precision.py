"""Autocast, gradient scaling and half-precision models: the loss stays in float32, and a skipped step is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ava import Loss
from ava.config.roster import ROSTER
from tests.laws.table import case, config, lively, takes

HALF = [torch.bfloat16, torch.float16]


class Model(nn.Module):
    """A linear head over an embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(9, 16)
        self.head = nn.Linear(16, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 9, (2, 12), generator=torch.Generator().manual_seed(seed))


def loss_of(**overrides: Any) -> Loss:
    return Loss.load(
        "standard", overrides={"targets.shift": True, "compile.enabled": False, **overrides}, eos_token_id=0
    )


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_autocast_leaves_the_loss_in_float32(dtype: torch.dtype) -> None:
    model, batch = Model(), tokens()
    with torch.autocast("cpu", dtype=dtype):
        logits = model(batch)
        inside = loss_of()(logits, batch)
    assert logits.dtype == dtype
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss_of()(logits, batch))
    exact = loss_of()(logits.double(), batch)
    assert inside.item() == pytest.approx(exact.item(), rel=1e-6)
    inside.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in ROSTER if lively(name)])
def test_autocast_changes_no_term(name: str) -> None:
    sample = case(lively(name))
    assert takes(name, sample)
    settings = config(sample, {name: {}})

    def call(enabled: bool) -> tuple[Tensor, list[Tensor]]:
        leaves = sample.leaves(torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            total = Loss.load(settings)(**leaves.inputs)
        total.backward()
        found = [v for v in leaves.inputs.values() if isinstance(v, Tensor) and v.grad is not None]
        return total.detach(), [value.grad for value in found if value.grad is not None]

    plain, gradients = call(enabled=False)
    cast, cast_gradients = call(enabled=True)
    torch.testing.assert_close(cast, plain, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(cast_gradients, gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_a_model_in_half_precision(dtype: torch.dtype) -> None:
    """The loss of the same rounded logits in float64, within float32; the gradient within half precision."""
    model, batch, loss = Model().to(dtype), tokens(), loss_of(**{"terms.z_loss.weight": 1e-3}).to(dtype)
    logits = model(batch)
    logits.retain_grad()
    total = loss(logits, batch)
    total.backward()
    assert (total.dtype, logits.grad.dtype) == (torch.float32, dtype)
    assert loss.state.temperature.dtype == torch.float64
    wide = logits.detach().double().requires_grad_()
    expected = loss_of(**{"terms.z_loss.weight": 1e-3})(wide, batch)
    expected.backward()
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(logits.grad.double(), wide.grad, rtol=step, atol=1e-7)


def train(attach: bool, overflow: int | None) -> tuple[Loss, list[float]]:
    """Four steps with a gradient scaler; one of them may overflow."""
    model, loss = Model(), loss_of(**{"terms.z_loss.weight": {"from": 0.0, "to": 1.0, "steps": 10}})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=100)
    if attach:
        loss.attach(optimizer)
    seen = []
    for number in range(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            batch = tokens(number)
            total = loss(model(batch), batch)
        scaler.scale(total).backward()
        if number == overflow:
            model.head.weight.grad.fill_(torch.inf)
        scaler.step(optimizer)
        scaler.update()
        seen.append(float(loss.metrics()["step"]))
    return loss, seen


def test_gradients_are_scaled_as_any_others() -> None:
    model, batch, loss = Model(), tokens(), loss_of()
    loss(model(batch), batch).backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    (2.0**10 * loss(model(batch), batch)).backward()
    found = [p.grad / 2.0**10 for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_a_skipped_step_closes_nothing_where_the_optimizer_is_attached() -> None:
    loss, steps = train(attach=True, overflow=1)
    assert steps == [1, 1, 2, 3]
    assert int(loss.state.observed) == 3
    assert train(attach=True, overflow=None)[1] == [1, 2, 3, 4]


def test_without_it_calls_are_counted() -> None:
    _, steps = train(attach=False, overflow=1)
    assert steps == [1, 2, 3, 4]
