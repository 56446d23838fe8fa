"""No worse than the naive composition at the same dtype, and 1e-6 from float64 in float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ava.config.roster import ROSTER
from tests.laws.table import Answer, Gradients, config, evaluate, expect, floats, gradients
from tests.reference import naive, samples, total
from tests.reference.mtp_loss import valid_for_head
from tests.reference.samples import LogitKind, Sample

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
KINDS = ["random", "peaked", "repeating", "drifted"]
EOS = 3
NO_WORSE = 1.2

Inputs = dict[str, Any]


@cache
def realistic(kind: str) -> Sample:
    """Two rows of 40 over 300 tokens, a fifth of the targets ignored, with everything a term may ask for.

    ``drifted`` logits are far from 0, as they are in training without a z-loss.
    """
    sample = samples.sample(
        7,
        kind="random" if kind == "drifted" else cast(LogitKind, kind),
        batch=2,
        length=40,
        vocab=300,
        distinct=6,
        eos=EOS,
        hidden=32,
        mtp=2,
        experts=4,
        teacher=True,
    )
    drift = {"logits": 50.0, "mtp_logits": -80.0, "teacher_logits": 30.0} if kind == "drifted" else {}
    inputs = {name: value + drift.get(name, 0.0) for name, value in floats(sample.inputs)}
    return Sample({**sample.inputs, **{name: exact_in_16_bits(value) for name, value in inputs.items()}}, sample.model)


def exact_in_16_bits(values: Tensor) -> Tensor:
    """Numbers that bfloat16 and float16 hold alike, so that all dtypes have one reference."""
    return values.where(values.abs() > 2e-3, 0.0).bfloat16().double()


@cache
def indices(kind: str) -> naive.Indices:
    sample = realistic(kind)
    call = total.prepare(sample.config(), **sample.inputs)
    return naive.indices(call.at, size=2, window=8, eos_token_id=EOS)


def on_rows(**weights: float) -> Callable[[Inputs, naive.Indices], Tensor]:
    """A weighted total of terms on rows of logits, sharing one ``log_softmax``."""
    off = dict.fromkeys(vars(naive.Weights()), 0.0)
    chosen = naive.Weights(**{**off, **weights})
    return lambda inputs, at: naive.shared_total(inputs["logits"].flatten(0, 1), at, chosen)


def plain(inputs: Inputs, at: naive.Indices) -> Tensor:
    return naive.main_loss(inputs["logits"].flatten(0, 1), at)


def own_mean(inputs: Inputs) -> Tensor:
    """Everything is routed, and ``num_items`` is not given: the factor of an own-mean term is 1."""
    assert "attention_mask" not in inputs
    return torch.ones(())


@cache
def future_targets() -> Tensor:
    """``[K, B, T]``: what each head predicts, ``-100`` where that does not count; the kinds differ in logits alone."""
    sample = realistic("random")
    at = total.prepare(sample.config(), **sample.inputs).at
    return torch.tensor(
        [
            [
                [at.targets[b][t + k] if valid_for_head(at, b, t, k) else -100 for t in range(at.length)]
                for b in range(at.batch)
            ]
            for k in (1, 2)
        ]
    )


def mtp_loss(inputs: Inputs, at: naive.Indices) -> Tensor:
    logits, targets = inputs["mtp_logits"].float().flatten(0, 2), future_targets().flatten()
    return F.cross_entropy(logits, targets, reduction="sum") / 2 / at.n


def contrastive_loss(inputs: Inputs, at: naive.Indices) -> Tensor:
    features = F.normalize(inputs["hidden_states"].flatten(0, 1)[at.valid].float(), dim=1)
    classes = at.targets[at.valid]
    similarity = (features @ features.T / 0.07).fill_diagonal_(-torch.inf)
    positive = (classes[:, None] == classes).fill_diagonal_(False)
    log_p = torch.where(positive, F.log_softmax(similarity, 1), 0.0)
    anchors = positive.any(1)
    return own_mean(inputs) * -(log_p.sum(1)[anchors] / positive.sum(1)[anchors]).mean()


def moe_balance_loss(inputs: Inputs, at: naive.Indices) -> Tensor:
    gate = inputs["gate_logits"].flatten(0, 1).float()
    load = F.one_hot(inputs["expert_indices"].flatten(), 4).float().mean(0)
    return own_mean(inputs) * ((load * 4 - 1) * gate.softmax(1).mean(0)).sum()


def router_z_loss(inputs: Inputs, at: naive.Indices) -> Tensor:
    return own_mean(inputs) * inputs["gate_logits"].float().logsumexp(-1).square().mean()


def expert_diversity_loss(inputs: Inputs, at: naive.Indices) -> Tensor:
    unit = F.normalize(inputs["expert_outputs"].flatten(1, 2).float(), dim=-1)
    cosine = torch.einsum("inh,jnh->nij", unit, unit)
    first, second = torch.triu_indices(4, 4, 1)
    return own_mean(inputs) * cosine[:, first, second].mean()


def distillation_loss(inputs: Inputs, at: naive.Indices) -> Tensor:
    student, teacher = (F.log_softmax(inputs[k].flatten(0, 1).float() / 2, 1) for k in ("logits", "teacher_logits"))
    divergence = F.kl_div(student, teacher.detach(), reduction="none", log_target=True).sum(1)
    return 4 * naive.mean_over_valid(divergence, at)


NAIVE: dict[str, Callable[[Inputs, naive.Indices], Tensor]] = {
    **{name: on_rows(**{name: 1.0}) for name in vars(naive.Weights())},
    **{
        term.__name__: lambda inputs, at, term=term: plain(inputs, at) + term(inputs, at)
        for term in (
            mtp_loss,
            contrastive_loss,
            moe_balance_loss,
            router_z_loss,
            expert_diversity_loss,
            distillation_loss,
        )
    },
}
"""The primary loss and one term at weight 1, as a competent user composes them."""


def settings_of(name: str) -> dict[str, Any]:
    return {"size": 2, "window": 8} if name == "ngram_penalty" else {}


def error(found: Gradients, exact: Gradients) -> dict[str, float]:
    """The relative error of each gradient, in the Euclidean norm."""
    return {
        name: float((found[name].double() - exact[name]).norm() / exact[name].norm())
        for name in exact
        if float(exact[name].norm()) > 0
    }


@cache
def each_exactly(kind: str) -> dict[str, Answer]:
    """The primary loss with each term at weight 1, in float64."""
    sample = realistic(kind)
    inputs = sample.leaves(torch.float64).inputs
    out = total.reference(config(sample, {name: settings_of(name) for name in ROSTER}), **inputs)
    main = out["main_loss"]
    return {
        name: Answer(
            {"main_loss": main.detach(), "total_loss": (main + out[f"raw/{name}"]).detach()},
            gradients(main + out[f"raw/{name}"], inputs, retain=True),
        )
        for name in ROSTER
    }


@cache
def all_exactly(kind: str, settings: str) -> Answer:
    return expect(json.loads(settings), realistic(kind))


def hold(
    kind: str,
    exact: Answer,
    settings: dict[str, Any],
    reference: Callable[[Inputs, naive.Indices], Tensor],
    dtype: torch.dtype,
) -> None:
    sample = realistic(kind)
    ours = evaluate(settings, sample, dtype)
    inputs = sample.leaves(dtype).inputs
    at = indices(kind)
    theirs = gradients(reference(inputs, at), inputs)
    if dtype == torch.float32:
        for name in ("total_loss", "main_loss"):
            assert float(ours.values[name]) == pytest.approx(float(exact.values[name]), rel=1e-6)
    limits = error(theirs, exact.gradients)
    for name, found in error(ours.gradients, exact.gradients).items():
        assert found <= NO_WORSE * limits[name], f"{name}: {found:.2e}, the naive composition has {limits[name]:.2e}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROSTER)
def test_each_term(name: str, kind: str, dtype: torch.dtype) -> None:
    settings = config(realistic(kind), {name: {"weight": 1.0, **settings_of(name)}})
    hold(kind, each_exactly(kind)[name], settings, NAIVE[name], dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("primary", ["standard", "smoothed", "deepseek"])
def test_all_on_rows_of_logits(primary: str, kind: str, dtype: torch.dtype) -> None:
    settings = config(realistic(kind), {name: settings_of(name) for name in vars(naive.Weights())}, primary)
    smoothing = settings["primary"].get("label_smoothing", 0.0)
    tau = settings["primary"].get("temperature", {}).get("initial", 1.0)

    def reference(inputs: Inputs, at: naive.Indices) -> Tensor:
        return naive.shared_total(inputs["logits"].flatten(0, 1), at, tau=tau, label_smoothing=smoothing)

    hold(kind, all_exactly(kind, json.dumps(settings)), settings, reference, dtype)


@pytest.mark.parametrize("name", ROSTER)
def test_the_baseline_computes_the_same(name: str) -> None:
    """Or being better than it would mean nothing."""
    value = NAIVE[name](realistic("random").leaves(torch.float64).inputs, indices("random"))
    exact = each_exactly("random")[name].values["total_loss"]
    assert float(value.detach()) == pytest.approx(float(exact), rel=1e-5)
