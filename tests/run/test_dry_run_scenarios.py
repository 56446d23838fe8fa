"""The synthetic tensors do what their names say, for every preset."""

from __future__ import annotations

import pytest
import torch

from ava.config import Config
from ava.load import list_presets
from ava.plan import Plan
from ava.run.dry_run.fill import fill
from ava.run.dry_run.scenarios import Scenario, draw
from ava.run.loss import Loss

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
EVERY = {"version": 1, "terms": {"immediate_repetition_penalty": {}, "ngram_penalty": {}, "eos_penalty": {}}}


def loss_of(source, **overrides) -> Loss:
    config = Config.load(source, overrides=overrides or None)
    return Loss(fill(config, vocab_size=64, compiled=False, engine="linear").config)


def raw(loss: Loss, scenario: Scenario, length: int = 96, engine: str = "logits") -> dict[str, float]:
    tensors = draw(loss.plan, scenario, batch=3, length=length, engine=engine)
    out = loss(**tensors, return_detailed=True)
    return {name: value.item() for name, value in out.items()}


@pytest.mark.parametrize("scenario", Scenario)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_every_scenario(name, scenario):
    loss = loss_of(name)
    out = raw(loss, scenario, length=17)
    assert all(value == value and abs(value) != float("inf") for value in out.values())
    assert {planned.name for planned in loss.plan.terms} <= set(out)


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("scenario", Scenario)
def test_short_rows(scenario, length, engine):
    raw(loss_of(EVERY), scenario, length, engine)


TIMES = 3
"""How much larger a term is where it should react than on random tensors, at the least."""


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize(
    ("scenario", "term", "fields"),
    [
        (Scenario.REPETITIVE, "immediate_repetition_penalty", {}),
        (Scenario.REPETITIVE, "ngram_penalty", {}),
        (Scenario.COLLAPSED, "eos_penalty", {}),
        (Scenario.COLLAPSED, "token_diversity_loss", {}),
        (Scenario.SKEWED, "moe_balance_loss", {}),
        (Scenario.SKEWED, "moe_balance_loss", {"method": "switch"}),
        (Scenario.SKEWED, "router_z_loss", {}),
    ],
)
def test_each_scenario_wakes_its_term(scenario, term, fields, engine):
    document = {"version": 1, "terms": {term: fields}}
    one, other = (raw(loss_of(document), state, engine=engine)[f"raw/{term}"] for state in (Scenario.RANDOM, scenario))
    assert other > (TIMES if term != "router_z_loss" and not fields else 2) * one


@pytest.mark.parametrize("name", ["standard", "moe", "anti_repetition", "mtp", "production"])
def test_the_penalties_of_the_presets_wake(name):
    loss = loss_of(name)
    quiet, loud = raw(loss, Scenario.RANDOM), raw(loss, Scenario.REPETITIVE)
    for planned in loss.plan.terms:
        if "repetition" in planned.name or "ngram" in planned.name:
            assert loud[f"raw/{planned.name}"] > TIMES * quiet[f"raw/{planned.name}"]


@pytest.mark.parametrize("scenario", [Scenario.TRAINED, Scenario.REPETITIVE, Scenario.COLLAPSED])
@pytest.mark.parametrize("hidden_size", [16, 256])
def test_hidden_states_say_what_logits_say(scenario, hidden_size):
    config = Config.load(EVERY, overrides={"model.hidden_size": hidden_size})
    loss = Loss(fill(config, vocab_size=64, compiled=False).config)
    logits, hidden = (raw(loss, scenario, engine=engine) for engine in ("logits", "linear"))
    for name in ("metrics/accuracy", "metrics/confidence"):
        assert hidden[name] == pytest.approx(logits[name], abs=0.15 if hidden_size > 64 else 0.4)


@pytest.mark.parametrize("shift", [False, True])
def test_repetition_is_seen_and_only_there(shift):
    loss = loss_of(EVERY, **{"targets.shift": shift})
    for name in ("raw/immediate_repetition_penalty", "raw/ngram_penalty"):
        assert raw(loss, Scenario.REPETITIVE)[name] > 0.3
        assert raw(loss, Scenario.TRAINED)[name] < 0.1


@pytest.mark.parametrize(
    ("term", "field", "value"),
    [("immediate_repetition_penalty", "threshold", 4), ("ngram_penalty", "window", 1), ("ngram_penalty", "size", 1)],
)
def test_repetition_reaches_unusual_settings(term, field, value):
    loss = loss_of(EVERY, **{f"terms.{term}.{field}": value})
    assert raw(loss, Scenario.REPETITIVE)[f"raw/{term}"] > 0.05


@pytest.mark.parametrize("shift", [False, True])
def test_a_trained_model_predicts(shift):
    loss = loss_of(EVERY, **{"targets.shift": shift})
    assert raw(loss, Scenario.TRAINED)["metrics/accuracy"] > 0.5
    assert raw(loss, Scenario.RANDOM)["metrics/accuracy"] < 0.1


def test_a_collapsed_model_says_the_end_everywhere():
    out = raw(loss_of(EVERY), Scenario.COLLAPSED)
    assert out["metrics/confidence"] > 0.9
    assert out["raw/eos_penalty"] > 0.3


def test_rows_end_early_when_padded_and_hold_documents_when_packed():
    loss = loss_of(EVERY)
    assert raw(loss, Scenario.PADDED)["metrics/tokens"] < 3 * 96
    packed = draw(loss.plan, Scenario.PACKED, batch=3, length=96)
    assert (packed["targets"] == loss.config.model.eos_token_id).any(1).all()
    bare = Plan(Config.load({"version": 1}, vocab_size=64))
    assert draw(bare, Scenario.PACKED, batch=3, length=96)["segment_ids"].max() > 0


def test_routers():
    loss = loss_of("moe", **{"terms.moe_balance_loss.method": "switch"})
    assert raw(loss, Scenario.BALANCED)["raw/moe_balance_loss"] == pytest.approx(1, abs=0.01)
    assert raw(loss, Scenario.SKEWED)["raw/moe_balance_loss"] > 2


def test_a_seed_means_one_batch_whatever_the_dtype():
    plan = loss_of("moe").plan
    one, same = (draw(plan, Scenario.RANDOM, batch=2, length=5, seed=3) for _ in range(2))
    other = draw(plan, Scenario.RANDOM, batch=2, length=5, seed=4)
    half = draw(plan, Scenario.RANDOM, batch=2, length=5, seed=3, dtype=torch.bfloat16)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["logits"], other["logits"])
    assert torch.equal(one["logits"].bfloat16(), half["logits"])
    assert torch.equal(one["targets"], half["targets"])


def test_special_tokens_are_no_ordinary_ones():
    plan = Plan(Config.load(EVERY, vocab_size=8, eos_token_id=3, pad_token_id=5))
    targets = draw(plan, Scenario.RANDOM, batch=4, length=100)["targets"]
    assert set(targets.unique().tolist()) == {0, 1, 2, 4, 6, 7}


def test_filling_in_and_moving():
    config = Config.load(EVERY, vocab_size=50257, eos_token_id=50256, pad_token_id=50256)
    filled = fill(config, vocab_size=100)
    model = filled.config.model
    assert (model.vocab_size, model.eos_token_id, model.pad_token_id) == (100, 99, 99)
    assert len(filled.notes) == 3
    assert fill(config).config == config
    apart = fill(Config.load(EVERY, vocab_size=500, eos_token_id=499, pad_token_id=400), vocab_size=100).config.model
    assert {apart.eos_token_id, apart.pad_token_id} == {98, 99}
    padded = fill(Config.load(EVERY, vocab_size=50257, padded_vocab_size=50304, eos_token_id=0), vocab_size=100)
    assert padded.config.model.padded_vocab_size == 147
