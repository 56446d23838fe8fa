"""Flat keywords become the configuration that they say, and mistakes are said in their words."""

# ruff: noqa: E501

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ava import Config
from ava.config.legacy import LEGACY
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.losses import UnifiedLoss, translate
from ava.losses.keywords import DEFAULTS, PLACES

SKIP = {"if_missing": "skip"}


def terms(**keywords: Any) -> dict[str, Any]:
    return dict(translate(keywords).document.get("terms", {}))


@pytest.mark.parametrize(
    ("keywords", "section"),
    [
        ({}, {"primary": {"type": "deepseek"}}),
        ({"primary_loss_type": "standard"}, {"primary": {"type": "standard"}}),
        ({"label_smoothing": 0.1}, {"primary": {"type": "deepseek", "label_smoothing": 0.1}}),
        (
            {"initial_temperature": 1.2, "adaptive_temperature": True, "temperature_bounds": (0.5, 1.5)},
            {
                "primary": {
                    "type": "deepseek",
                    "temperature": {"initial": 1.2, "adaptive": True, "bounds": [0.5, 1.5]},
                }
            },
        ),
        (
            {"vocab_size": 9, "hidden_size": 8, "ignore_index": -1, "pad_token_id": 0, "num_experts": 4},
            {
                "model": {"vocab_size": 9, "hidden_size": 8, "ignore_index": -1, "pad_token_id": 0, "num_experts": 4},
                "primary": {"type": "deepseek"},
            },
        ),
    ],
)
def test_sections(keywords: dict[str, Any], section: dict[str, Any]) -> None:
    assert translate(keywords).document == {"version": 1, **section}


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"use_ngram_penalty": True}, {"ngram_penalty": {}}),
        ({"use_ngram_penalty": True, "ngram_size": 3, "ngram_window_size": 9, "ngram_penalty_weight": 0.2},
         {"ngram_penalty": {"size": 3, "window": 9, "weight": 0.2}}),
        ({"ngram_penalty_weight": 0.2}, {"ngram_penalty": {"weight": 0.2}}),
        ({"ngram_penalty_weight": 0.0}, {}),
        ({"ngram_penalty_weight": 0.2, "use_ngram_penalty": False}, {}),
        ({"use_ngram_penalty": True, "ngram_penalty_weight": 0}, {"ngram_penalty": {"weight": 0.0}}),
        ({"use_ngram_penalty": None, "ngram_penalty_weight": None}, {}),
        ({"ngram_penalty_weight": {"from": 0.0, "to": 0.1, "steps": 9}},
         {"ngram_penalty": {"weight": {"from": 0.0, "to": 0.1, "steps": 9, "delay": 0, "shape": "linear"}}}),
        ({"use_immediate_repetition_penalty": True, "immediate_repetition_threshold": 3},
         {"immediate_repetition_penalty": {"threshold": 3}}),
        ({"use_focal_loss": True, "focal_alpha": 0.5, "focal_gamma": 1.0, "focal_weight": 0.3},
         {"focal_loss": {"alpha": 0.5, "gamma": 1.0, "weight": 0.3}}),
        ({"use_contrastive_loss": True, "contrastive_temperature": 0.1}, {"contrastive_loss": {"temperature": 0.1}}),
        ({"eos_token_id": 2}, {"eos_penalty": {}}),
        ({"eos_token_id": 2, "eos_penalty_weight": 0.0}, {}),
        ({"eos_token_id": 2, "eos_penalty_weight": 0.1, "min_sequence_length": 30},
         {"eos_penalty": {"weight": 0.1, "min_length": 30}}),
        ({"use_mtp": True, "mtp_type": "deepseek", "shared_projection": True},
         {"mtp_loss": {"weighting": "uniform", "heads": "shared"}}),
        ({"use_mtp": True, "mtp_type": "adaptive", "shared_projection": False, "adaptive_threshold": 0.5,
          "adaptive_weight_range": (0.2, 2.0), "num_future_tokens": 2, "mtp_weight": 0.3},
         {"mtp_loss": {"weighting": "adaptive", "heads": "linear", "confidence_threshold": 0.5,
                       "weight_range": [0.2, 2.0], "num_future_tokens": 2, "weight": 0.3}}),
        ({"primary_loss_type": "adaptive_mtp", "adaptive_threshold": 0.6},
         {"mtp_loss": {"confidence_threshold": 0.6}}),
        ({"primary_loss_type": "adaptive_mtp", "use_mtp": False}, {"mtp_loss": {}}),
        ({"use_diversity_loss": True, "diversity_weight": 0.1}, {"token_diversity_loss": {"weight": 0.1}}),
        ({"use_diversity_loss": True, "num_experts": 4}, {"expert_diversity_loss": SKIP}),
        ({"use_moe_balancing": True}, {"moe_balance_loss": SKIP}),
        ({"use_moe_balancing": True, "gradient_balance_weight": 0.2, "target_expert_usage": [0.25, 0.75]},
         {"moe_balance_loss": {"weight": 0.2, "target_expert_usage": [0.25, 0.75], **SKIP}}),
        ({"use_auxiliary_loss": True}, {"moe_balance_loss": {"method": "switch", **SKIP}, "router_z_loss": SKIP}),
        ({"use_auxiliary_loss": True, "load_balancing_weight": 0.2, "router_z_weight": 0},
         {"moe_balance_loss": {"method": "switch", "weight": 0.2, **SKIP}}),
        ({"use_auxiliary_loss": True, "load_balancing_weight": 0.0, "use_moe_balancing": True},
         {"moe_balance_loss": SKIP, "router_z_loss": SKIP}),
        ({"router_z_weight": 0.01}, {"router_z_loss": {"weight": 0.01, **SKIP}}),
    ],
    ids=str,
)  # fmt: skip
def test_terms(keywords: dict[str, Any], expected: dict[str, Any]) -> None:
    assert terms(**keywords) == expected
    told = translate({"hidden_size": 8, **keywords})
    config = Config.load(told.document)
    assert set(expected) == {term.name for term in config.enabled}
    again = translate({name: value for name, value in told.values.items() if name not in ("hidden_size",)})
    assert again.document.get("terms", {}).keys() == expected.keys()  # the values say the same as what was given


def test_switches_tell_what_is_on() -> None:
    values = translate(
        {"ngram_penalty_weight": 0.2, "primary_loss_type": "adaptive_mtp", "diversity_weight": 0.1}
    ).values
    on = {name for name, value in values.items() if value is True}
    assert on == {"use_ngram_penalty", "use_mtp", "use_diversity_loss"}
    assert values["mtp_type"] == "adaptive"


def test_numbers_of_other_libraries() -> None:
    told = translate({"vocab_size": np.int64(9), "focal_weight": np.float32(0.5), "use_focal_loss": np.bool_(True)})
    assert (type(told.values["vocab_size"]), told.document["terms"]) == (int, {"focal_loss": {"weight": 0.5}})


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"ngram_windw_size": 3}, ArgumentTypeError, "`ngram_windw_size` is not a keyword of UnifiedLoss; did you mean `ngram_window_size`?"),
    ({"frobnicate": 3}, ArgumentTypeError, "`frobnicate` is not a keyword of UnifiedLoss"),
    ({"primary_loss_type": "deepsek"}, ArgumentValueError, "`primary_loss_type`: `deepsek` is not one of `standard`, `deepseek`, `adaptive_mtp`; did you mean `deepseek`?"),
    ({"primary_loss_type": "standart"}, ArgumentValueError, "`primary_loss_type`: `standart` is not one of `standard`, `deepseek`, `adaptive_mtp`; did you mean `standard`?"),
    ({"primary_loss_type": 3}, ArgumentTypeError, "`primary_loss_type`: expected `standard`, `deepseek` or `adaptive_mtp`, got the number 3"),
    ({"mtp_type": "adaptve"}, ArgumentValueError, "`mtp_type`: `adaptve` is not one of `deepseek`, `adaptive`; did you mean `adaptive`?"),
    ({"mtp_type": ["deepseek"]}, ArgumentTypeError, "`mtp_type`: expected 'deepseek' or 'adaptive', got a list of one"),
    ({"use_mtp": "yes"}, ArgumentTypeError, "`use_mtp`: expected `True` or `False`, got the string `yes`"),
    ({"shared_projection": 1}, ArgumentTypeError, "`shared_projection`: expected `True` or `False`, got the number 1"),
    ({"adaptive_temperature": "on"}, ArgumentTypeError, "`adaptive_temperature`: expected `true` or `false`, got the string `on`"),
    ({"ngram_size": "4"}, ArgumentTypeError, "`ngram_size`: expected an integer, got the string `4`"),
    ({"ngram_size": True}, ArgumentTypeError, "`ngram_size`: expected an integer, got `true`"),
    ({"ngram_size": 0}, ArgumentValueError, "`ngram_size` should be at least 1, got 0"),
    ({"ngram_penalty_weight": -1}, ArgumentValueError, "`ngram_penalty_weight` should be at least 0, got -1"),
    ({"ngram_penalty_weight": float("nan")}, ArgumentValueError, "`ngram_penalty_weight`: expected a finite number, got nan"),
    ({"ngram_penalty_weight": {"from": 0, "to": 1, "steps": 0}}, ArgumentValueError, "`ngram_penalty_weight['steps']` should be at least 1, got 0"),
    ({"temperature_bounds": (2, 1)}, ArgumentValueError, "`temperature_bounds`: the first value, 2.0, should not be above the second, 1.0"),
    ({"temperature_bounds": (1,)}, ArgumentTypeError, "`temperature_bounds`: expected a list of two numbers, got a list of one"),
    ({"adaptive_weight_range": (1.2, 1.5)}, ArgumentValueError, "`adaptive_weight_range[0]` should be at least 0 and at most 1, got 1.2"),
    ({"target_expert_usage": [0.5, "x"]}, ArgumentTypeError, "`target_expert_usage[1]`: expected a number, got the string `x`"),
    ({"vocab_size": 3.5}, ArgumentTypeError, "`vocab_size`: expected an integer or null, got the number 3.5"),
    ({"eos_token_id": object()}, ArgumentTypeError, "`eos_token_id`: expected an integer or null, got object"),
    ({"initial_temperature": 1.2, "primary_loss_type": "standard"}, ArgumentValueError, "`initial_temperature`: `primary_loss_type='standard'` has no temperature"),
    ({"adaptive_temperature": True, "primary_loss_type": "adaptive_mtp"}, ArgumentValueError, "`adaptive_temperature`: `primary_loss_type='adaptive_mtp'` has no temperature"),
    ({"primary_loss_type": "adaptive_mtp", "mtp_type": "deepseek"}, ArgumentValueError, "`mtp_type='deepseek'` weighs every position alike"),
    ({"use_moe_balancing": True, "use_auxiliary_loss": True}, ArgumentValueError, "`use_moe_balancing` and `use_auxiliary_loss` both balance the load"),
    ({"use_moe_balancing": True, "target_expert_usage": [0.5, 0.2]}, ArgumentValueError, "`target_expert_usage` should sum to 1, and sums to 0.7"),
    ({"eos_token_id": 9, "vocab_size": 9}, ArgumentValueError, "`eos_token_id` 9 is outside the vocabulary"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "error", "message"), MISTAKES, ids=lambda value: str(value).partition(" at 0x")[0][:40]
)
def test_mistakes_name_the_keyword(keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        UnifiedLoss(**keywords)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < len(message) + 250


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        translate({"ngram_size": 0, "use_mtp": 1, "focal_gamma": -1})
    assert [line.split("`")[1] for line in str(caught.value).splitlines()] == ["ngram_size", "use_mtp", "focal_gamma"]


@pytest.mark.parametrize(
    ("keywords", "note"),
    [
        ({"ngram_size": 3}, "`ngram_size` has no effect without `use_ngram_penalty=True`."),
        ({"focal_alpha": 2, "focal_gamma": 3}, "`focal_alpha` and `focal_gamma` have no effect without `use_focal_loss=True`."),
        ({"target_expert_usage": 0.5}, "`target_expert_usage` has no effect without `use_moe_balancing=True`."),
        ({"eos_penalty_weight": 0.1}, "`eos_penalty_weight` has no effect without `eos_token_id`."),
        ({"use_mtp": True, "adaptive_threshold": 0.5}, "`adaptive_threshold` has no effect without `mtp_type='adaptive'`."),
        ({"temperature_bounds": (0.7, 1.5)}, "`temperature_bounds` has no effect without `adaptive_temperature=True`."),
        ({"ngram_size": 3, "use_ngram_penalty": False}, None),
        ({"ngram_size": 4, "eos_penalty_weight": 0.05, "temperature_bounds": (0.5, 2.0)}, None),
        ({"ngram_penalty_weight": 0.0}, None),
        ({"temperature_bounds": (0.7, 1.5), "adaptive_temperature": False}, None),
        ({"use_auxiliary_loss": True, "target_expert_usage": 0.5}, None),
        ({"primary_loss_type": "adaptive_mtp", "adaptive_threshold": 0.5}, None),
        (DEFAULTS, None),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_keywords_without_an_effect(keywords: dict[str, Any], note: str | None) -> None:
    assert translate(keywords).notes == (() if note is None else (note,))


def test_a_note_is_a_warning_at_the_call() -> None:
    with pytest.warns(UserWarning, match="`ngram_size` has no effect") as caught:
        UnifiedLoss(9, ngram_size=3)
    assert caught[0].filename == __file__


def test_the_legacy_table_is_the_only_one() -> None:
    assert set(LEGACY) < set(PLACES)
    for keyword, place in LEGACY.items():
        assert PLACES[keyword] == place
