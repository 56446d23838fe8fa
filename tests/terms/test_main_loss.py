"""``main_loss``: cross-entropy, label smoothing, the temperature and what counts as a target."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ava import Loss
from ava.errors import TargetIndexError
from ava.terms.base import TARGET, Statistic
from ava.terms.main_loss import PrimaryLoss
from tests.terms.by_hand import LOG2, answer, close, flat, logs, make, row

HALF = (0.5, 0.25, 0.25)


def main(loss: Loss, *arguments: Any, **inputs: Any) -> float:
    return float(answer(loss, *arguments, **inputs)["main_loss"])


def test_mean_over_the_valid_targets() -> None:
    # -log ½ and -log ¼; the third position is ignored: (1 + 2) log 2 / 2
    logits = logs(HALF, HALF, HALF)
    assert main(make({}), logits, row(0, 1, -100)) == pytest.approx(1.5 * LOG2)
    assert main(make({}), logits, row(0, 1, 1), attention_mask=row(1, 1, 0)) == pytest.approx(1.5 * LOG2)
    assert main(make({}), logits, row(0, 1, -100), num_items=6) == pytest.approx(3 / 6 * LOG2)


def test_gradient_is_p_minus_one_hot() -> None:
    logits = logs(HALF, HALF)
    make({})(logits, row(0, -100)).backward()
    close(logits.grad, [[[0.5 - 1, 0.25, 0.25], [0, 0, 0]]])


def test_label_smoothing() -> None:
    # NLL of the target: log 2. Mean NLL over the vocabulary: (1 + 2 + 2)/3 log 2. So (0.9 + 0.1 · 5/3) log 2.
    loss, logits = make({}, primary={"label_smoothing": 0.1}), logs(HALF)
    assert main(loss, logits + 7, row(0)) == pytest.approx((0.9 + 0.5 / 3) * LOG2)
    loss(logits, row(0)).backward()
    close(logits.grad, [[[0.5 - 0.9 - 0.1 / 3, 0.25 - 0.1 / 3, 0.25 - 0.1 / 3]]])


def test_temperature_divides_the_logits() -> None:
    # x = 2 log p at τ = 2 is log p again, and the gradient with respect to x is halved
    loss, logits = make({}, primary={"type": "deepseek", "temperature": {"initial": 2.0}}), logs(HALF)
    scaled = (2 * logits).detach().requires_grad_()
    out = answer(loss, scaled, row(0))
    out.backward()
    assert float(out["main_loss"]) == pytest.approx(LOG2)
    assert float(out["metrics/temperature"]) == 2
    close(scaled.grad, [[[-0.25, 0.125, 0.125]]])


def test_pad_is_no_target_unless_it_is_eos() -> None:
    logits = logs(HALF, (0.125, 0.75, 0.125))
    assert main(make({}, pad_token_id=0, eos_token_id=2), logits, row(1, 0)) == pytest.approx(2 * LOG2)
    assert main(make({}, pad_token_id=0, eos_token_id=0), logits, row(1, 0)) == pytest.approx(2.5 * LOG2)


def test_shift_predicts_the_next_token() -> None:
    # position 0 predicts token 2 (¼), position 1 predicts token 0 (½), position 2 nothing
    assert main(make({}, shift=True), logs(HALF, HALF, HALF), row(1, 2, 0)) == pytest.approx(1.5 * LOG2)


@pytest.mark.parametrize(("gaps", "expected"), [((1.0,) * 12, 1.0 - 3 * 0.1), ((1.0, 3.0) * 6, 1.0 + 3 * 0.1)])
def test_adaptive_temperature_moves_from_the_tenth_step(gaps: tuple[float, ...], expected: float) -> None:
    # The target lies g below the other of two tokens, so it costs log(1 + e^g).
    # Equal losses: cv = 0 < 0.05, down. Losses about 1.3 and 3.05: cv = 0.42 > 0.1, up. Three steps from the tenth.
    temperature = {"adaptive": True, "rate": 0.1, "bounds": [0.1, 9.0]}
    loss = make({}, primary={"type": "deepseek", "temperature": temperature})
    seen = []
    for gap in gaps:
        loss(torch.tensor([[[0.0, gap]]], dtype=torch.float64), row(0))
        seen.append(float(loss.metrics()["temperature"]))
    assert seen[:9] == [1.0] * 9
    assert seen[-1] == pytest.approx(expected)


def test_temperature_stays_within_its_bounds() -> None:
    temperature = {"adaptive": True, "rate": 0.4, "bounds": [0.5, 2.0]}
    loss = make({}, primary={"type": "deepseek", "temperature": temperature})
    for _ in range(12):
        loss(flat(1, 4), row(0))
    assert float(loss.metrics()["temperature"]) == 0.5


def test_target_outside_the_vocabulary_is_never_a_silent_number() -> None:
    assert math.isnan(main(make({}), flat(2, 3), row(0, 3)))
    full = Loss.load({"version": 1}, overrides={"compile.enabled": False, "compile.checks": "full"})
    with pytest.raises(TargetIndexError, match=r"`targets` holds 3 .* position 1"):
        full(flat(2, 3), row(0, 3))


def test_needs_and_untrained() -> None:
    assert PrimaryLoss().needs().picks == (TARGET,)
    assert PrimaryLoss().needs().statistics == frozenset()
    smoothed = PrimaryLoss(label_smoothing=0.1)
    assert smoothed.needs().statistics == {Statistic.LSE, Statistic.MEAN_LOGIT}
    assert smoothed.untrained(8) == pytest.approx(3 * LOG2)
    assert main(make({}), flat(3, 8), row(1, 2, 3)) == pytest.approx(smoothed.untrained(8))
