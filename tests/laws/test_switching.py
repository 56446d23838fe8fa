"""Off changes nothing, on changes the total, and what is reported adds up to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ava import Loss
from ava.config.roster import ROSTER
from tests.laws.table import assert_gradients, case, cases, config, evaluate, lively, run, together


@pytest.mark.parametrize("name", ROSTER)
def test_weight_zero_changes_nothing(name: str) -> None:
    sample = case(lively(name))
    on, off = evaluate(config(sample, {name: {"weight": 0.0}}), sample), evaluate(config(sample, {}), sample)
    assert torch.equal(on.values["total_loss"], off.values["total_loss"])
    assert float(on.values[name]) == 0
    assert float(on.values[f"raw/{name}"]) != 0
    assert_gradients(on.gradients, off.gradients, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ROSTER)
def test_off_is_absent(name: str) -> None:
    sample = case(lively(name))
    off = evaluate(config(sample, {name: None}), sample)
    assert name not in off.values
    assert torch.equal(off.values["total_loss"], evaluate(config(sample, {}), sample).values["total_loss"])
    assert torch.equal(off.values["total_loss"], off.values["main_loss"])


@pytest.mark.parametrize("name", ROSTER)
def test_on_changes_the_total_by_the_weighted_term(name: str) -> None:
    sample = case(lively(name))
    off = evaluate(config(sample, {}), sample).values["total_loss"]
    totals = [evaluate(config(sample, {name: {"weight": w}}), sample).values for w in (0.5, 1.0, 2.0)]
    assert all(abs(float(values["total_loss"] - off)) > 1e-3 for values in totals)
    for values, weight in zip(totals, (0.5, 1.0, 2.0), strict=True):
        torch.testing.assert_close(
            values["total_loss"] - off, weight * totals[1][f"raw/{name}"], rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize("case_name", cases())
def test_the_reported_terms_add_up(case_name: str) -> None:
    sample = case(case_name)
    terms: dict[str, dict[str, Any]] = {
        name: {**settings, "weight": 0.3 + 0.1 * index}
        for index, (name, settings) in enumerate(together(sample).items())
    }
    values = evaluate(config(sample, terms), sample).values
    parts = [values["main_loss"], *(values[name] for name in terms)]
    torch.testing.assert_close(values["total_loss"], torch.stack(parts).sum(), rtol=1e-13, atol=1e-13)
    for name, settings in terms.items():
        torch.testing.assert_close(values[name], settings["weight"] * values[f"raw/{name}"], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ROSTER)
def test_a_schedule_is_followed_step_by_step(name: str) -> None:
    sample = case(lively(name))
    schedule = {"from": 0.0, "to": 2.0, "steps": 4, "delay": 2, "shape": "cosine"}
    loss = Loss.load(config(sample, {name: {"weight": schedule}}))
    term = loss.plan.terms[0].term
    for step in range(9):
        values = run(loss, sample).values
        expected = term.weight_at(step) * values[f"raw/{name}"]
        torch.testing.assert_close(values[name], expected, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(values["total_loss"], values["main_loss"] + values[name], rtol=1e-13, atol=1e-15)
    assert term.weight_at(2) == 0
    assert term.weight_at(8) == 2
