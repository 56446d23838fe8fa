"""The compiled graph: equal to the eager one, without breaks, without recompiles, without a synchronisation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ava
from ava.compile import compiler
from ava.errors import CompileError

B, T, V = 2, 12, 17
CONFIG: dict[str, Any] = {
    "version": 1,
    "model": {"vocab_size": V, "eos_token_id": 0},
    "primary": {"type": "deepseek", "label_smoothing": 0.1, "temperature": {"initial": 1.2, "adaptive": True}},
    "terms": {
        "focal_loss": {"weight": 0.2},
        "z_loss": {"weight": {"from": 0.0, "to": 0.3, "steps": 20, "shape": "cosine"}},
        "token_diversity_loss": {},
        "immediate_repetition_penalty": {},
        "ngram_penalty": {"size": 2, "window": 5},
        "eos_penalty": {"min_length": 4},
    },
}


def load(**overrides: Any) -> ava.Loss:
    return ava.Loss.load(CONFIG, overrides=overrides or None)


def batch(seed: int, rows: int = B, length: int = T) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, length, V, generator=generator) * (1 + seed % 4)
    targets = torch.randint(3, (rows, length), generator=generator)
    targets[0, 2] = -100
    return logits.requires_grad_(), targets


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    torch._dynamo.utils.counters.clear()


def recompiles() -> int:
    """Graphs that Dynamo built since the counters were cleared."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def breaks() -> int:
    return sum(torch._dynamo.utils.counters["graph_break"].values())


@pytest.mark.compiled
def test_fifty_steps_of_changing_numbers_are_one_graph_and_equal_the_eager_ones() -> None:
    compiled, eager = load(), load(**{"compile.enabled": False})
    for step in range(50):
        (x, y), (x2, _) = batch(step), batch(step)
        items = (None, 30 + step, float(step + 1), torch.tensor(17 + step))[step % 4] if step % 8 > 3 else 20 + step
        loss, expected = compiled(x, y, num_items=items), eager(x2, y, num_items=items)
        torch.testing.assert_close(loss, expected)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(x.grad, x2.grad)
        if step == 7:  # with and without `num_items`: a graph each
            built = recompiles()
    assert recompiles() == built
    assert built <= 2
    assert breaks() == 0
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, eager.state_dict()[name], rtol=1e-6, atol=1e-6, msg=name)
    assert compiled.metrics()["temperature"].item() != 1.2
    assert int(compiled.metrics()["step"]) == 50

    # A loss that differs in numbers only is the same graph.
    other = load(**{"terms.eos_penalty.weight": 0.7, "primary.temperature.initial": 0.9})
    other(*batch(0), num_items=9).backward()
    assert recompiles() == built


@pytest.mark.compiled
def test_ten_shapes_cost_one_recompile_at_the_most() -> None:
    loss, eager = load(), load(**{"compile.enabled": False})
    shapes = [(2, 12), (3, 12), (2, 7), (5, 9), (1, 30), (4, 4), (6, 13), (2, 31), (7, 3), (1, 8)]
    for seed, shape in enumerate(shapes):
        (x, y), (x2, _) = batch(seed, *shape), batch(seed, *shape)
        loss.state.load_state_dict(eager.state.state_dict())
        out = loss(x, y)
        torch.testing.assert_close(out, eager(x2, y))
        out.backward()
    assert recompiles() <= 2
    assert breaks() == 0


@pytest.mark.compiled
def test_a_detailed_call_without_gradients_compiles_for_any_number_of_columns() -> None:
    for terms in ({}, {"ngram_penalty": {"window": 3}}, {"eos_penalty": {}, "ngram_penalty": {"window": 3}}):
        config = {**CONFIG, "terms": terms, "compile": {"backend": "aot_eager"}}
        loss = ava.Loss.load(config).eval()
        eager = ava.Loss.load(config, overrides={"compile.enabled": False}).eval()
        x, y = batch(3)
        with torch.no_grad():
            out, expected = loss(x, y, return_detailed=True), eager(x, y, return_detailed=True)
        assert dict(out).keys() == dict(expected).keys()
        for name, value in out.items():
            torch.testing.assert_close(value, expected[name])


@pytest.mark.compiled
def test_a_caller_may_compile_the_whole_step_into_one_graph() -> None:
    loss, eager = load(), load(**{"compile.enabled": False})

    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return loss(logits * 2.0, targets)

    for seed in range(3):
        (x, y), (x2, _) = batch(seed), batch(seed)
        out = step(x, y)
        expected = eager(x2 * 2.0, y)
        torch.testing.assert_close(out, expected)
        out.backward()
        expected.backward()
        torch.testing.assert_close(x.grad, x2.grad)
    assert int(loss.metrics()["step"]) == 3


class NoReading(TorchDispatchMode):
    """Fails on any operation that would make the host wait for a device."""

    READS = ("_local_scalar_dense", "is_nonzero", "equal", "item")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.READS, f"{name} reads a tensor"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("detailed", [False, True])
def test_nothing_in_a_training_step_reads_a_tensor(detailed: bool) -> None:
    loss = load(**{"compile.enabled": False})
    x, y = batch(1)
    mask, items = torch.ones(B, T), torch.tensor(11)
    with NoReading():
        out = loss(x, y, attention_mask=mask, num_items=items, return_detailed=detailed)
        (out["total_loss"] if detailed else out).backward()
        loss.close_step()
    with pytest.raises(AssertionError, match="reads a tensor"), NoReading():
        items.item()


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    compiler._warn_once.cache_clear()
    monkeypatch.setattr(compiler, "_missing_toolchain", lambda device: "there is no C++ compiler (g++ or clang++)")
    yield
    compiler._warn_once.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_loss_runs_uncompiled_and_says_so_once() -> None:
    x, y = batch(2)
    expected = load(**{"compile.enabled": False})(x, y)
    with pytest.warns(compiler.EagerFallbackWarning, match=r"uncompiled.*no C\+\+ compiler") as caught:
        torch.testing.assert_close(load()(x, y), expected)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load()(x, y)


@pytest.mark.usefixtures("no_compiler")
def test_a_file_may_forbid_the_fallback() -> None:
    with pytest.raises(CompileError, match=r"no C\+\+ compiler.*`compile\.enabled`"):
        load(**{"compile.enabled": True})(*batch(2))


@pytest.fixture
def broken_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A compiler that is found and cannot compile."""
    from torch._dynamo.exc import BackendCompilerFailed

    def fail(function: Any, **_: Any) -> Any:
        def call(*arguments: Any) -> Any:
            raise BackendCompilerFailed(function, RuntimeError("Python.h: No such file"), None)

        return call

    monkeypatch.setattr(torch, "compile", fail)
    compiler._warn_once.cache_clear()
    yield
    compiler._warn_once.cache_clear()


@pytest.mark.usefixtures("broken_compiler")
def test_a_compiler_that_fails_is_like_none() -> None:
    other = {"terms.ngram_penalty.window": 3}  # a graph that no other test has made
    x, y = batch(2)
    expected, loss = load(**other, **{"compile.enabled": False})(x, y), load(**other)
    with pytest.warns(compiler.EagerFallbackWarning, match=r"uncompiled.*Python\.h: No such file") as caught:
        torch.testing.assert_close(loss(x, y), expected)
    assert len(caught) == 1
    assert int(loss.metrics()["step"]) == 1  # the call that failed is not counted twice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(x, y)
    with pytest.raises(CompileError, match=r"the compiler failed.*Python\.h"):
        load(**other, **{"compile.enabled": True})(x, y)


@pytest.mark.compiled
def test_backward_runs_twice_on_a_kept_graph() -> None:
    loss = load()
    x, y = batch(4)
    out = loss(x, y)
    (first,) = torch.autograd.grad(out, x, retain_graph=True)
    (second,) = torch.autograd.grad(3.0 * out, x)
    torch.testing.assert_close(second, 3.0 * first)
