"""The `linear` engine compiled: equal to the eager one, one body for all numbers, two at the most for all shapes."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ava import Loss
from ava.terms.z_loss import ZLoss
from tests.engines.both import assert_same, everything, hear, load

V, H = 17, 6
CONFIG: dict[str, Any] = {
    "version": 1,
    "model": {"vocab_size": V, "hidden_size": H, "eos_token_id": 0},
    "primary": {"type": "deepseek", "label_smoothing": 0.1, "temperature": {"initial": 1.2, "adaptive": True}},
    "terms": {
        "focal_loss": {"weight": 0.2},
        "z_loss": {"weight": {"from": 0.0, "to": 0.3, "steps": 20, "shape": "cosine"}},
        "ngram_penalty": {"size": 2, "window": 5},
        "mtp_loss": {"heads": "shared", "num_future_tokens": 2, "weighting": "adaptive"},
    },
    "compile": {"chunk_tokens": 8, "backend": "aot_eager"},
}
"""Graphs and guards are Dynamo's whatever the backend; what Inductor makes of a body has a test of its own."""
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    torch._dynamo.utils.counters.clear()


def graphs() -> int:
    """Graphs that Dynamo built since the counters were cleared."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def pair() -> tuple[Loss, Loss]:
    eager = load(CONFIG, torch.float32)
    compiled = Loss.load(CONFIG)
    compiled.load_state_dict(copy.deepcopy(eager.state_dict()))
    return compiled, eager


def batch(seed: int, rows: int = 2, length: int = 13, ignored: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(4, (rows, length), generator=generator)
    targets.view(-1)[torch.randperm(rows * length, generator=generator)[:ignored]] = -100
    return {
        "hidden_states": torch.randn(rows, length, H, generator=generator).requires_grad_(),
        "lm_head": torch.randn(V, H, generator=generator).requires_grad_(),
        "targets": targets,
    }


def both(compiled: Loss, eager: Loss, given: dict[str, Tensor], **more: Any) -> None:
    """Hold a call of one against a call of the other, forward and backward."""
    other = {k: v.detach().clone().requires_grad_(v.requires_grad) for k, v in given.items()}
    out, expected = compiled(**given, **more), eager(**other, **more)
    torch.testing.assert_close(out, expected, **FLOAT32)
    out.backward()
    expected.backward()
    for name, tensor in given.items():
        if tensor.requires_grad:
            torch.testing.assert_close(tensor.grad, other[name].grad, **FLOAT32)


@pytest.mark.compiled
def test_steps_and_shapes() -> None:
    compiled, eager = pair()
    for step in range(50):  # schedules, an adaptive temperature, another number of items, rows skipped or not
        both(compiled, eager, batch(step, ignored=(1, 9)[step % 2]), num_items=20.0 + step)
        if step == 1:
            built = graphs()
    assert graphs() == built
    assert built <= 3  # a body for the main head, one for the future heads, and the graph that joins them
    assert int(compiled.metrics()["step"]) == 50
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, eager.state_dict()[name], rtol=1e-5, atol=1e-5, msg=name)

    shapes = [(2, 12), (3, 12), (2, 7), (5, 9), (1, 30), (4, 4), (6, 13), (2, 31), (7, 3), (1, 8), (1, 1)]
    for seed, (rows, length) in enumerate(shapes):
        compiled.state.load_state_dict(eager.state.state_dict())
        both(compiled, eager, batch(seed, rows, length, ignored=seed * rows * length // 16), num_items=19.0)
    assert graphs() <= 2 * built

    built = graphs()  # a loss that differs in numbers only is the same graphs
    other = Loss.load(CONFIG, overrides={"terms.focal_loss.weight": 0.7, "primary.temperature.initial": 0.9})
    other(**batch(0), num_items=9.0).backward()
    assert graphs() == built


@pytest.mark.compiled
def test_inductor() -> None:
    """The softcap, the bias and the padding of the head, statistics with picked columns, and a teacher."""
    sample = everything(131)
    settings = sample.config({name: {} for name in ("focal_loss", "ngram_penalty", "distillation_loss")})
    sizes = {"compile.chunk_tokens": 7}
    expected = hear(load(settings, torch.float32, **sizes), sample, dtype=torch.float32, detailed=False)
    found = hear(
        load(settings, torch.float32, **sizes, **{"compile.enabled": True}), sample, dtype=torch.float32, detailed=False
    )
    assert_same(found, expected, **FLOAT32)


class Model(nn.Module):
    """What a caller compiles: a model and its loss."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.embedding, self.head, self.loss = nn.Embedding(V, H), nn.Linear(H, V, bias=False), loss

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        hidden = torch.tanh(self.embedding(tokens))
        out = self.loss(hidden_states=hidden, lm_head=self.head.weight, targets=targets)
        assert isinstance(out, Tensor)
        return out


@pytest.mark.compiled
def test_a_caller_may_compile_model_and_loss() -> None:
    """With a break where the chunks begin; their bodies are compiled all the same."""
    compiled, eager = pair()
    torch.manual_seed(0)
    theirs = Model(compiled)
    ours = Model(eager)
    ours.embedding.load_state_dict(theirs.embedding.state_dict())
    ours.head.load_state_dict(theirs.head.state_dict())
    step = torch.compile(theirs, backend="aot_eager")
    for seed in range(3):
        tokens, targets = (batch(seed + shift)["targets"].clamp(min=0) for shift in (0, 1))
        out, expected = step(tokens, targets), ours(tokens, targets)
        torch.testing.assert_close(out, expected, **FLOAT32)
        out.backward()
        expected.backward()
    for (name, parameter), (_, other) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, **FLOAT32, msg=name)
    assert int(compiled.metrics()["step"]) == 3


@contextmanager
def calls_of(function: Any) -> Iterator[list[int]]:
    """Count the calls of a Python function, which one that was traced into a graph has none of."""
    calls: list[int] = []

    def seen(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is function.__code__:
            calls.append(1)

    sys.setprofile(seen)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.compiled
def test_the_bodies_are_compiled_within_a_compiled_caller() -> None:
    config = {**CONFIG, "terms": {"z_loss": {"weight": 0.3}}}
    tokens = torch.arange(12).view(1, 12) % V
    for enabled in (True, False):
        loss = Loss.load(config, overrides={"compile.enabled": enabled})
        step = torch.compile(Model(loss), backend="aot_eager")
        step(tokens, tokens).backward()
        with calls_of(ZLoss.value) as calls:
            step(tokens, tokens).backward()
        assert len(calls) == (0 if enabled else 2)  # of two chunks


@pytest.mark.compiled
def test_a_checkpointed_call_compiles() -> None:
    """First of all calls within a region whose saved tensors have hooks, so the bodies are traced there."""
    torch._dynamo.reset()
    config = {**CONFIG, "terms": {"z_loss": {"weight": 0.3}}}
    loss, eager = Loss.load(config), load(config)
    given = batch(7)
    other = {k: v.detach().clone().requires_grad_(v.requires_grad) for k, v in given.items()}
    out = checkpoint(
        lambda hidden: loss(**{**given, "hidden_states": hidden}), given["hidden_states"], use_reentrant=False
    )
    out.backward()
    eager(**other).backward()
    for name in ("hidden_states", "lm_head"):
        torch.testing.assert_close(given[name].grad, other[name].grad, **FLOAT32)
