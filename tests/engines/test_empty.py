"""A batch without a single position: zero, connected, with gradients of zero, on both engines."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from ava import Loss
from tests.engines.both import arguments, everything
from tests.laws.table import floats
from tests.reference.samples import Sample

PRESETS = ["standard", "moe", "anti_repetition", "mtp", "fast_prototype", "production"]
SHAPES = [(0, 5), (2, 0), (0, 0)]


def cut(whole: Sample, batch: int, length: int) -> Sample:
    """The first rows and positions of a call."""

    def part(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [part(name, item) for item in value]
        if name in ("lm_head", "lm_head_bias"):
            return value
        return value[:, :batch, :length] if name.startswith(("mtp_", "expert_out")) else value[:batch, :length]

    return Sample({name: part(name, value) for name, value in whole.inputs.items()}, whole.model, whole.shift)


def assert_zero(loss: Loss, sample: Sample, engine: str) -> None:
    inputs = sample.leaves(torch.float64).inputs
    out = loss(**arguments(loss, inputs, engine), return_detailed=True)
    out["total_loss"].backward()
    before = {"metrics/perplexity": 1.0, "metrics/temperature": loss.state.temperature.item()}
    for name, value in out.items():
        assert value.item() == before.get(name, 0.0), name
    for name, leaf in [*floats(inputs), *loss.named_parameters()]:
        assert leaf.grad is None or not leaf.grad.any(), name
    assert inputs["lm_head"].grad is not None
    for name, buffer in loss.state_dict().items():
        assert bool(buffer.isfinite().all()), name


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_zero(preset: str, shape: tuple[int, int], engine: str) -> None:
    sample = cut(everything(experts=8), *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a term that is skipped is said once
        loss = Loss.load(preset, overrides={"compile.enabled": False}, **sample.model)
        if loss.heads is not None:
            loss.heads.double()
        assert_zero(loss, sample, engine)


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("weighting", ["uniform", "adaptive"])
@pytest.mark.parametrize("source", ["linear", "shared", "tied", "mtp_logits", "mtp_hidden_states"])
def test_future_tokens_are_zero(source: str, weighting: str, engine: str) -> None:
    given = {"mtp_logits": {"mtp": 2}, "mtp_hidden_states": {"mtp": 2, "mtp_hidden": True}}.get(source, {})
    heads = "linear" if given else source
    for shape in SHAPES:
        sample = cut(everything(**given), *shape)
        terms = {"mtp_loss": {"weighting": weighting, "heads": heads}}
        loss = Loss.load(sample.config(terms, compile={"enabled": False}))
        if loss.heads is not None:
            loss.heads.double()
        assert_zero(loss, sample, engine)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_diagnosis_says_that_nothing_counts(shape: tuple[int, int]) -> None:
    sample = cut(everything(mtp=2), *shape)
    terms: dict[str, Any] = {name: {} for name in ("mtp_loss", "router_z_loss", "expert_diversity_loss")}
    found = Loss.load(sample.config(terms, compile={"enabled": False})).diagnose(**sample.inputs)
    assert found.finite
    assert [finding.name for finding in found.findings] == ["nothing-counts"]
