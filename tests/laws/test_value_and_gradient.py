"""Value and gradient of every term equal the float64 reference, alone and all together, on every sample."""

from __future__ import annotations

import json

import pytest
import torch

from ava import Loss
from ava.config.roster import ROSTER
from tests.laws.table import (
    EXACT,
    MORE_CASES,
    PRIMARIES,
    added,
    assert_gradients,
    assert_values,
    case,
    cases,
    config,
    evaluate,
    expect,
    expect_main,
    expect_term,
    gradients,
    lively,
    readable,
    run,
    scaled,
    together,
    variants_on_cases,
)
from tests.reference.samples import CASES, EXTRA_CASES
from tests.reference.total import TERMS

WEIGHT = 0.7


@pytest.mark.parametrize(("name", "settings", "case_name"), variants_on_cases(), ids=readable)
def test_each_term_alone(name: str, settings: str, case_name: str) -> None:
    sample = case(case_name)
    main, term = expect_main(case_name, "deepseek"), expect_term(case_name, "deepseek", name, settings)
    answer = evaluate(config(sample, {name: {"weight": WEIGHT, **json.loads(settings)}}, "deepseek"), sample)
    raw = term.values["raw"]
    torch.testing.assert_close(answer.values[f"raw/{name}"], raw, **EXACT)
    torch.testing.assert_close(answer.values[name], WEIGHT * raw, **EXACT)
    torch.testing.assert_close(answer.values["main_loss"], main.values["main_loss"], **EXACT)
    torch.testing.assert_close(answer.values["total_loss"], main.values["main_loss"] + WEIGHT * raw, **EXACT)
    assert_gradients(answer.gradients, added(main.gradients, scaled(term.gradients, WEIGHT)))


FEW = ["eos_segments", "shift_padding", "padded_vocab", "everything"]


@pytest.mark.parametrize(
    ("primary", "case_name"),
    [(primary, name) for primary in PRIMARIES for name in (cases() if primary == "deepseek" else FEW)],
)
def test_all_together(primary: str, case_name: str) -> None:
    sample = case(case_name)
    settings = config(sample, together(sample), primary)
    answer, expected = evaluate(settings, sample), expect(settings, sample)
    assert_values(answer.values, expected.values)
    assert_gradients(answer.gradients, expected.gradients)


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("case_name", cases())
def test_the_primary_loss_alone(primary: str, case_name: str) -> None:
    sample = case(case_name)
    answer, expected = evaluate(config(sample, {}, primary), sample), expect_main(case_name, primary)
    assert_values(answer.values, expected.values)
    assert_gradients(answer.gradients, expected.gradients)


def test_every_sample_is_run() -> None:
    assert cases() == [*CASES, *EXTRA_CASES, *MORE_CASES]


def test_the_reference_knows_every_term() -> None:
    assert set(ROSTER) <= set(TERMS)


@pytest.mark.parametrize("name", ROSTER)
def test_default_weight_is_the_pages(name: str) -> None:
    from tests.reference.total import DEFAULT_WEIGHTS

    assert ROSTER[name]().weight_at(0) == DEFAULT_WEIGHTS[name]


@pytest.mark.parametrize("name", ROSTER)
def test_the_gradient_reaches_the_input_and_only_where_positions_are_valid(name: str) -> None:
    sample = case(lively(name))
    with_term = evaluate(config(sample, {name: {"weight": 1.0}}), sample)
    without = evaluate(config(sample, {}), sample)
    own = added(with_term.gradients, scaled(without.gradients, -1.0))
    reached = expect_term(lively(name), "standard", name, "{}").gradients
    for input_name, gradient in reached.items():
        if float(gradient.abs().max()) > 1e-6:
            assert float(own[input_name].abs().max()) > 1e-6, input_name
    invalid = sample.inputs["targets"] == sample.model["ignore_index"]
    if not sample.shift and invalid.any():
        assert bool((with_term.gradients["logits"][invalid] == 0).all())


@pytest.mark.parametrize("name", ROSTER)
def test_values_do_not_depend_on_who_asks_for_them(name: str) -> None:
    """A detailed answer, a plain one, and one in evaluation mode are the same number with the same gradient."""
    sample = case(lively(name))
    settings = config(sample, {name: {}}, "smoothed")
    answer = evaluate(settings, sample)
    inputs = sample.leaves(torch.float64).inputs
    plain = Loss.load(settings)(**inputs)
    torch.testing.assert_close(plain.detach(), answer.values["total_loss"], rtol=1e-14, atol=0)
    assert_gradients(gradients(plain, inputs), answer.gradients, rtol=1e-12, atol=1e-15)
    quiet = run(Loss.load(settings).eval(), sample)
    torch.testing.assert_close(quiet.values["total_loss"], answer.values["total_loss"], rtol=1e-14, atol=0)
