"""What all terms share: needs, schedules, fields, and how they print."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ava.errors import ConfigError
from ava.terms.base import CONTEXT, EOS, RUNTIME, TARGET, Candidates, Needs, Schedule, Source, Statistic, is_runtime
from ava.terms.contrastive_loss import ContrastiveLoss
from ava.terms.main_loss import Temperature
from tests.terms.by_hand import make, term


def schedule(**fields: Any) -> Schedule:
    return Schedule.model_validate({"from": 1.0, "to": 3.0, "steps": 4, **fields})


def test_linear_schedule() -> None:
    assert [schedule(delay=2).at(step) for step in (0, 2, 3, 4, 6, 99)] == [1, 1, 1.5, 2, 3, 3]


def test_cosine_schedule() -> None:
    # 1 + 2·½(1 - cos(π·done)): at a third of six steps 1 - ½ + 1 = 1.5
    assert schedule(shape="cosine", steps=6).at(2) == pytest.approx(1.5)
    assert schedule(shape="cosine", steps=6).at(3) == pytest.approx(2)


def test_weight_at_a_step() -> None:
    assert term("z_loss", weight=0.3).weight_at(7) == 0.3
    assert term("z_loss", weight={"from": 0, "to": 1, "steps": 10}).weight_at(5) == 0.5


def test_needs_join_without_repeats() -> None:
    a = Needs(frozenset({Statistic.LSE}), picks=(TARGET,), inputs=("gate_logits",), model=("eos_token_id",))
    b = Needs(frozenset({Statistic.ENTROPY}), picks=(EOS, TARGET), teacher_temperature=2.0)
    both = a | b
    assert both.statistics == {Statistic.LSE, Statistic.ENTROPY}
    assert both.picks == (TARGET, EOS)
    assert (both.inputs, both.model, both.teacher_temperature) == (("gate_logits",), ("eos_token_id",), 2.0)
    assert (b | a).teacher_temperature == 2.0


def test_how_they_print() -> None:
    assert (str(CONTEXT), CONTEXT.width) == ("context", 1)
    assert (str(Candidates(4, 50)), Candidates(4, 50).width) == ("candidates(size=4, window=50)", 50)
    assert repr(RUNTIME) == "RUNTIME"
    assert str(Source("A (2020), Title", "https://x", "eq. 1")) == "A (2020), Title, eq. 1, https://x"
    assert str(Source("A (2020), Title")) == "A (2020), Title"


def test_weights_are_no_part_of_the_graph() -> None:
    assert is_runtime(ContrastiveLoss, "weight")
    assert not is_runtime(ContrastiveLoss, "max_tokens")
    assert dict(term("contrastive_loss", weight=0.7).static) == {
        "if_missing": "error",
        "temperature": 0.07,
        "max_tokens": 256,
    }


def test_a_term_lacks_the_first_input_that_is_not_given() -> None:
    assert term("contrastive_loss").missing(set()) == "hidden_states"
    assert term("contrastive_loss").missing({"hidden_states"}) is None
    assert term("z_loss").missing(set()) is None


def test_bounds_in_order() -> None:
    assert Temperature.model_validate({"bounds": [0.5, 0.5]}).bounds == (0.5, 0.5)
    with pytest.raises(ValidationError, match=r"the first value, 2.0, should not be above the second, 0.5"):
        Temperature.model_validate({"bounds": [2.0, 0.5]})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("focal_loss", {"gamma": -1.0}),
        ("mtp_loss", {"weight_range": [0.5, 0.9]}),
        ("mtp_loss", {"confidence_threshold": 1.0}),
        ("contrastive_loss", {"max_tokens": 1}),
        ("moe_balance_loss", {"target_expert_usage": [0.5, 0.0]}),
        ("ngram_penalty", {"size": 0}),
        ("immediate_repetition_penalty", {"threshold": 1}),
        ("z_loss", {"weight": -0.1}),
    ],
)
def test_values_out_of_range(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        make({name: settings})
