"""What is written loads as an equal configuration, and is short."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ava.config import Config, validate
from ava.load import load, load_text
from tests.config.test_schema import VALIDATOR

NUMBERS = st.floats(0, 1e300) | st.integers(0, 10**30)
POSITIVE = st.floats(1e-300, 1e300) | st.integers(1, 10**30)
COUNTS = st.integers(1, 10**30)
SCHEDULES = st.fixed_dictionaries(
    {"from": NUMBERS, "to": NUMBERS, "steps": COUNTS}, optional={"shape": st.sampled_from(["linear", "cosine"])}
)
TERM: dict[str, Any] = {"weight": NUMBERS | SCHEDULES, "if_missing": st.sampled_from(["error", "skip"])}
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "description": TEXT,
        "model": st.fixed_dictionaries({}, optional={"vocab_size": COUNTS, "logit_scale": POSITIVE}),
        "primary": st.fixed_dictionaries(
            {"type": st.just("deepseek"), "temperature": st.fixed_dictionaries({}, optional={"initial": POSITIVE})}
        ),
        "terms": st.fixed_dictionaries(
            {},
            optional={
                "z_loss": st.fixed_dictionaries({}, optional=TERM),
                "focal_loss": st.fixed_dictionaries({}, optional=TERM | {"alpha": POSITIVE}),
                "eos_penalty": st.fixed_dictionaries({}, optional=TERM | {"min_length": COUNTS}),
            },
        ),
        "balancing": st.sampled_from(["fixed", "uncertainty"]),
        "compile": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "chunk_tokens": COUNTS}),
    },
)


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_the_way_there_and_back(document: dict[str, Any]) -> None:
    config, _ = validate(load(document))
    assert config is not None
    source = load_text(config.to_yaml())
    again, findings = validate(source)
    assert findings == ()
    assert again == config
    assert Config.load(config.to_dict()) == config
    assert VALIDATOR.is_valid(source.data)


def test_it_is_the_shortest_text_in_the_order_of_the_language() -> None:
    config = Config.load(
        {
            "terms": {"ngram_penalty": {"weight": 0.1}, "z_loss": {"weight": {"from": 0, "to": 1e-4, "steps": 9}}},
            "compile": {"enabled": "auto", "checks": "off"},
            "primary": {"type": "deepseek", "temperature": {"bounds": [0.7, 1.5]}},
            "description": "True: a test",
            "version": 1,
        }
    )
    assert config.to_yaml().splitlines()[1:] == [
        "version: 1",
        'description: "True: a test"',
        "primary:",
        "  type: deepseek",
        "  temperature: {bounds: [0.7, 1.5]}",
        "terms:",
        "  z_loss:",
        "    weight: {from: 0.0, to: 0.0001, steps: 9}",
        "  ngram_penalty: {}",
        "compile: {checks: off}",
    ]
