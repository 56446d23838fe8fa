"""Positions that do not count disturb no backward pass, whatever they hold: ``detect_anomaly`` finds nothing."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch

from ava import Loss
from tests.engines.both import arguments, everything
from tests.laws.table import case, config, lively, readable, variants
from tests.reference.samples import Sample, ignore_all

GARBAGE = [None, torch.nan, torch.inf]
PRESETS = ["standard", "moe", "anti_repetition", "mtp", "fast_prototype", "production"]


def spoiled(sample: Sample, garbage: float | None) -> Sample:
    """With ``garbage`` in the logits of every position that is ignored."""
    targets = sample.inputs["targets"]
    ignored = targets == sample.model["ignore_index"]
    if "attention_mask" in sample.inputs:
        ignored = ignored | (sample.inputs["attention_mask"] == 0)
    rows = ("logits", "teacher_logits") if garbage is not None else ()
    held = {
        name: sample.inputs[name].masked_fill(ignored[..., None], garbage) for name in rows if name in sample.inputs
    }
    return Sample({**sample.inputs, **held}, sample.model, sample.shift)


def run(loss: Loss, inputs: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Anomaly Detection")
        warnings.filterwarnings("ignore", message=".*if_missing")
        with torch.autograd.detect_anomaly():
            loss(**inputs).backward()


@pytest.mark.parametrize("garbage", GARBAGE, ids=str)
@pytest.mark.parametrize("primary", ["smoothed", "cold"])
@pytest.mark.parametrize(("name", "settings"), variants(), ids=readable)
def test_a_term(name: str, settings: str, primary: str, garbage: float | None) -> None:
    whole = case(lively(name))
    # a position without a target of its own still weighs its future-token heads
    weighs = garbage is not None and "adaptive" in settings
    for sample in [ignore_all(whole)] if weighs else [whole, ignore_all(whole)]:
        ruined = spoiled(sample, garbage)
        loss = Loss.load(config(ruined, {name: json.loads(settings)}, primary))
        run(loss, ruined.leaves(torch.float64).inputs)


@pytest.mark.parametrize(("name", "settings"), variants(), ids=readable)
def test_a_term_on_the_linear_engine(name: str, settings: str) -> None:
    for sample in (everything(), everything(padding="right", ignored=0.5), ignore_all(everything())):
        loss = Loss.load(config(sample, {name: json.loads(settings)}, "smoothed"))
        if loss.heads is not None:
            loss.heads.double()
        run(loss, sample.leaves(torch.float64).inputs)


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset(preset: str, engine: str) -> None:
    for sample in (everything(experts=8, ignored=0.4), ignore_all(everything(experts=8))):
        loss = Loss.load(preset, overrides={"compile.enabled": False}, **sample.model)
        if loss.heads is not None:
            loss.heads.double()
        run(loss, arguments(loss, sample.leaves(torch.float64).inputs, engine))
