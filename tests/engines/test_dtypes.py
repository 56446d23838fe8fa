"""The `linear` engine in 16 and 32 bits: no further from float64 than whole logits are."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from ava import Loss
from tests.engines.both import Heard, arguments, hear, load
from tests.laws.table import floats, together
from tests.reference import samples
from tests.reference.samples import Sample

KINDS = ["plain", "sure", "drifted", "capped", "skipped"]
SEEDS = range(100, 104)
NO_WORSE = 1.2


@cache
def call(kind: str, seed: int = 100) -> Sample:
    """160 rows over 300 tokens; ``drifted`` logits are far from 0, ``capped`` ones bent, ``sure`` ones wide apart."""
    whole = samples.sample(
        seed, batch=2, length=80, vocab=300, hidden=32, head=True, head_bias=True, distinct=9, eos=3,
        mtp=2, mtp_hidden=True, ignored=0.3 if kind == "skipped" else 0.05,
    )  # fmt: skip
    inputs = dict(whole.inputs)
    model = {**whole.model, "logit_scale": 0.5}
    if kind == "sure":
        inputs["lm_head"] = inputs["lm_head"] * 8
    if kind == "drifted":
        inputs["lm_head_bias"] = (inputs["lm_head_bias"] + 40).bfloat16().double()
    if kind == "capped":
        model["logit_softcap"] = 4.0
    return Sample(inputs, model)


def terms(sample: Sample) -> dict[str, Any]:
    return {name: {**settings, "weight": 0.2} for name, settings in together(sample).items()}


def heard(sample: Sample, engine: str, dtype: torch.dtype, size: int = 48, **more: Any) -> Heard:
    settings = sample.config(terms(sample), primary={"label_smoothing": 0.1})
    return hear(load(settings, dtype, **{"compile.chunk_tokens": size}), sample, engine, dtype, **more)


@cache
def exact(kind: str, seed: int) -> Heard:
    return heard(call(kind, seed), "logits", torch.float64)


def errors(engine: str, kind: str, dtype: torch.dtype) -> dict[str, float]:
    """The relative error of each gradient, in the Euclidean norm, over all seeds: how one number rounds is chance."""
    squares: dict[str, float] = {}
    for seed in SEEDS:
        true, found = exact(kind, seed), heard(call(kind, seed), engine, dtype)
        for name, gradient in true.gradients.items():
            error = float((found.gradients[name].double() - gradient).norm() / gradient.norm())
            squares[name] = squares.get(name, 0.0) + error**2 / len(SEEDS)
    return {name: square**0.5 for name, square in squares.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_values_in_float32(kind: str) -> None:
    for seed in SEEDS:
        found, true = heard(call(kind, seed), "linear", torch.float32).values, exact(kind, seed).values
        for name in ("total_loss", "main_loss"):
            assert float(found[name]) == pytest.approx(float(true[name]), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_no_worse_than_whole_logits(kind: str, dtype: torch.dtype) -> None:
    floor = 1.2e-7 if dtype == torch.float32 else 0.0
    limits, ours = errors("logits", kind, dtype), errors("linear", kind, dtype)
    assert ours.keys() == limits.keys()
    for name, error in ours.items():
        assert error <= NO_WORSE * limits[name] + floor, f"{name}: {error:.2e}, whole logits {limits[name]:.2e}"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_gradients_come_in_the_dtype_of_their_tensor(dtype: torch.dtype) -> None:
    found = heard(call("plain"), "linear", dtype)
    assert {gradient.dtype for gradient in found.gradients.values()} == {dtype}
    assert found.values["total_loss"].dtype == torch.float32


@pytest.mark.parametrize("hidden", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("weight", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_head_in_another_dtype(weight: torch.dtype, hidden: torch.dtype) -> None:
    sample = call("plain").without("mtp_hidden_states")
    loss = load(sample.config(terms(sample)), **{"compile.chunk_tokens": 48})
    found = {}
    for engine in ("logits", "linear"):
        inputs = sample.leaves(torch.float32).inputs
        for name, dtype in (("hidden_states", hidden), ("lm_head", weight), ("lm_head_bias", weight)):
            inputs[name] = inputs[name].detach().to(dtype).requires_grad_()
        loss(**arguments(loss, inputs, engine)).backward()
        found[engine] = {name: leaf.grad for name, leaf in floats(inputs) if leaf.grad is not None}
    for name, gradient in found["linear"].items():
        other = found["logits"][name]
        assert gradient.dtype == other.dtype
        limit = (
            1e-5 if hidden == weight == torch.float32 or (hidden, weight) == (torch.float32, torch.float64) else 2e-2
        )
        assert float((gradient.double() - other.double()).norm()) <= limit * float(other.double().norm()), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: torch.dtype) -> None:
    """The products in 16 bits, as ``linear`` under autocast, and gradients in the dtype of the parameters."""
    sample = call("plain").without("mtp_hidden_states")
    settings = sample.config({**terms(sample), "mtp_loss": {"heads": "shared", "num_future_tokens": 2}})
    model = sample.model

    def run(engine: str) -> dict[str, Tensor]:
        loss = load(settings, torch.float32, **{"compile.chunk_tokens": 48})
        inputs = sample.leaves(torch.float32).inputs
        with torch.autocast("cpu", dtype):
            if engine == "linear":
                out = loss(**inputs)
            else:
                hidden, weight, bias = (inputs[name] for name in ("hidden_states", "lm_head", "lm_head_bias"))
                logits = linear(hidden, weight) * model["logit_scale"] + bias.to(dtype)
                assert logits.dtype == dtype
                out = loss(logits, inputs["targets"], hidden_states=hidden)
        out.backward()
        gradients = {name: leaf.grad for name, leaf in floats(inputs) if leaf.grad is not None}
        return {**gradients, **{n: p.grad for n, p in loss.named_parameters() if p.grad is not None}}

    exact_loss = load(settings, torch.float64)
    true = hear(exact_loss, sample, "logits").gradients
    ours, theirs = run("linear"), run("logits")
    assert ours.keys() == theirs.keys() == true.keys()
    squares = [0.0, 0.0]
    for name, gradient in ours.items():
        assert gradient.dtype == torch.float32
        for index, found in enumerate((ours, theirs)):
            error = float((found[name].double() - true[name]).norm() / true[name].norm())
            assert error < 0.05, name
            squares[index] += error**2
    assert squares[0] <= NO_WORSE**2 * squares[1]


def test_a_scaled_loss_in_float16() -> None:
    """What ``GradScaler`` sends: nothing is lost or overflows on the way that it would not in whole logits."""
    sample = call("plain")
    plain = heard(sample, "linear", torch.float64).gradients
    for scale in (1024.0, 65536.0):
        found = heard(sample, "linear", torch.float16, upstream=scale).gradients
        for name, gradient in found.items():
            expected = plain[name] * scale
            if float(expected.abs().max()) > 6e4:
                continue  # the scaler sees inf, and halves its scale
            assert float((gradient.double() - expected).norm()) <= 1e-2 * float(expected.norm()), name


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_many_rows_of_one_token_in_float16(engine: str) -> None:
    """The gradient of the head before it is divided by the number of rows is beyond float16."""
    rng = samples.generator(3)
    hidden = (torch.randn(1, 512, 6, generator=rng) * 8 + 300).half().requires_grad_()
    weight = (torch.randn(13, 6, generator=rng) * 0.02).half().requires_grad_()
    targets = torch.full((1, 512), 5)
    loss = Loss.load({"version": 1, "compile": {"enabled": False, "chunk_tokens": 512}})
    given: dict[str, Any] = {"hidden_states": hidden, "lm_head": weight}
    loss(targets=targets, **(given if engine == "linear" else {"logits": linear(hidden, weight)})).backward()
    exactly = weight.detach().double().requires_grad_()
    loss(linear(hidden.detach().double(), exactly), targets).backward()
    assert weight.grad is not None
    assert exactly.grad is not None
    torch.testing.assert_close(weight.grad.double(), exactly.grad, rtol=5e-3, atol=0.5)
