"""Gradients of the `linear` engine as PyTorch users expect them: only what is needed, whatever comes from above."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from ava.compile import sweep
from ava.compile.batch import Measurements
from ava.compile.linear import measure_linear
from tests.engines.both import Heard, assert_same, everything, hear, load, shaped_logits
from tests.laws.table import EXACT, assert_gradients, floats, gradients, scaled, together
from tests.reference.samples import Sample

SAMPLE = everything(90)
FUTURE = everything(91, mtp=2, mtp_hidden=True)


def loss_of(sample: Sample = SAMPLE, dtype: torch.dtype = torch.float64, **terms: Any) -> Loss:
    """Every term that the sample allows, and future-token heads; in chunks of 7 rows."""
    chosen = terms or {"mtp_loss": {"heads": "tied"}, **together(sample)}
    return load(sample.config(chosen), dtype, **{"compile.chunk_tokens": 7}).eval()


def needs(sample: Sample, *names: str) -> dict[str, Any]:
    """Inputs in float64 of which only those named want a gradient."""
    inputs = sample.leaves(torch.float64).inputs
    for name, leaf in floats(inputs):
        leaf.requires_grad_(name in names)
    return inputs


def called(loss: Loss, inputs: dict[str, Any]) -> Tensor:
    out = loss(**inputs)
    assert isinstance(out, Tensor)
    return out


class Made:
    """The gradients that the operator makes in the forward pass, by shape."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shapes: list[tuple[int, ...]] = []
        inner = sweep._sweep

        def spy(one: sweep.Sweep, tensors: Any) -> Any:
            answer = inner(one, tensors)
            self.shapes = sorted(tuple(gradient.shape) for gradient in one.gradients.values())
            return answer

        monkeypatch.setattr(sweep, "_sweep", spy)


ROWS, WIDTH, COLUMNS = 26, 6, 16


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (("hidden_states",), [(ROWS, WIDTH)]),
        (("lm_head",), [(COLUMNS, WIDTH)]),
        (("lm_head_bias",), [(COLUMNS,)]),
        (("hidden_states", "lm_head_bias"), [(COLUMNS,), (ROWS, WIDTH)]),
        (("gate_logits.0",), []),
        ((), []),
    ],
    ids=str,
)
def test_only_what_is_needed_is_made(
    names: tuple[str, ...], shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch)
    loss = loss_of(**together(SAMPLE))
    inputs, every = needs(SAMPLE, *names), SAMPLE.leaves(torch.float64).inputs
    out = called(loss, inputs)
    assert made.shapes == shapes
    assert out.requires_grad == bool(names)
    if names:
        out.backward()
    expected = gradients(called(loss, every), every)
    found = {name: leaf.grad for name, leaf in floats(inputs) if leaf.grad is not None}
    assert set(found) == set(names)
    assert_gradients(found, {name: expected[name] for name in names}, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("heads", ["linear", "shared", "tied"])
def test_frozen_model_with_own_heads_to_train(heads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    loss = loss_of(mtp_loss={"heads": heads, "num_future_tokens": 2})
    expected = hear(loss, SAMPLE).gradients
    loss.zero_grad()
    called(loss, needs(SAMPLE)).backward()
    own = {name: parameter.grad for name, parameter in loss.named_parameters() if parameter.grad is not None}
    assert_gradients(own, {name: value for name, value in expected.items() if name.startswith("heads.")})
    states = (ROWS, WIDTH) if heads == "linear" else (2, ROWS, WIDTH)
    weight = {"linear": [(2, COLUMNS, WIDTH)], "shared": [(COLUMNS, WIDTH)], "tied": []}[heads]
    assert made.shapes == sorted([states, *weight])


def test_frozen_own_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    loss = loss_of(mtp_loss={"heads": "shared"}).requires_grad_(False)
    called(loss, needs(SAMPLE, "lm_head")).backward()
    assert made.shapes == [(COLUMNS, WIDTH)]


def test_low_rank_adapter_on_the_head() -> None:
    """The head's weight is no leaf: W = W0 + B A, and only A and B learn."""
    a = torch.randn(2, WIDTH, dtype=torch.float64, requires_grad=True)
    b = torch.randn(COLUMNS, 2, dtype=torch.float64, requires_grad=True)
    loss = loss_of()
    inputs = needs(SAMPLE)
    frozen = inputs["lm_head"]
    called(loss, {**inputs, "lm_head": frozen + b @ a}).backward()
    whole = (frozen + b @ a).detach().requires_grad_()
    (expected,) = torch.autograd.grad(called(loss, {**inputs, "lm_head": whole}), whole)
    torch.testing.assert_close(b.grad, expected @ a.T, **EXACT)
    torch.testing.assert_close(a.grad, b.T @ expected, **EXACT)
    assert frozen.grad is None


@pytest.mark.parametrize("factor", [0.0, 1e-6, -2.0, 3.7, 65536.0])
def test_any_upstream_gradient(factor: float) -> None:
    loss = loss_of()
    plain = hear(loss, SAMPLE).gradients
    found = hear(loss, SAMPLE, upstream=factor).gradients
    assert_gradients(found, scaled(plain, factor), rtol=1e-12, atol=1e-15 * max(1.0, abs(factor)))


def test_backward_twice_and_never_a_third_time() -> None:
    loss = loss_of()
    inputs = SAMPLE.leaves(torch.float64).inputs
    value = called(loss, inputs)
    value.backward(retain_graph=True)
    first = {name: leaf.grad.clone() for name, leaf in floats(inputs) if leaf.grad is not None}
    value.backward()
    for name, leaf in floats(inputs):
        if leaf.grad is not None:
            assert torch.equal(leaf.grad, 2 * first[name])
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


def test_a_second_backward_pass_through_the_rows_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator itself, where nothing after it complains first."""
    found: list[Measurements] = []

    def spy(*given: Any) -> Measurements:
        found.append(measure_linear(*given))
        return found[-1]

    monkeypatch.setattr("ava.run.loss.measure_linear", spy)
    called(loss_of(focal_loss={}), SAMPLE.leaves(torch.float64).inputs)
    found[0].sums["main_loss"].backward()
    with pytest.raises(RuntimeError, match=r"second time.*retain_graph=True"):
        found[0].sums["main_loss"].backward()


def test_two_losses_on_one_hidden_state() -> None:
    inputs = SAMPLE.leaves(torch.float64).inputs
    some, other = loss_of(focal_loss={}), loss_of(z_loss={"weight": 0.3}, mtp_loss={"heads": "tied"})
    separate = [gradients(called(loss, inputs), inputs) for loss in (some, other)]
    hidden, weight = (inputs[name] * 1.0 for name in ("hidden_states", "lm_head"))
    shared = {**inputs, "hidden_states": hidden, "lm_head": weight}
    (called(some, shared) + 2 * called(other, shared)).backward()
    for name in ("hidden_states", "lm_head", "lm_head_bias"):
        expected = separate[0][name] + 2 * separate[1][name]
        torch.testing.assert_close(inputs[name].grad, expected, **EXACT)


def test_gradients_add_up_in_grad() -> None:
    loss = loss_of()
    inputs = SAMPLE.leaves(torch.float64).inputs
    once = gradients(called(loss, inputs), inputs)
    for _ in range(3):
        called(loss, inputs).backward()
    assert_gradients({n: leaf.grad for n, leaf in floats(inputs) if leaf.grad is not None}, scaled(once, 3.0))


def test_a_gradient_that_was_handed_over_is_nobody_elses() -> None:
    """What backward scales in place and hands over is not touched by a later pass."""
    loss = loss_of()
    inputs = SAMPLE.leaves(torch.float64).inputs
    value = called(loss, inputs)
    (kept,) = torch.autograd.grad(value, inputs["lm_head"], retain_graph=True)
    before = kept.clone()
    (5 * value).backward()
    assert torch.equal(kept, before)
    torch.testing.assert_close(inputs["lm_head"].grad, 5 * before, **EXACT)
    inputs["lm_head"].grad.zero_()
    assert torch.equal(kept, before)


def test_asking_for_one_gradient() -> None:
    loss = loss_of()
    inputs = SAMPLE.leaves(torch.float64).inputs
    every = gradients(called(loss, inputs), inputs)
    for name in ("hidden_states", "lm_head", "lm_head_bias"):
        (found,) = torch.autograd.grad(called(loss, inputs), inputs[name])
        torch.testing.assert_close(found, every[name], **EXACT)


def test_hooks_see_each_gradient_once() -> None:
    loss = loss_of()
    inputs = SAMPLE.leaves(torch.float64).inputs
    seen: dict[str, list[Tensor]] = {"hidden_states": [], "lm_head": []}
    for name, calls in seen.items():
        inputs[name].register_hook(calls.append)
    done: list[Tensor] = []
    inputs["lm_head"].register_post_accumulate_grad_hook(lambda leaf: done.append(leaf.grad.clone()))
    called(loss, inputs).backward()
    for name, calls in seen.items():
        assert len(calls) == 1
        assert torch.equal(calls[0], inputs[name].grad)
    assert len(done) == 1


def test_a_hidden_state_that_is_no_leaf_and_changes_afterwards() -> None:
    inputs = SAMPLE.leaves(torch.float64).inputs
    loss = loss_of(focal_loss={})
    expected = gradients(called(loss, inputs), inputs)
    hidden = inputs["hidden_states"] * 1.0
    value = called(loss, {**inputs, "hidden_states": hidden})
    with torch.no_grad():
        hidden.zero_()
    assert_gradients(gradients(value, inputs), expected)


def by_layout(tensor: Tensor) -> dict[str, Tensor]:
    """The same numbers, in memory otherwise."""
    wider = torch.zeros(*tensor.shape[:-1], 2 * tensor.shape[-1], dtype=tensor.dtype)
    wider[..., ::2] = tensor
    return {
        "transposed": tensor.transpose(0, 1).contiguous().transpose(0, 1),
        "strided": wider[..., ::2],
    }


@pytest.mark.parametrize("layout", ["transposed", "strided"])
@pytest.mark.parametrize("name", ["hidden_states", "lm_head"])
def test_tensors_that_are_not_contiguous(name: str, layout: str) -> None:
    changed = Sample({**SAMPLE.inputs, name: SAMPLE.inputs[name]}, SAMPLE.model, SAMPLE.shift)
    inputs = changed.leaves(torch.float64).inputs
    inputs[name] = by_layout(inputs[name].detach())[layout].requires_grad_()
    assert not inputs[name].is_contiguous()
    loss = loss_of()
    expected = hear(loss, SAMPLE).gradients
    called(loss, inputs).backward()
    assert_gradients(
        {k: leaf.grad for k, leaf in floats(inputs) if leaf.grad is not None},
        {k: value for k, value in expected.items() if not k.startswith("heads.")},
    )


def test_expanded_tensors() -> None:
    """One row for all, and one vector for all columns."""
    row = torch.randn(1, 1, WIDTH, dtype=torch.float64, requires_grad=True)
    vector = torch.randn(1, WIDTH, dtype=torch.float64, requires_grad=True)
    loss = loss_of(focal_loss={}, ngram_penalty={"size": 2})
    given = SAMPLE.only("targets", "input_ids")
    found = torch.autograd.grad(
        loss(**given, hidden_states=row.expand(2, 13, WIDTH), lm_head=vector.expand(COLUMNS, WIDTH)), (row, vector)
    )
    logits = shaped_logits(row.expand(2, 13, WIDTH), vector.expand(COLUMNS, WIDTH), None, SAMPLE.model)
    expected = torch.autograd.grad(loss(logits, **given), (row, vector))
    for some, other in zip(found, expected, strict=True):
        torch.testing.assert_close(some, other, **EXACT)


def test_a_copy_and_what_was_pickled_go_on_like_the_original() -> None:
    settings = SAMPLE.config(together(SAMPLE), primary={"type": "deepseek", "temperature": {"adaptive": True}})
    loss = load(settings, **{"compile.chunk_tokens": 7})
    hear(loss, SAMPLE)
    others = [copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))]
    expected: Heard = hear(loss, SAMPLE)
    for other in others:
        assert_same(hear(other, SAMPLE), expected, rtol=0, atol=0)


def test_future_states_need_no_gradient() -> None:
    inputs = needs(FUTURE, "lm_head")
    every = FUTURE.leaves(torch.float64).inputs
    loss = loss_of(FUTURE, mtp_loss={})
    (found,) = torch.autograd.grad(called(loss, inputs), inputs["lm_head"])
    torch.testing.assert_close(found, gradients(called(loss, every), every)["lm_head"], **EXACT)
