"""``diff``: the class of every kind of change, both ways."""

from __future__ import annotations

from typing import ClassVar

import pytest

from ava.config import ROSTER, Config, Terms
from ava.config.change import CLASSES
from ava.errors import ArgumentTypeError
from ava.plan import Plan
from ava.plan.diff import diff
from ava.terms.base import TARGET, Needs, RowTerm, Weight

FULL = {
    "version": 1,
    "model": {"vocab_size": 1000, "eos_token_id": 2, "pad_token_id": 0, "hidden_size": 64, "num_experts": 8},
    "primary": {"type": "deepseek", "temperature": {"adaptive": True}},
    "terms": {
        name: {}
        for name in (
            "z_loss",
            "ngram_penalty",
            "eos_penalty",
            "immediate_repetition_penalty",
            "mtp_loss",
            "moe_balance_loss",
        )
    },
}
FULL["terms"]["router_z_loss"] = {"weight": 0.0}
FULL["terms"]["expert_diversity_loss"] = {"if_missing": "skip"}


def change(path: str, value: object):
    """Return the only change that setting one value of ``FULL`` makes."""
    config = Config.load(FULL)
    changes = config.diff(Config.load(FULL, overrides={path: value}))
    assert [item.name for item in changes] == [path]
    return changes[0]


@pytest.mark.parametrize(
    ("path", "value", "class_"),
    [
        ("terms.contrastive_loss", {}, "objective"),  # `mtp_loss` needs hidden states already
        ("terms.distillation_loss", {}, "breaking"),
        ("terms.distillation_loss", {"if_missing": "skip"}, "objective"),
        ("terms.distillation_loss", {"weight": 0.0}, "breaking"),
        ("terms.expert_diversity_loss.if_missing", "error", "breaking"),
        ("terms.mtp_loss.if_missing", "skip", "objective"),
        ("terms.mtp_loss.num_future_tokens", 2, "breaking"),
        ("terms.mtp_loss.heads", "shared", "breaking"),
        ("terms.moe_balance_loss.method", "loss_free", "breaking"),
        ("terms.moe_balance_loss.method", "switch", "objective"),
        ("terms.moe_balance_loss.target_expert_usage", [0.3] + [0.1] * 7, "objective"),  # as `num_experts` says
        ("model.num_experts", 16, "breaking"),
        ("model.hidden_size", 128, "breaking"),
        ("model.vocab_size", 2000, "breaking"),
        ("model.padded_vocab_size", 1024, "breaking"),
        ("model.eos_token_id", None, "breaking"),
        ("model.eos_token_id", 3, "objective"),
        ("model.pad_token_id", 2, "objective"),
        ("model.ignore_index", -1, "objective"),
        ("model.logit_scale", 0.5, "objective"),
        ("model.logit_softcap", 30.0, "objective"),
        ("model.top_k", 1, "objective"),
        ("targets.shift", True, "objective"),
        ("primary.label_smoothing", 0.1, "objective"),
        ("primary.temperature.initial", 2, "objective"),
        ("primary.temperature.adaptive", False, "objective"),
        ("primary.temperature.bounds", [0.9, 1.1], "objective"),
        ("primary.temperature", None, "objective"),
        ("terms.z_loss.weight", 1.0, "objective"),
        ("terms.z_loss.weight", {"from": 0, "to": 1e-4, "steps": 10}, "objective"),
        ("terms.router_z_loss.weight", 0.1, "objective"),
        ("terms.ngram_penalty.window", 128, "objective"),
        ("terms.token_diversity_loss", {}, "objective"),
        ("terms.ngram_penalty", None, "objective"),
        ("terms.mtp_loss.weighting", "adaptive", "objective"),
        ("terms.mtp_loss.confidence_threshold", 0.5, "numerics"),
        ("terms.moe_balance_loss.rate", 0.5, "numerics"),
        ("balancing", "uncertainty", "objective"),
        ("reduction.across", "data_parallel", "objective"),
        ("reduction.gradient_accumulation_steps", 4, "objective"),
        ("compile.enabled", False, "numerics"),
        ("compile.backend", "eager", "numerics"),
        ("compile.mode", "max-autotune", "numerics"),
        ("compile.chunk_tokens", 256, "numerics"),
        ("compile.checks", "full", "reporting"),
        ("terms.token_diversity_loss", {"weight": 0.0}, "reporting"),
        ("terms.router_z_loss", None, "reporting"),
        ("terms.router_z_loss.weight", {"from": 0, "to": 0, "steps": 5}, "reporting"),
        ("terms.z_loss.if_missing", "skip", "cosmetic"),
        ("description", "other words", "cosmetic"),
    ],
)
def test_the_class_of_a_change(path, value, class_):
    found = change(path, value)
    assert found.class_ == class_
    assert (found.file, found.line) == ("--set", 1)
    assert found.consequence


def test_the_classes_are_in_order_and_the_worst_comes_first():
    assert CLASSES == ("breaking", "objective", "numerics", "reporting", "cosmetic")
    overrides = {
        "description": "x",
        "compile.checks": "off",
        "compile.mode": "max-autotune",
        "targets.shift": True,
        "model.hidden_size": 7,
    }
    changes = Config.load(FULL).diff(Config.load(FULL, overrides=overrides))
    assert [item.class_ for item in changes] == list(CLASSES)
    assert [item.rank for item in changes] == [0, 1, 2, 3, 4]


def test_a_new_need_counts_once_it_is_the_first():
    plain = {"version": 1, "model": {"num_experts": 8}}
    one, both = {"router_z_loss": {}}, {"router_z_loss": {}, "moe_balance_loss": {}}
    first = Config.load(plain).diff(Config.load({**plain, "terms": one}))
    second = Config.load({**plain, "terms": one}).diff(Config.load({**plain, "terms": both}))
    assert [item.class_ for item in (*first, *second)] == ["breaking", "objective"]
    assert "needs `gate_logits` now" in first[0].consequence


@pytest.mark.parametrize(("given", "class_"), [({}, "breaking"), ({"eos_token_id": 2}, "objective")])
def test_a_field_that_the_caller_must_give_now_is_breaking(given, class_):
    before = Config.load({"version": 1, "model": given})
    found = before.diff(Config.load({"version": 1, "model": given, "terms": {"eos_penalty": {}}}))
    assert [item.class_ for item in found] == [class_]


def test_a_list_of_shares_says_how_many_experts_there_are():
    before = Config.load({"version": 1, "terms": {"moe_balance_loss": {}}})
    shares = {"terms.moe_balance_loss.target_expert_usage": [0.25, 0.75]}
    (found,) = before.diff(Config.load(before, overrides=shares))
    assert (found.class_, found.after) == ("breaking", [0.25, 0.75])
    assert "`gate_logits` must have 2 experts now" in found.consequence


def test_what_has_the_same_value_is_no_change_of_the_objective():
    before = Config.load({"version": 1})
    same = before.diff(Config.load({"version": 1, "primary": {"type": "deepseek", "temperature": {}}}))
    assert {item.class_ for item in same} == {"numerics"}
    unread = {"primary": {"type": "deepseek", "temperature": {"initial": 2.0}}}
    changed = {"primary": {"type": "deepseek", "temperature": {"initial": 2.0, "bounds": [0.9, 1.1]}}}
    found = Config.load({"version": 1, **unread}).diff(Config.load({"version": 1, **changed}))
    assert [item.class_ for item in found] == ["cosmetic"]
    assert before.diff(Config.load({"version": 1, "model": {"hidden_size": 8}}))[0].class_ == "cosmetic"


@pytest.mark.parametrize("name", ROSTER)
def test_every_term_switched_on_and_off(name):
    """A term is one change, and what a needed tensor makes breaking is only the way in."""
    document = {"version": 1, "model": {"eos_token_id": 2}}
    off, on = Config.load(document), Config.load({**document, "terms": {name: {}}})
    (added,), (removed,) = off.diff(on), on.diff(off)
    needy = bool(Plan(on).inputs)
    assert added.class_ == ("breaking" if needy else "objective")
    assert removed.class_ == "objective"
    assert (added.before, removed.after) == (None, None)
    assert added.after == removed.before == on.to_dict()["terms"][name]
    assert all(f"`{tensor}`" in added.consequence for tensor in Plan(on).inputs)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("weight: 1", "weight: 1.0", "1 written as 1.0"),
        ("weight: 0.1", "{}", "a default no longer written out"),
        ("{}", "window: 50", "a default written out"),
    ],
)
def test_what_is_only_written_differently_is_cosmetic(tmp_path, before, after, said):
    configs = []
    for name, text in (("a.yaml", before), ("b.yaml", after)):
        value = text if text == "{}" else f"{{{text}}}"
        (tmp_path / name).write_text(f"version: 1\nterms:\n  ngram_penalty: {value}\n")
        configs.append(Config.load(tmp_path / name))
    assert configs[0] == configs[1]
    (change,) = configs[0].diff(configs[1])
    assert (change.class_, change.consequence) == ("cosmetic", said)
    assert change.before == change.after
    assert change.line == 3


def test_equal_configurations_have_no_changes():
    config = Config.load(FULL)
    assert config.diff(Config.load(FULL)) == ()
    assert config.diff(config) == ()
    with pytest.raises(ArgumentTypeError, match="not dict"):
        config.diff(FULL)


def test_a_change_is_frozen_and_plain_as_a_dict():
    found = change("terms.ngram_penalty.window", 128)
    assert hash(found.path)
    with pytest.raises(AttributeError):
        found.before = 3
    assert found.to_dict() == {
        "path": "terms.ngram_penalty.window",
        "class": "objective",
        "before": 50,
        "after": 128,
        "consequence": found.consequence,
        "file": "--set",
        "line": 1,
    }


class Foreign(RowTerm):
    """A term of another package."""

    name: ClassVar[str] = "foreign_loss"
    formula: ClassVar[str] = "0"
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.1, 1.0)}
    weight: Weight = 0.5
    depth: int = 1

    def needs(self):
        return Needs(picks=(TARGET,))

    def value(self, rows):
        return rows.nll * 0

    def untrained(self, vocab_size):
        return 0.0


def test_a_term_of_another_package():
    off = Config.load({"version": 1, "terms": {"z_loss": {}}})
    one, two = (Config(terms=Terms.model_validate({"foreign_loss": Foreign(depth=depth)})) for depth in (1, 2))
    (changed,) = one.diff(two)
    assert (changed.name, changed.class_, changed.consequence) == (
        "terms.foreign_loss.depth",
        "objective",
        "×2, +1; recompiles",
    )
    heavier = Config(terms=Terms.model_validate({"foreign_loss": Foreign(weight=1.0)}))
    assert one.diff(heavier)[0].consequence == "counts twice as hard (×2, +0.5)"
    added, removed = off.diff(one)
    assert (added.name, added.before, removed.name, removed.after) == ("terms.foreign_loss", None, "terms.z_loss", None)
    gone = one.diff(off)
    assert [(change.name, change.class_) for change in gone] == [
        ("terms.z_loss", "objective"),
        ("terms.foreign_loss", "objective"),
    ]


def test_a_default_of_another_version():
    before = Config.load({"version": 1, "terms": {"ngram_penalty": {"window": 40}}})
    after = Config.load({"version": 1, "terms": {"ngram_penalty": {}}})
    (found,) = diff(before, after, drifted=frozenset({("terms", "ngram_penalty", "window")}))
    assert found.consequence.startswith("the default changed, and no file sets it")
