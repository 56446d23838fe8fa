"""The table of terms that every law runs over: their settings, their samples, and what float64 says of both.

Everything comes from the roster, so a new term is in every law as soon as it is in the roster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ava import Loss
from ava.config.roster import ROSTER
from ava.run.call import FORWARD_ARGUMENTS
from tests.reference import samples, total
from tests.reference.samples import CASES, EXTRA_CASES, FLOAT_INPUTS, Sample

EXACT: dict[str, float] = {"rtol": 1e-9, "atol": 1e-12}
"""How closely float64 agrees with the reference in float64."""

SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "focal_loss": ({"gamma": 0.0}, {"gamma": 0.5, "alpha": 0.25}, {"gamma": 5.0}),
    "immediate_repetition_penalty": ({"threshold": 3}, {"threshold": 5}),
    "ngram_penalty": ({"size": 1, "window": 3}, {"size": 2, "window": 5}, {"size": 3, "window": 50}),
    "eos_penalty": ({"min_length": 1}, {"min_length": 3}),
    "mtp_loss": (
        {"weighting": "adaptive"},
        {"weighting": "adaptive", "confidence_threshold": 0.3, "weight_range": [0.1, 3.0]},
    ),
    "contrastive_loss": ({"temperature": 0.5}, {"max_tokens": 7}),
    "moe_balance_loss": ({"method": "switch"}, {"method": "loss_free"}, {"target_expert_usage": 0.3}),
    "distillation_loss": ({"temperature": 1.0}, {"temperature": 0.7}),
}
"""What to try beside the defaults, where a field changes the maths."""

PRIMARIES: dict[str, dict[str, Any]] = {
    "standard": {},
    "smoothed": {"label_smoothing": 0.1},
    "deepseek": {"type": "deepseek", "label_smoothing": 0.2, "temperature": {"initial": 1.3}},
    "cold": {"type": "deepseek", "temperature": {"initial": 0.6}},
}

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Answer:
    """Named values, and a gradient for each floating-point input that one reaches."""

    values: dict[str, Tensor]
    gradients: Gradients


def variants() -> list[tuple[str, str]]:
    """Every term with each of its settings, as ``(name, JSON)``."""
    return [(name, json.dumps(settings)) for name in ROSTER for settings in ({}, *SETTINGS.get(name, ()))]


def variants_on_cases() -> list[tuple[str, str, str]]:
    """Every term with each of its settings on every sample that has what it needs."""
    return [(name, settings, on) for name, settings in variants() for on in cases() if takes(name, case(on))]


def readable(value: object) -> str:
    """Name a parameter of a test."""
    text = value if isinstance(value, str) else str(value)
    return text.replace('"', "").replace(" ", "").strip("{}") or "defaults"


MORE_CASES: dict[str, Callable[[], Sample]] = {
    "mtp_through_the_head": lambda: _capped(samples.sample(70, hidden=6, mtp_hidden=True, mtp=2, head_bias=True)),
    "mtp_padded": lambda: samples.sample(71, mtp=3, padded_vocab=16, eos=2, packed="eos", length=20),
    "certain_of_anything": lambda: samples.sample(72, kind="certain", distinct=4, mtp=2, eos=2, length=16),
}
"""Samples that the reference's own do not have."""


def _capped(whole: Sample) -> Sample:
    """With the head's scale and softcap; without hidden states, which would make it a call without logits."""
    scaled = {**whole.model, "logit_scale": 0.5, "logit_softcap": 3.0}
    return Sample(whole.without("hidden_states").inputs, scaled, whole.shift)


@cache
def case(name: str) -> Sample:
    """One of the reference's samples; its tensors are shared, so take ``leaves`` of it."""
    return (CASES | EXTRA_CASES | MORE_CASES)[name]()


def cases() -> list[str]:
    """The samples whose inputs ``Loss.forward`` takes: all of them, once every engine is there."""
    return [name for name in (*CASES, *EXTRA_CASES, *MORE_CASES) if set(case(name).inputs) <= set(FORWARD_ARGUMENTS)]


def config(sample: Sample, terms: Mapping[str, Any], primary: str = "standard", **sections: Any) -> dict[str, Any]:
    """A configuration of the sample that runs uncompiled."""
    settings = dict(PRIMARIES[primary])
    logits = sample.inputs.get("logits")
    if logits is not None and bool((logits == -torch.inf).any()):
        settings.pop("label_smoothing", None)  # the page allows one or the other
    return sample.config(terms, primary=settings, compile={"enabled": False}, **sections)


def takes(name: str, call: Sample) -> bool:
    """Whether the sample has what a term needs (an ``mtp_loss`` with its own heads has tests of its own)."""
    term = ROSTER[name]()
    if any(call.model.get(field) is None for field in term.needs().model):
        return False
    if name == "mtp_loss" and not call.inputs.keys() & {"mtp_logits", "mtp_hidden_states"}:
        return False
    return term.missing(call.inputs.keys()) is None


def together(sample: Sample) -> dict[str, dict[str, Any]]:
    """Every term that the sample has the inputs for, n-grams short enough to occur."""
    short = {"ngram_penalty": {"size": 2, "window": 6}, "eos_penalty": {"min_length": 4}}
    return {name: short.get(name, {}) for name in ROSTER if takes(name, sample)}


def floats(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a gradient may reach, by name (``gate_logits.1`` for the second layer)."""
    for name in FLOAT_INPUTS:
        value = inputs.get(name)
        if isinstance(value, Tensor):
            yield name, value
        elif value is not None:
            yield from ((f"{name}.{index}", item) for index, item in enumerate(value))


def gradients(value: Tensor, inputs: Mapping[str, Any], retain: bool = False) -> Gradients:
    """The gradient of each input that the value depends on."""
    names, leaves = zip(*floats(inputs), strict=True)
    found = torch.autograd.grad(value, leaves, retain_graph=retain, allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def run(loss: Loss, sample: Sample, dtype: torch.dtype = torch.float64) -> Answer:
    """What the loss answers in detail, and the gradient of its total."""
    inputs = sample.leaves(dtype).inputs
    out = loss(**inputs, return_detailed=True)
    return Answer({name: value.detach() for name, value in out.items()}, gradients(out["total_loss"], inputs))


def evaluate(settings: Mapping[str, Any], sample: Sample, dtype: torch.dtype = torch.float64) -> Answer:
    """What a new loss of this configuration answers."""
    return run(Loss.load(dict(settings)), sample, dtype)


def expect(settings: Mapping[str, Any], sample: Sample, **more: Any) -> Answer:
    """What the reference answers to the same call."""
    inputs = sample.leaves(torch.float64).inputs
    out = total.reference(settings, **inputs, **more)
    return Answer({name: value.detach() for name, value in out.items()}, gradients(out["total_loss"], inputs))


@cache
def expect_term(case_name: str, primary: str, name: str, settings: str) -> Answer:
    """The raw value of one term, and its own gradient."""
    sample = case(case_name)
    inputs = sample.leaves(torch.float64).inputs
    call = total.prepare(config(sample, {}, primary), **inputs)
    raw = total.raw_terms(call, {name: json.loads(settings)})[name]
    return Answer({"raw": raw.detach()}, gradients(raw, inputs))


@cache
def expect_main(case_name: str, primary: str) -> Answer:
    """What the primary loss alone gives."""
    sample = case(case_name)
    return expect(config(sample, {}, primary), sample)


@cache
def lively(name: str) -> str:
    """The first sample, with logits, on which a term has a value and a gradient worth a test."""
    for case_name in cases():
        if takes(name, case(case_name)) and "logits" in case(case_name).inputs:
            answer = expect_term(case_name, "standard", name, "{}")
            largest = max((float(g.abs().max()) for g in answer.gradients.values()), default=0.0)
            if abs(float(answer.values["raw"])) > 1e-2 and largest > 1e-4:
                return case_name
    raise AssertionError(f"no sample makes {name} do anything")


def scaled(gradient: Gradients, factor: float) -> Gradients:
    """Gradients times a number."""
    return {name: value * factor for name, value in gradient.items()}


def added(*many: Gradients) -> Gradients:
    """The sum of gradients, an absent one being zero."""
    out: Gradients = {}
    for gradient in many:
        for name, value in gradient.items():
            out[name] = out[name] + value if name in out else value
    return out


def assert_gradients(actual: Gradients, expected: Gradients, **tolerance: Any) -> None:
    """Hold gradients against each other by name; one that is absent must be zero on the other side."""
    for name in actual.keys() | expected.keys():
        some = actual.get(name, expected.get(name))
        assert some is not None
        zero = torch.zeros_like(some)
        left, right = actual.get(name, zero), expected.get(name, zero)
        torch.testing.assert_close(
            left.double(), right.double(), **(tolerance or EXACT), msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_values(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], **tolerance: Any) -> None:
    """Hold every expected value, the state's apart, against the answer.

    The experts' metrics are there only where a term looks at the experts.
    """
    routed = any(name in actual for name in ("moe_balance_loss", "router_z_loss"))
    absent = ("state/",) if routed else ("state/", "metrics/expert_")
    wanted = {name: value for name, value in expected.items() if not name.startswith(absent)}
    assert set(actual) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(
            actual[name].double(), value, **(tolerance or EXACT), msg=lambda text, name=name: f"{name}: {text}"
        )
