"""Where nothing is valid every term is exactly 0, connected, with zero gradients; what ignored rows hold is nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ava import Loss
from ava.config.roster import ROSTER
from tests.laws.table import assert_gradients, assert_values, case, config, evaluate, expect, floats, lively, together
from tests.reference import samples
from tests.reference.samples import Sample


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("holding", [0.0, torch.nan, torch.inf], ids=str)
@pytest.mark.parametrize("items", [None, 5.0, 0])
@pytest.mark.parametrize("name", ROSTER)
def test_zero_and_connected(name: str, items: float | None, holding: float, dtype: torch.dtype) -> None:
    sample = samples.ignore_all(case(lively(name)))
    settings = config(sample, {name: {}}, "smoothed")
    call = sample.leaves(dtype)
    inputs: dict[str, Any] = {**call.inputs, "num_items": items}
    if holding:
        inputs["logits"] = torch.full_like(inputs["logits"], holding).requires_grad_()
    out = Loss.load(settings)(**inputs, return_detailed=True)
    for key in ("total_loss", "main_loss", name, f"raw/{name}", "metrics/tokens", "metrics/accuracy"):
        assert float(out[key].detach()) == 0, key
    assert out["total_loss"].requires_grad
    leaves = dict(floats(inputs))
    used = [leaf for leaf in leaves.values() if leaf.requires_grad]
    gradients = torch.autograd.grad(out["total_loss"], used, allow_unused=True)
    assert gradients[list(leaves).index("logits")] is not None
    for input_name, gradient in zip(leaves, gradients, strict=True):
        assert gradient is None or bool((gradient == 0).all()), input_name


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, 1e30], ids=str)
@pytest.mark.parametrize("primary", ["smoothed", "deepseek"])
def test_what_ignored_rows_hold_does_not_matter(primary: str, garbage: float) -> None:
    sample = samples.sample(40, eos=2, length=16, padding="right", batch=3, teacher=True, ignored=0.3)
    settings = config(sample, together(sample), primary)
    ignored = (sample.inputs["targets"] == -100) | (sample.inputs["attention_mask"] == 0)
    spoiled = {
        name: sample.inputs[name].masked_fill(ignored[..., None], garbage) for name in ("logits", "teacher_logits")
    }
    answer = evaluate(settings, Sample({**sample.inputs, **spoiled}, sample.model))
    expected = expect(settings, sample)
    assert_values(answer.values, expected.values)
    assert_gradients(answer.gradients, expected.gradients)
    assert bool((answer.gradients["logits"][ignored] == 0).all())


def test_padding_columns_take_no_part() -> None:
    sample = samples.sample(41, vocab=11, padded_vocab=16, eos=2)
    settings = config(sample, together(sample), "smoothed")
    clean = evaluate(settings, sample)
    for garbage in (torch.nan, torch.inf, -torch.inf, 1e30):
        logits = sample.inputs["logits"].clone()
        logits[..., 11:] = garbage
        spoiled = evaluate(settings, Sample({**sample.inputs, "logits": logits}, sample.model))
        assert torch.equal(spoiled.values["total_loss"], clean.values["total_loss"])
        assert torch.equal(spoiled.gradients["logits"], clean.gradients["logits"])
    assert bool((clean.gradients["logits"][..., 11:] == 0).all())


def test_masked_tokens_hold_no_experts() -> None:
    """The router's numbers at padding do not matter, whatever they are."""
    sample = case("experts_layers")
    settings = config(sample, together(sample))
    gone = sample.inputs["attention_mask"] == 0
    spoiled = {
        "gate_logits": [gate.masked_fill(gone[..., None], torch.nan) for gate in sample.inputs["gate_logits"]],
        "expert_outputs": sample.inputs["expert_outputs"].masked_fill(gone[None, ..., None], torch.nan),
    }
    answer = evaluate(settings, Sample({**sample.inputs, **spoiled}, sample.model))
    expected = evaluate(settings, sample)
    assert torch.equal(answer.values["total_loss"], expected.values["total_loss"])
    assert_gradients(answer.gradients, expected.gradients, rtol=0, atol=0)
