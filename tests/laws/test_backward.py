"""The gradient as PyTorch users expect it: any upstream, twice, on logits that others share, in the logits' dtype."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ava import Loss
from ava.config.roster import ROSTER
from tests.laws.table import Gradients, assert_gradients, case, config, evaluate, floats, gradients, lively, scaled

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def whole(dtype: torch.dtype = torch.float64) -> tuple[Loss, dict[str, Any]]:
    """A loss with every term that rows of logits allow, and a call of it."""
    sample = case("eos_segments_ids")
    terms = {name: {} for name in ROSTER if not ROSTER[name]().needs().inputs}
    return Loss.load(config(sample, terms, "smoothed")), sample.leaves(dtype).inputs


def call(name: str, dtype: torch.dtype = torch.float64) -> tuple[Loss, dict[str, Any]]:
    sample = case(lively(name))
    return Loss.load(config(sample, {name: {}}, "smoothed")), sample.leaves(dtype).inputs


@pytest.mark.parametrize("factor", [0.0, 1e-6, -2.0, 3.7, 65536.0, 1e6])
@pytest.mark.parametrize("name", ROSTER)
def test_upstream_gradient_of_any_scale(name: str, factor: float) -> None:
    loss, inputs = call(name)
    loss.eval()
    plain = gradients(loss(**inputs), inputs)
    assert_gradients(
        gradients(loss(**inputs) * factor, inputs),
        scaled(plain, factor),
        rtol=1e-12,
        atol=1e-15 * max(1.0, abs(factor)),
    )


@pytest.mark.parametrize("name", ROSTER)
def test_backward_twice(name: str) -> None:
    loss, inputs = call(name)
    value = loss(**inputs)
    value.backward(retain_graph=True)
    first: Gradients = {key: leaf.grad.clone() for key, leaf in floats(inputs) if leaf.grad is not None}
    value.backward()
    assert "logits" in first
    for key, leaf in floats(inputs):
        if leaf.grad is not None:
            assert torch.equal(leaf.grad, 2 * first[key])


def test_backward_of_an_output() -> None:
    loss, inputs = whole()
    out = loss(**inputs, return_detailed=True)
    out.backward()
    assert bool((inputs["logits"].grad != 0).any())
    detached = [name for name, value in out.items() if value.requires_grad]
    assert detached == ["total_loss"]


@pytest.mark.parametrize("mine_first", [True, False])
def test_logits_shared_with_another_loss(mine_first: bool) -> None:
    """Nothing is written into the logits, or into the gradient that another loss left."""
    loss, inputs = whole()
    loss.eval()
    targets = inputs["targets"].flatten()
    hidden, head = torch.randn(*inputs["logits"].shape[:2], 4).double(), torch.randn(11, 4).double().requires_grad_()

    def other(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), targets) + logits.square().mean()

    def mine(logits: Tensor) -> Tensor:
        value: Tensor = loss(**{**inputs, "logits": logits})
        return value

    alone = [torch.autograd.grad(f(hidden @ head.T), head)[0] for f in (mine, other)]
    logits = hidden @ head.T
    before = logits.detach().clone()
    both = [mine(logits), other(logits)] if mine_first else [other(logits), mine(logits)]
    (together,) = torch.autograd.grad(both[0] + both[1], head)
    torch.testing.assert_close(together, alone[0] + alone[1], rtol=1e-12, atol=1e-14)
    assert torch.equal(logits, before)
    assert logits._version == 0


def test_the_call_changes_none_of_its_tensors() -> None:
    loss, inputs = whole()
    before = {name: value.detach().clone() for name, value in inputs.items()}
    loss(**inputs).backward()
    for name, value in before.items():
        assert torch.equal(inputs[name].detach(), value), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ROSTER)
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    loss, inputs = call(name, dtype)
    out = loss(**inputs, return_detailed=True)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for key, value in out.items():
        assert value.shape == (), key
        assert value.dtype == (torch.int64 if key == "metrics/tokens" else wide), key
    for key, gradient in gradients(out["total_loss"], inputs).items():
        assert gradient.dtype == dtype, key
        assert gradient.shape == dict(floats(inputs))[key].shape
    plain = loss(**inputs)
    assert (plain.shape, plain.dtype) == ((), wide)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ROSTER)
def test_row_arithmetic_is_float32(name: str, dtype: torch.dtype) -> None:
    """16-bit logits that hold the same numbers give float32's loss, and its gradient rounded once."""
    sample = case(lively(name))
    settings = config(sample, {name: {}}, "smoothed")
    low, high = evaluate(settings, sample, dtype), evaluate(settings, sample.leaves(dtype), torch.float32)
    torch.testing.assert_close(low.values["total_loss"], high.values["total_loss"], rtol=1e-6, atol=0)
    rounded = {key: gradient.to(dtype) for key, gradient in high.gradients.items()}
    assert_gradients(low.gradients, rounded, rtol=torch.finfo(dtype).eps, atol=1e-7)


def test_a_second_derivative_is_refused() -> None:
    """The backward is written by hand, so there is none; it must not be a wrong one."""
    loss, inputs = whole()
    (first,) = torch.autograd.grad(loss(**inputs), inputs["logits"], create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.square().sum(), inputs["logits"])
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


def test_no_gradient_is_asked_for() -> None:
    loss, inputs = whole()
    with torch.no_grad():
        value = loss(**inputs)
    assert not value.requires_grad
    with torch.inference_mode():
        assert float(loss.eval()(**inputs)) == pytest.approx(float(value))
    assert not loss(**{**inputs, "logits": inputs["logits"].detach()}).requires_grad


def test_autocast_leaves_the_loss_in_float32() -> None:
    loss, inputs = whole(torch.bfloat16)
    loss.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(**inputs)
    assert inside.dtype == torch.float32
    assert float(inside.detach()) == float(loss(**inputs).detach())


def test_a_non_contiguous_gradient_is_taken() -> None:
    loss, inputs = whole()
    stacked = torch.stack([loss(**inputs), loss(**inputs)])
    value = stacked.expand(3, 2)[:, 0].sum()
    assert_gradients(gradients(value, inputs), scaled(gradients(loss(**inputs), inputs), 3.0), rtol=1e-12, atol=0)
