"""The six shipped presets are those of the table in the specification."""

from __future__ import annotations

from typing import Any

import pytest

from ava.config import Config, validate
from ava.load import data_folder, list_presets, load

ADAPTIVE = {"initial": 1.0, "adaptive": True, "bounds": [0.5, 2.0], "rate": 0.01}
IMMEDIATE = {"weight": 0.5, "threshold": 2, "if_missing": "error"}
NGRAM = {"weight": 0.1, "size": 4, "window": 50, "if_missing": "error"}
EOS = {"weight": 0.05, "min_length": 20, "if_missing": "error"}

TABLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "standard": (
        # The table names no bounds; the study (docs/study.md) says why they are not the default ones.
        {"type": "deepseek", "label_smoothing": 0.1, "temperature": {**ADAPTIVE, "bounds": [0.9, 1.1]}},
        {"immediate_repetition_penalty": IMMEDIATE, "ngram_penalty": NGRAM, "eos_penalty": EOS},
    ),
    "moe": (
        {"type": "deepseek"},
        {
            "ngram_penalty": NGRAM,
            "moe_balance_loss": {"weight": 0.1, "target_expert_usage": 0.125, "method": "gradient"},
            "router_z_loss": {"weight": 1e-3, "if_missing": "error"},
            "expert_diversity_loss": {"weight": 0.05, "if_missing": "skip"},
        },
    ),
    "anti_repetition": (
        {"type": "deepseek", "label_smoothing": 0.0, "temperature": {**ADAPTIVE, "initial": 1.2, "bounds": [1.1, 1.3]}},
        {
            "token_diversity_loss": {"weight": 0.05},
            "immediate_repetition_penalty": {**IMMEDIATE, "weight": 1.0},
            "ngram_penalty": {**NGRAM, "weight": 0.2, "window": 100},
            "eos_penalty": {**EOS, "weight": 0.1, "min_length": 30},
        },
    ),
    "mtp": (
        {"type": "adaptive_mtp"},
        {
            "ngram_penalty": NGRAM,
            "mtp_loss": {
                "weight": 0.1,
                "num_future_tokens": 3,
                "weighting": "adaptive",
                "confidence_threshold": 0.7,
                "weight_range": [0.5, 1.5],
            },
        },
    ),
    "fast_prototype": ({"type": "standard", "label_smoothing": 0.0, "temperature": None}, {}),
    "production": (
        {"type": "deepseek", "label_smoothing": 0.1, "temperature": {**ADAPTIVE, "bounds": [0.7, 1.5]}},
        {
            "z_loss": {"weight": 1e-4},
            "immediate_repetition_penalty": IMMEDIATE,
            "ngram_penalty": NGRAM,
            "eos_penalty": EOS,
        },
    ),
}


def test_the_table_is_complete() -> None:
    assert sorted(preset.name for preset in list_presets() if preset.origin == "shipped") == sorted(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_says_what_the_table_says(name: str) -> None:
    config, findings = validate(load(name))
    assert findings == ()
    assert config is not None
    data = config.to_dict()
    primary, terms = TABLE[name]
    assert data["primary"] | primary == data["primary"]
    assert set(data["terms"]) == set(terms)
    for term, fields in terms.items():
        assert data["terms"][term] | fields == data["terms"][term]
    assert config.model.vocab_size is None
    assert config.model.eos_token_id is None
    assert config.description


def test_moe_has_eight_experts() -> None:
    assert load("moe").data["model"] == {"num_experts": 8}


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_is_a_file_that_explains_itself(name: str) -> None:
    text = (data_folder("presets") / f"{name}.yaml").read_text(encoding="utf-8")
    modeline, version, *_ = text.splitlines()
    assert modeline == "# yaml-language-server: $schema=../schemas/ava-loss.schema.json"
    assert version == "version: 1"
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_takes_the_callers_sizes(name: str) -> None:
    model = Config.load(name, vocab_size=100, eos_token_id=2, hidden_size=8).model
    assert (model.vocab_size, model.eos_token_id, model.hidden_size) == (100, 2, 8)
