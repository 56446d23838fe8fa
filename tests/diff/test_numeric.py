"""``diff --numeric``: what it says agrees with running both losses by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch

from ava import Config, Loss, Plan
from ava.cli import main
from ava.errors import ArgumentValueError
from ava.run.compare import compare
from ava.run.dry_run.fill import fill
from ava.run.dry_run.scenarios import Scenario, draw

EOS = {"eos_token_id": 5, "vocab_size": 64}


def by_hand(config: Config, tensors: dict) -> tuple[dict, torch.Tensor]:
    """Return every output of one loss, and its gradient with respect to the logits."""
    logits = tensors["logits"].detach().clone().requires_grad_()
    out = Loss(config)(**{**tensors, "logits": logits}, return_detailed=True)
    out["total_loss"].backward()
    return {name: value.item() for name, value in out.items() if value.ndim == 0}, logits.grad


@pytest.mark.parametrize("scenario", [Scenario.RANDOM, Scenario.REPETITIVE])
@pytest.mark.parametrize(("one", "other"), [("standard", "production"), ("anti_repetition", "fast_prototype")])
def test_two_presets_as_by_hand(one, other, scenario):
    configs = [fill(Config.load(name, **EOS), compiled=False).config for name in (one, other)]
    tensors = draw(Plan(configs[0]), scenario, batch=2, length=12, seed=3)
    (before, first), (after, second) = (by_hand(config, tensors) for config in configs)
    found = compare(Config.load(one, **EOS), Config.load(other, **EOS), scenario=scenario, batch=2, length=12, seed=3)
    for run, hand, gradient in ((found.before, before, first), (found.after, after, second)):
        assert run.total == pytest.approx(hand["total_loss"], rel=1e-6)
        assert run.gradient_norm == pytest.approx(gradient.norm().item(), rel=1e-5)
        for name, (raw, weighted) in run.terms.items():
            assert raw == pytest.approx(hand.get(f"raw/{name}", hand[name]), rel=1e-6, abs=1e-9)
            assert weighted == pytest.approx(hand[name], rel=1e-6, abs=1e-9)
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0).item()
    assert found.cosine == pytest.approx(cosine, abs=1e-5)
    assert found.difference == pytest.approx((second - first).norm().item(), rel=1e-4)


def test_a_doubled_weight_doubles_the_term_and_nothing_else():
    before = Config.load("standard", **EOS)
    after = Config.load(before, overrides={"terms.ngram_penalty.weight": 0.2})
    found = compare(before, after, scenario=Scenario.REPETITIVE, batch=2, length=24)
    raw, weighted = found.before.terms["ngram_penalty"]
    assert raw > 0
    assert found.after.terms["ngram_penalty"] == pytest.approx((raw, 2 * weighted))
    assert found.after.total - found.before.total == pytest.approx(weighted, rel=1e-3)
    assert found.cosine < 1 - 1e-6
    same = compare(before, before, batch=2, length=24)
    assert (same.difference, same.before) == (0, same.after)
    assert same.cosine == pytest.approx(1)


def test_a_schedule_counts_at_its_end():
    before = Config.load("fast_prototype", overrides={"terms.z_loss": {"weight": 1.0}}, vocab_size=16)
    weight = {"from": 0, "to": 1, "steps": 7, "delay": 2}
    after = Config.load("fast_prototype", overrides={"terms.z_loss": {"weight": weight}}, vocab_size=16)
    found = compare(before, after, batch=1, length=4)
    assert found.before == found.after


def test_tensors_that_only_one_needs():
    found = compare(Config.load("standard"), Config.load("moe"), batch=1, length=8, vocab_size=32)
    assert {"router_z_loss", "moe_balance_loss"} <= set(found.after.terms)
    assert all(math.isfinite(value) for pair in found.after.terms.values() for value in pair)


def test_sizes_that_differ():
    one, other = Config.load("mtp", hidden_size=8, vocab_size=16), Config.load("mtp", hidden_size=16, vocab_size=32)
    with pytest.raises(ArgumentValueError, match="--vocab-size"):
        compare(one, other, batch=1, length=4)
    with pytest.raises(ArgumentValueError, match=r"model\.hidden_size"):
        compare(one, other, batch=1, length=4, vocab_size=16)


def test_the_command(capsys):
    arguments = ["diff", "standard", "--set", "terms.ngram_penalty.weight=0.2", "--numeric"]
    arguments += ["--scenario", "repetitive", "--batch", "1", "--seq-len", "16", "--vocab-size", "32"]
    assert main([*arguments, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [change["path"] for change in told["changes"]] == ["terms.ngram_penalty.weight"]
    numeric = told["numeric"]
    old, new = (numeric[side]["terms"]["ngram_penalty"] for side in ("before", "after"))
    assert new["weighted"] == pytest.approx(2 * old["weighted"])
    assert 0 < numeric["gradient_cosine"] < 1
    for format in ("text", "markdown"):
        assert main([*arguments, "--format", format]) == 0
        text = capsys.readouterr().out
        assert "On the same tensors" in text
        assert "×2" in text
        assert "Cosine between the gradients 0." in text
    assert main(["diff", "presets", "presets", "--numeric"]) == 2
