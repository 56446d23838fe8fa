"""Which graphs are compiled, with what, and which are shared; nothing here compiles any."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch._inductor import list_mode_options

from ava import Config, Plan
from ava.compile import compiler
from ava.compile.batch import Mode
from ava.compile.compiler import compiled_graph
from ava.compile.graph import Graph

CPU = torch.device("cpu")
MODE = Mode(vocab_size=8, detailed=False, training=True, closes_every=1)
CONFIG: dict[str, Any] = {
    "version": 1,
    "model": {"eos_token_id": 3},
    "primary": {"type": "deepseek", "temperature": {"adaptive": True}},
    "terms": {"z_loss": {"weight": 0.1}, "ngram_penalty": {}, "focal_loss": {}},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``torch.compile`` is asked for, in place of compiling."""
    calls: list[dict[str, Any]] = []

    def record(function: Any, **arguments: Any) -> Any:
        calls.append({"function": function, **arguments})
        return function

    monkeypatch.setattr(torch, "compile", record)
    monkeypatch.setattr(compiler, "_graph", functools.lru_cache(compiler._graph.__wrapped__))  # leave the real ones
    return calls


def graph(mode: Mode = MODE, variant: tuple[Any, ...] = (), **overrides: Any) -> Graph:
    plan = Plan(Config.load(CONFIG, overrides={key.replace("__", "."): value for key, value in overrides.items()}))
    return compiled_graph(plan, mode, CPU, variant)


RUNTIME = {
    "terms__z_loss__weight": 0.7,
    "terms__ngram_penalty__weight": {"from": 0, "to": 1, "steps": 5},
    "primary__temperature__initial": 1.5,
    "primary__temperature__rate": 0.05,
    "primary__temperature__bounds": [0.9, 1.1],
    "description": "something else",
}
STATIC = {
    "terms__ngram_penalty__window": 9,
    "terms__focal_loss__gamma": 1.0,
    "terms__eos_penalty": {},
    "primary__label_smoothing": 0.1,
    "primary__temperature__adaptive": False,
    "model__eos_token_id": 4,
    "targets__shift": True,
    "balancing": "uncertainty",
    "compile__backend": "aot_eager",
}


@pytest.mark.parametrize("field", RUNTIME)
def test_numbers_share_a_graph(asked: list[dict[str, Any]], field: str) -> None:
    assert graph(**{field: RUNTIME[field]}) is graph()
    assert len(asked) == 1


@pytest.mark.parametrize("field", STATIC)
def test_what_changes_the_maths_makes_a_graph(asked: list[dict[str, Any]], field: str) -> None:
    assert graph(**{field: STATIC[field]}) is not graph()
    assert len(asked) == 2


def test_a_mode_and_a_variant_make_a_graph(asked: list[dict[str, Any]]) -> None:
    others = [
        graph(),
        graph(variant=(torch.bfloat16,)),
        graph(Mode(9, False, True, 1)),
        graph(Mode(8, True, True, 1)),
        graph(Mode(8, False, False, 1)),
        graph(Mode(8, False, True, 0)),
    ]
    assert len(set(others)) == len(asked) == 6
    codes = [call["function"].__code__ for call in asked]
    assert len({code.co_name for code in codes}) == 6, "Dynamo would take them for one function"


def test_what_the_compiler_is_asked_for(asked: list[dict[str, Any]]) -> None:
    graph()
    graph(compile__mode="max-autotune")
    graph(compile__backend="aot_eager", compile__mode="max-autotune")
    contracted = {"cpp.enable_floating_point_contract_flag": "fast"}
    assert [{key: value for key, value in call.items() if key != "function"} for call in asked] == [
        {"backend": "inductor", "fullgraph": True, "options": contracted},
        {"backend": "inductor", "fullgraph": True, "options": {**list_mode_options("max-autotune"), **contracted}},
        {"backend": "aot_eager", "fullgraph": True},
    ]


@pytest.mark.parametrize("off", [{"compile__enabled": False}, {"compile__backend": "eager"}], ids=str)
def test_uncompiled(asked: list[dict[str, Any]], off: dict[str, Any]) -> None:
    assert graph(**off) is graph(**off)
    assert not asked


def test_what_a_machine_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler._missing_toolchain.cache_clear()
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    assert "C++ compiler" in str(compiler._missing_toolchain("cpu"))
    assert "no backend for `mps`" in str(compiler._missing_toolchain("mps"))
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    assert "Triton" in str(compiler._missing_toolchain("cuda"))
    compiler._missing_toolchain.cache_clear()
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    monkeypatch.setattr(compiler.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert compiler._missing_toolchain("cpu") is None
    assert compiler._missing_toolchain("cuda") is None
    compiler._missing_toolchain.cache_clear()
