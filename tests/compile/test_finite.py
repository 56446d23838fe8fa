"""The graph that counts on finite logits, and the careful one that takes its place where they are not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ava import Config, Loss, Plan
from ava.compile import compiler
from ava.compile.batch import Mode
from ava.compile.graph import INFINITE, build_graph
from ava.compile.measure import Asked
from ava.compile.statistics import RowStatistics
from ava.terms.base import Statistic

VOCAB = 40
CONFIG: dict[str, Any] = {
    "version": 1,
    "model": {"vocab_size": VOCAB},
    "primary": {"type": "deepseek", "temperature": {"adaptive": True, "initial": 1.1}},
    "terms": {"token_diversity_loss": {"weight": 2.0}, "immediate_repetition_penalty": {}},
}

MODE = Mode(VOCAB, detailed=False, training=True, closes_every=1, finite=True)


def batch() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 9, VOCAB, generator=rng) * 3
    targets = torch.randint(8, VOCAB, (2, 9), generator=rng)
    targets[:, 5] = -100
    return logits, targets


def spoiled(where: str) -> tuple[Tensor, Tensor]:
    """A batch with an infinite column at every position, at ignored ones, a row of NaN, or nothing of the kind."""
    logits, targets = batch()
    if where == "everywhere":
        logits[..., 3] = -torch.inf
    elif where == "ignored":
        logits[:, 5, ::2] = -torch.inf
    elif where == "nan":
        logits[1, 2] = torch.nan
    elif where == "far below":  # so far that it is infinite once the largest is subtracted and it is scaled
        logits[0, 3, 4] = -3e38
    elif where == "low":  # as far as finite goes
        logits[..., 3], logits[:, ::2, 4] = -2e38, -1e38
    return logits, targets


def built() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.compiled
@pytest.mark.parametrize("infinite", ["everywhere", "far below"])
def test_the_call_is_made_again_and_later_ones_are_careful(infinite: str) -> None:
    compiler._graph.cache_clear()  # a process remembers
    compiled, eager = Loss.load(CONFIG), Loss.load(CONFIG, overrides={"compile.enabled": False})
    before = built()
    cases = [("", 1), ("low", 1), ("ignored", 1), ("nan", 1), (infinite, 2), ("", 2), ("ignored", 2), (infinite, 2)]
    for where, graphs in cases:
        logits, targets = spoiled(where)
        ours, theirs = logits.requires_grad_(), logits.detach().clone().requires_grad_()
        found, expected = compiled(ours, targets), eager(theirs, targets)
        (found * 1e6).backward()  # so hard that a lowest logit times the pull would overflow
        (expected * 1e6).backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0, equal_nan=True)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=0.1, equal_nan=True)
        assert built() - before == graphs, where
        if where != "nan":
            assert bool(ours.grad.isfinite().all())
    states = [loss.state.state_dict() for loss in (compiled, eager)]
    torch.testing.assert_close(*states, rtol=1e-6, atol=0.0, equal_nan=True)


@pytest.mark.compiled
def test_details_hold_no_trace_of_it() -> None:
    logits, targets = spoiled("everywhere")
    compiled, eager = Loss.load(CONFIG).eval(), Loss.load(CONFIG, overrides={"compile.enabled": False}).eval()
    with torch.no_grad():
        for case in (batch(), (logits, targets)):
            found, expected = (loss(*case, return_detailed=True) for loss in (compiled, eager))
            assert list(found) == list(expected)
            torch.testing.assert_close(dict(found), dict(expected), rtol=1e-5, atol=1e-6)


def graphs(monkeypatch: pytest.MonkeyPatch, mode: Mode, **overrides: Any) -> int:
    """How many graphs ``torch.compile`` is asked for."""
    asked: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: asked.append(function) or function)
    plan = Plan(Config.load(CONFIG, overrides=overrides))
    compiler._graph.__wrapped__(compiler._Key(plan), mode, True, "cpu", ())
    return len(asked)


def test_only_where_it_is_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert graphs(monkeypatch, MODE) == 2
    assert graphs(monkeypatch, replace(MODE, finite=False)) == 1
    assert graphs(monkeypatch, MODE, **{"compile.backend": "aot_eager"}) == 1
    assert graphs(monkeypatch, MODE, **{"terms.token_diversity_loss": None}) == 1, "no entropy, no matter"


def entropy_and_gradient(logits: Tensor, pull: float, finite: bool) -> tuple[Tensor, Tensor]:
    asked = Asked(frozenset({Statistic.ENTROPY, Statistic.MAX_LOG_PROB}), logits.shape[1], finite=finite)
    x, valid = logits.clone().requires_grad_(), torch.ones(logits.shape[0], dtype=torch.bool)
    entropy = RowStatistics.apply(asked, x, torch.tensor(0.9), valid, None)[0]
    (gradient,) = torch.autograd.grad((entropy * pull).sum(), x)
    return entropy.detach(), gradient


@pytest.mark.parametrize("pull", [1e-6, 0.7, -3.0, 1e4, -1e20])
@pytest.mark.parametrize("lowest", [-1e4, -1e9, -1e38, -2e38])
def test_no_overflow_below_what_is_finite(lowest: float, pull: float) -> None:
    """However hard the entropy is pulled at: a product of the pull and the lowest logit would be infinite."""
    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    logits[:, 2] = lowest
    (quick, ours), (careful, theirs) = (entropy_and_gradient(logits, pull, finite) for finite in (True, False))
    torch.testing.assert_close(quick, careful, rtol=1e-6, atol=1e-7)
    rounding = 2e-6 + 1e-7 * max(0.0, math.log2(abs(pull)))  # the factor's logarithm takes bits of the exponent's
    torch.testing.assert_close(ours, theirs, rtol=rounding, atol=rounding * abs(pull))
    assert bool((ours[:, 2] == 0).all())


def test_an_infinite_logit_makes_the_entropy_nan() -> None:
    logits = torch.zeros(2, 4)
    logits[1, 1] = -torch.inf
    entropy, _ = entropy_and_gradient(logits, 1.0, finite=True)
    assert entropy.isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("where", "expected"),
    [("", False), ("low", False), ("ignored", False), ("nan", False), ("everywhere", True), ("far below", True)],
)
def test_what_the_graph_says(where: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Tensor] = []
    finite = replace(MODE, detailed=True)

    def listening(*arguments: Any) -> Any:
        answer, after = build_graph(loss.plan, finite)(*arguments[2:])
        said.append(answer.pop(INFINITE))
        return answer, after

    monkeypatch.setattr("ava.run.loss.run_graph", listening)
    loss = Loss.load(CONFIG)
    loss(*spoiled(where), return_detailed=True)
    assert [bool(value) for value in said] == [expected]


@pytest.mark.compiled
def test_within_a_checkpoint_every_call_is_careful() -> None:
    """What a region saves is matched by its place when it runs again: the first run must not have saved twice."""
    compiler._graph.cache_clear()
    compiled, eager = Loss.load(CONFIG).eval(), Loss.load(CONFIG, overrides={"compile.enabled": False}).eval()
    before = built()
    for where in ("everywhere", ""):
        gradients = []
        for loss in (compiled, eager):
            logits, targets = spoiled(where)
            logits.requires_grad_()
            checkpoint(
                lambda x, loss=loss, targets=targets: loss(x * 1, targets), logits, use_reentrant=False
            ).backward()
            gradients.append(logits.grad)
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)
    assert built() - before == 1
