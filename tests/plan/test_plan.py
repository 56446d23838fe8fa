"""The plan joins what the terms need, and keys the compiled graph by what is static."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ava.config import ROSTER, Config
from ava.errors import ArgumentValueError
from ava.load import list_presets
from ava.plan import Cost, Plan
from ava.terms.base import CONTEXT, EOS, TARGET, Candidates, Needs, Statistic

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]


EVERY_TERM = "every_term"


def plan(document: dict[str, Any] | None = None, **model: Any) -> Plan:
    return Plan(Config.load({"version": 1, **(document or {})}, **model))


def terms(*names: str, **fields: dict[str, Any]) -> Plan:
    return plan({"terms": {**{name: {} for name in names}, **fields}})


@pytest.mark.parametrize("name", PRESETS)
def test_the_text_of_each_preset(name: str, golden: Callable[[str, str], None]) -> None:
    text = str(Plan(Config.load(name, eos_token_id=2)))
    assert max(map(len, text.splitlines())) <= 100
    golden(name, text)


def test_the_text_with_every_term_and_long_values(golden: Callable[[str, str], None]) -> None:
    schedule = {"from": 0, "to": 0.5, "steps": 2000, "delay": 100, "shape": "cosine"}
    document = {
        "description": "Every term there is, " + "described at length, " * 10,
        "primary": {"type": "deepseek", "label_smoothing": 0.1, "temperature": {}},
        "terms": {name: {"weight": schedule} for name in ROSTER},
        "balancing": "uncertainty",
    }
    text = str(plan(document, vocab_size=50257, hidden_size=768))
    assert max(map(len, text.splitlines())) <= 100
    golden(EVERY_TERM, text)


def test_no_snapshot_is_left_over() -> None:
    folder = Path(__file__).parent / "snapshots"
    assert {path.stem for path in folder.iterdir()} == {*PRESETS, EVERY_TERM}


def test_nothing_is_planned_that_nobody_asked_for() -> None:
    bare = plan()
    assert (bare.terms, bare.needs, bare.inputs, bare.required_model) == ((), Needs(picks=(TARGET,)), (), ())


def test_equal_needs_are_merged_and_ordered() -> None:
    merged = terms("ngram_penalty", "eos_penalty", "immediate_repetition_penalty", "focal_loss").needs
    assert merged.picks == (TARGET, CONTEXT, EOS, Candidates(4, 50))
    assert merged.statistics == {Statistic.MARGIN, Statistic.MAX_LOG_PROB}
    assert merged.positions == {"before"}


@given(st.lists(st.sampled_from(list(ROSTER)), unique=True))
def test_a_plan_covers_every_term_in_any_order(names: list[str]) -> None:
    planned = terms(*names)
    assert planned == terms(*reversed(names))
    assert [item.name for item in planned.terms] == [name for name in ROSTER if name in names]
    for item in planned.terms:
        assert item.needs.statistics <= planned.needs.statistics
        assert set(item.needs.picks) <= set(planned.needs.picks)
        assert set(item.needs.inputs) <= set(planned.inputs)
        assert set(item.needs.model) <= set(planned.required_model)
        assert item.needs.positions <= planned.needs.positions


@given(st.lists(st.sampled_from(list(ROSTER)), unique=True, min_size=1))
def test_a_terms_cost_is_what_leaving_it_out_saves(names: list[str]) -> None:
    whole, rest = terms(*names), terms(*names[1:])
    (cost,) = [item.cost for item in whole.terms if item.name == names[0]]
    assert rest.cost + cost == whole.cost


def test_what_a_run_must_bring() -> None:
    wanted = terms("eos_penalty", "moe_balance_loss", "router_z_loss", "distillation_loss")
    assert wanted.required_model == ("eos_token_id",)
    assert wanted.inputs == ("gate_logits", "teacher_logits")


BASE = {"primary": {"type": "deepseek", "temperature": {}}, "terms": {"ngram_penalty": {}, "z_loss": {}}}
RUNTIME = [
    ("description", "something else"),
    ("terms.z_loss.weight", 0.3),
    ("terms.z_loss.weight", {"from": 0, "to": 1, "steps": 10}),
    ("primary.temperature.initial", 1.5),
    ("primary.temperature.bounds", [0.7, 1.5]),
    ("primary.temperature.rate", 0.5),
    ("model.hidden_size", 768),
    ("model.num_experts", 8),
]
STATIC = [
    ("primary.type", "adaptive_mtp"),
    ("primary.label_smoothing", 0.1),
    ("primary.temperature.adaptive", True),
    ("terms.z_loss", None),
    ("terms.focal_loss", {}),
    ("terms.ngram_penalty.window", 51),
    ("terms.ngram_penalty.if_missing", "skip"),
    ("model.vocab_size", 100),
    ("model.padded_vocab_size", 128),
    ("model.eos_token_id", 3),
    ("model.pad_token_id", 3),
    ("model.ignore_index", -1),
    ("model.logit_softcap", 30.0),
    ("targets.shift", True),
    ("balancing", "uncertainty"),
    ("reduction.across", "data_parallel"),
    ("reduction.gradient_accumulation_steps", 2),
    ("compile.backend", "eager"),
    ("compile.mode", "max-autotune"),
    ("compile.checks", "full"),
]


@pytest.mark.parametrize(("path", "value"), RUNTIME)
def test_a_runtime_field_keeps_the_graph(path: str, value: object) -> None:
    changed = Plan(Config.load({"version": 1, **BASE}, overrides={path: value}))
    assert changed != plan(BASE)
    assert changed.key == plan(BASE).key
    assert hash(changed.key) == hash(plan(BASE).key)


@pytest.mark.parametrize(("path", "value"), STATIC)
def test_a_static_field_changes_the_graph(path: str, value: object) -> None:
    overrides: dict[str, Any] = {path: value}
    if path == "primary.type":
        overrides["primary.temperature"] = None
    assert Plan(Config.load({"version": 1, **BASE}, overrides=overrides)).key != plan(BASE).key


def test_it_is_frozen_hashable_and_picklable() -> None:
    one, other = plan(BASE), plan(BASE)
    assert (one, hash(one), str(one)) == (other, hash(other), str(other))
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.config = Config()  # type: ignore[misc]


def test_memory_of_the_logits_engine_is_the_gradient_of_the_logits_above_all() -> None:
    bare, full = plan(), terms("ngram_penalty")
    assert bare.memory(1024, 50257, 4) >= 1024 * 50257 * 4
    assert bare.memory(1024, 50257, 4) < 1.01 * 1024 * 50257 * 4
    saved = 1024 * full.terms[0].cost.saved_bytes  # the backward pass holds as much again for a while
    assert saved < full.memory(1024, 50257, 4) - bare.memory(1024, 50257, 4) < 3 * saved
    assert bare.memory(2048, 50257, 2) == pytest.approx(bare.memory(1024, 50257, 4), rel=0.01)


def test_memory_of_a_loss_that_is_not_compiled_is_several_times_that_of_the_logits() -> None:
    eager = plan({"compile": {"enabled": False}})
    assert 3 < eager.memory(1024, 50257, 4) / plan().memory(1024, 50257, 4) < 3.5


def test_terms_on_hidden_states_and_experts_cost_something() -> None:
    names = ("contrastive_loss", "moe_balance_loss", "router_z_loss", "expert_diversity_loss")
    sized = plan({"terms": {name: {} for name in names}}, num_experts=8, hidden_size=64)
    costs = {planned.name: planned.cost for planned in sized.terms}
    assert all(costs[name].flops > 0 and costs[name].saved_bytes > 0 for name in names)
    assert sized.memory(1024, 1024, 4) - plan().memory(1024, 1024, 4) >= 1024 * 8 * 64 * 4


def test_memory_of_the_linear_engine_does_not_grow_with_rows_times_vocabulary() -> None:
    small = plan({"compile": {"chunk_tokens": 128}})
    assert small.memory(4096, 50257, 4, "linear", hidden_size=768) < small.memory(4096, 50257, 4) / 2
    with pytest.raises(ArgumentValueError, match="hidden_size"):
        small.memory(4096, 50257, 4, "linear")


@pytest.mark.parametrize(
    ("heads", "parameters"),
    [("linear", 2 * 8 + 3 * 8 * 50), ("shared", 3 * (16 + 64) + 8 * 50), ("tied", 3 * (16 + 64))],
)
def test_the_parameters_of_the_losss_own_heads(heads: str, parameters: int) -> None:
    document = {"terms": {"mtp_loss": {"heads": heads}}}
    assert plan(document, hidden_size=8, vocab_size=50).cost == Cost(1, 12, 3, 12, parameters)
    assert plan(document).cost.parameters == 0
