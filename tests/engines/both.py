"""One call on both engines: whole logits that the caller made of a head, and the head itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ava import Loss
from tests.laws.table import EXACT, Gradients, assert_gradients, floats
from tests.reference import samples
from tests.reference.samples import Sample

HEAD = ("hidden_states", "lm_head", "lm_head_bias")


@dataclass(frozen=True)
class Heard:
    """What a loss answers, leaves in its state, and sends back to inputs and to its own parameters."""

    values: dict[str, Tensor]
    gradients: Gradients
    state: dict[str, Tensor] = field(default_factory=dict)


def everything(seed: int = 80, **changes: Any) -> Sample:
    """A head with a bias, scale, softcap and padding, packed rows, experts, a teacher: all that a term may ask for."""
    settings: dict[str, Any] = {
        "batch": 2, "length": 13, "hidden": 6, "head": True, "head_bias": True, "padded_vocab": 16, "eos": 2,
        "packed": "eos", "experts": 4, "layers": 2, "teacher": True, "with_input_ids": True, "distinct": 4,
    }  # fmt: skip
    made = samples.sample(seed, **{**settings, **changes})
    return Sample(made.inputs, {**made.model, "logit_scale": 0.7, "logit_softcap": 4.0}, made.shift)


def shaped_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, model: Mapping[str, Any]) -> Tensor:
    """The logits that a model with this head would hand over, in the dtype of the hidden states."""
    logits = hidden @ weight.to(hidden.dtype).T * model.get("logit_scale", 1.0)
    if bias is not None:
        logits = logits + bias.to(logits.dtype)
    softcap = model.get("logit_softcap")
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def arguments(loss: Loss, inputs: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """The keywords of ``forward`` for an engine, from a call that has a head."""
    if engine == "linear":
        return dict(inputs)
    hidden, weight, bias = (inputs.get(name) for name in HEAD)
    assert isinstance(hidden, Tensor)
    assert isinstance(weight, Tensor)
    given = {name: value for name, value in inputs.items() if name not in HEAD}
    given["logits"] = shaped_logits(hidden, weight, bias, loss.config.model.model_dump(exclude_none=True))
    heads = loss.config.terms.mtp_loss
    if "hidden_states" in loss.plan.inputs:
        given["hidden_states"] = hidden
    if "mtp_hidden_states" in inputs or (heads is not None and heads.heads == "tied"):
        given |= {"lm_head": weight, "lm_head_bias": bias}
    return given


def load(config: Mapping[str, Any], dtype: torch.dtype = torch.float64, **overrides: Any) -> Loss:
    """A loss whose own parameters are the same each time, and not where their gradient is nothing special."""
    loss = Loss.load(dict(config), overrides={"compile.enabled": False, **overrides})
    rng = samples.generator(5)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.copy_(samples.normal(rng, *parameter.shape, scale=0.3))
    if loss.heads is not None:
        loss.heads.to(dtype)
    return loss


def hear(
    loss: Loss,
    sample: Sample,
    engine: str = "linear",
    dtype: torch.dtype = torch.float64,
    upstream: float = 1.0,
    detailed: bool = True,
) -> Heard:
    """Run one call forward and backward."""
    inputs = sample.leaves(dtype).inputs
    out = loss(**arguments(loss, inputs, engine), return_detailed=detailed)
    total = out["total_loss"] if detailed else out
    loss.zero_grad()
    (total * upstream).backward()
    found = {name: leaf.grad for name, leaf in floats(inputs) if leaf.grad is not None}
    found |= {name: leaf.grad.clone() for name, leaf in loss.named_parameters() if leaf.grad is not None}
    values = {name: value.detach() for name, value in out.items()} if detailed else {"total_loss": total.detach()}
    return Heard(values, found, {name: value.clone() for name, value in loss.state_dict().items()})


def assert_same(actual: Heard, expected: Heard, **tolerance: Any) -> None:
    """Hold every value, gradient and piece of state against each other."""
    tolerance = tolerance or EXACT
    for kind, some, other in (
        ("value", actual.values, expected.values),
        ("state", actual.state, expected.state),
    ):
        assert some.keys() == other.keys()
        for name, value in other.items():
            torch.testing.assert_close(
                some[name].double(),
                value.double(),
                **tolerance,
                equal_nan=True,
                msg=lambda text, name=name, kind=kind: f"{kind} {name}: {text}",
            )
    assert_gradients(actual.gradients, expected.gradients, **tolerance)


def compare(config: Mapping[str, Any], sample: Sample, **overrides: Any) -> Heard:
    """Hold ``linear`` against ``logits`` in float64; return what both say."""
    whole = hear(load(config, **overrides), sample, "logits")
    chunked = hear(load(config, **overrides), sample, "linear")
    assert_same(chunked, whole)
    return chunked
