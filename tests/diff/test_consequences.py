"""``diff``: sizes, consequences in words, and the places of changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ava.config import ROSTER, Config
from ava.plan import Plan
from ava.plan.diff.words import size


def consequence(before: dict, after: dict) -> str:
    configs = [Config.load({"version": 1, **document}) for document in (before, after)]
    (change,) = configs[0].diff(configs[1])
    return change.consequence


def term(name: str, **fields: object) -> dict:
    return {"model": {"eos_token_id": 2}, "terms": {name: fields}}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(0.1, 0.2, "×2, +0.1"), (2, 1, "×0.5, -1"), (0, 1, "+1"), (0.3, 0.1, "×0.333, -0.2"), (None, 1, "")],
)
def test_sizes(before, after, said):
    assert size(before, after) == said


@pytest.mark.parametrize("name", ROSTER)
@pytest.mark.parametrize(("factor", "how"), [(2, "twice as hard"), (0.5, "half as hard"), (3, "3 times as hard")])
def test_a_weight_pushes_harder(name, factor, how):
    said = consequence(term(name, weight=0.25), term(name, weight=0.25 * factor))
    assert how in said
    assert f"×{factor:g}" in said
    assert "recompiles" not in said


def test_a_weight_that_comes_or_goes():
    assert consequence(term("z_loss", weight=0.0), term("z_loss", weight=0.5)) == "part of the total now (+0.5)"
    assert consequence(term("z_loss", weight=0.5), term("z_loss", weight=0.0)) == "no longer part of the total (-0.5)"
    schedule = {"from": 0, "to": 1, "steps": 2000, "delay": 10, "shape": "cosine"}
    said = consequence(term("z_loss", weight=0.5), term("z_loss", weight=schedule))
    assert said == "the weight was 0.5 and is 0 → 1 over 2,000 steps after 10, cosine; at its end ×2, +0.5"


@pytest.mark.parametrize("key", ["eos_token_id", "pad_token_id", "ignore_index"])
def test_token_0_is_a_token_and_ids_have_no_size(key):
    said = consequence({"model": {key: 7}}, {"model": {key: 0}})
    assert {"eos_token_id": "ends at token 0", "pad_token_id": "of token 0 do", "ignore_index": "of 0 no"}[key] in said
    assert "×" not in said


def test_what_is_learned_and_what_is_counted_over_ranks():
    on = {"terms": {"z_loss": {}}}
    assert "give `loss.parameters()` to the optimizer" in consequence(on, {**on, "balancing": "uncertainty"})
    assert "nothing is learned" in consequence({**on, "balancing": "uncertainty"}, on)
    ranks = {**on, "reduction": {"across": "data_parallel"}}
    assert "over all ranks" in consequence(on, ranks)
    assert "each rank" in consequence(ranks, on)


def test_the_life_of_a_parameter():
    said = consequence(term("ngram_penalty", window=64), term("ngram_penalty", window=128))
    plans = [Plan(Config.load({"version": 1, **term("ngram_penalty", window=window)})) for window in (64, 128)]
    more = plans[1].cost.saved_bytes - plans[0].cost.saved_bytes
    assert said == f"looks back 128 positions, not 64 (×2, +64); recompiles; +N·{more} bytes"


def test_recompiles_is_what_the_plans_key_says():
    for path, value in [
        ("terms.z_loss.weight", 1.0),
        ("primary.temperature.rate", 0.5),
        ("compile.mode", "max-autotune"),
    ]:
        before = Config.load("production", eos_token_id=2)
        after = Config.load(before, overrides={path: value})
        (change,) = before.diff(after)
        assert ("recompiles" in change.consequence) == (Plan(before).key != Plan(after).key), path
    off = Config.load("production", overrides={"compile.enabled": False}, eos_token_id=2)
    (change,) = Config.load("production", eos_token_id=2).diff(off)
    assert change.consequence == "runs uncompiled: slower, and with more memory"


def test_heads_cost_passes_and_parameters():
    document = {"model": {"hidden_size": 8, "vocab_size": 100}}
    said = consequence(document, {**document, "terms": {"mtp_loss": {}}})
    for words in ("needs `hidden_states` now", "brings heads", "recompiles", "+3 passes", "+2,416 parameters"):
        assert words in said


def test_a_value_that_a_parent_lost_is_shown_in_the_parent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("child.yaml").write_text("version: 1\nextends: ./parent.yaml\nterms:\n  ngram_penalty: {weight: 0.1}\n")
    parent = "version: 1\nterms:\n  z_loss: {}\n  ngram_penalty: {weight: 0.3, window: 20}\n"
    Path("parent.yaml").write_text(parent)
    before = Config.load("child.yaml")
    Path("parent.yaml").write_text(parent.replace("window: 20", "size: 3"))
    size_, window = sorted(before.diff(Config.load("child.yaml")), key=lambda change: change.name)
    assert (size_.name, size_.file, size_.line) == ("terms.ngram_penalty.size", "parent.yaml", 4)
    assert (window.name, window.before, window.after) == ("terms.ngram_penalty.window", 20, 50)
    assert (window.file, window.line) == ("parent.yaml", 4)
    Path("parent.yaml").write_text("version: 1\n")
    changes = before.diff(Config.load("child.yaml"))
    assert {change.name: change.file for change in changes} == {
        "terms.z_loss": "parent.yaml",
        "terms.ngram_penalty.window": "parent.yaml",
    }
