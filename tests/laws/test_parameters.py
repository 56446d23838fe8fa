"""What the loss learns itself, its future-token heads and the weights of its terms, against the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from tests.laws.table import (
    EXACT,
    Gradients,
    assert_gradients,
    assert_values,
    case,
    config,
    floats,
    takes,
    together,
)
from tests.reference import samples, total
from tests.reference.samples import Sample

NAMES = {"norm_weight": "norm_weight", "norm_bias": "norm_bias", "block": "block_weight", "projection": "weight"}
"""The names of the heads' parameters here, and in the reference."""


def hidden_only(heads: str, **options: Any) -> Sample:
    """Logits and hidden states, and the model's head where the heads are tied to it."""
    sample = samples.sample(61, hidden=6, head_bias=heads == "tied", eos=2, packed="eos", length=14, **options)
    if heads != "tied":
        return sample
    weight = samples.normal(samples.generator(1), options.get("padded_vocab") or 11, 6, scale=0.4)
    return Sample({**sample.inputs, "lm_head": weight}, {**sample.model, "logit_softcap": 4.0}, sample.shift)


def randomised(loss: Loss) -> Loss:
    rng = samples.generator(2)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(samples.normal(rng, *parameter.shape, scale=0.3))
    return loss


def answers(value: Tensor, leaves: dict[str, Tensor]) -> Gradients:
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(leaves, found, strict=True) if gradient is not None}


@pytest.mark.parametrize("options", [{}, {"shift": True}, {"padded_vocab": 16}], ids=str)
@pytest.mark.parametrize("weighting", ["uniform", "adaptive"])
@pytest.mark.parametrize("heads", ["linear", "shared", "tied"])
def test_own_heads(heads: str, weighting: str, options: dict[str, Any]) -> None:
    sample = hidden_only(heads, **options)
    term = {"heads": heads, "weighting": weighting, "num_future_tokens": 2, "weight": 0.8}
    settings = config(sample, {"mtp_loss": term}, "deepseek")
    loss = randomised(Loss.load(settings).double())
    assert loss.heads is not None
    inputs, mine = sample.leaves(torch.float64).inputs, dict(loss.heads.named_parameters())
    out = loss(**inputs, return_detailed=True)
    gradients = answers(out["total_loss"], {**dict(floats(inputs)), **mine})

    theirs = {name: parameter.detach().clone().requires_grad_() for name, parameter in mine.items()}
    leaves = sample.leaves(torch.float64).inputs
    given = {NAMES[name]: value for name, value in theirs.items()}
    exact = total.reference(settings, **leaves, heads=given)
    assert_values(out, {name: value.detach() for name, value in exact.items()})
    expected = answers(exact["total_loss"], {**dict(floats(leaves)), **theirs})
    assert set(mine) <= set(expected)
    assert_gradients(gradients, expected)


def test_a_primary_that_brings_its_heads() -> None:
    """``adaptive_mtp`` is ``standard`` with the term, not a second way to compute it."""
    sample = case("mtp")
    implied = sample.config(primary={"type": "adaptive_mtp"}, compile={"enabled": False})
    named = config(sample, {"mtp_loss": {"weighting": "adaptive"}})
    left, right = (Loss.load(settings)(**sample.leaves().inputs, return_detailed=True) for settings in (implied, named))
    assert set(left) == set(right)
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=0, atol=0)
    exact = total.reference(implied, **sample.leaves(torch.float64).inputs)
    torch.testing.assert_close(left["total_loss"], exact["total_loss"], **EXACT)


@pytest.mark.parametrize("case_name", ["eos_segments", "everything", "experts_layers", "nothing_valid"])
def test_uncertainty_balancing(case_name: str) -> None:
    sample = case(case_name)
    terms = {name: {**settings, "weight": 0.6} for name, settings in together(sample).items() if takes(name, sample)}
    settings = config(sample, terms, "smoothed", balancing="uncertainty")
    loss = Loss.load(settings).double()
    assert loss.log_variances is not None
    assert loss.log_variances.tolist() == [0.0] * len(terms)
    randomised(loss)
    inputs = sample.leaves(torch.float64).inputs
    out = loss(**inputs, return_detailed=True)
    gradients = answers(out["total_loss"], {**dict(floats(inputs)), "log_variances": loss.log_variances})

    learned = loss.log_variances.detach().clone().requires_grad_()
    leaves = sample.leaves(torch.float64).inputs
    scales = {name: learned[index] for index, name in enumerate(terms)}
    exact = total.reference(settings, **leaves, log_scales=scales)
    assert_values(out, {name: value.detach() for name, value in exact.items()})
    assert_gradients(gradients, answers(exact["total_loss"], {**dict(floats(leaves)), "log_variances": learned}))


def test_parameters_move_save_and_train() -> None:
    sample = hidden_only("shared")
    settings = config(sample, {"mtp_loss": {"heads": "shared"}}, balancing="uncertainty")
    loss = Loss.load(settings)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.05)
    inputs = sample.leaves(torch.float32).inputs
    values = []
    for _ in range(5):
        optimizer.zero_grad()
        value = loss(**inputs)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < values[0]
    restored = Loss.load(settings)
    restored.load_state_dict(loss.state_dict())
    assert float(restored(**inputs).detach()) == float(loss(**inputs).detach())
    assert {parameter.dtype for parameter in loss.to(torch.bfloat16).parameters()} == {torch.bfloat16}
