"""``token_diversity_loss``: what the prediction lacks of the largest entropy."""

from __future__ import annotations

import math

import pytest

from ava.terms.base import Statistic
from tests.terms.by_hand import LOG2, close, flat, logs, make, raw, row, slope, term

LOSS = {"token_diversity_loss": {}}


def test_uniform_certain_and_halfway() -> None:
    assert raw(make(LOSS), flat(2, 4), row(0, 1)) == pytest.approx(0, abs=1e-12)
    assert raw(make(LOSS), logs((1, 0, 0, 0)), row(0)) == pytest.approx(1)
    # two of four tokens, half each: 1 - log 2 / log 4
    assert raw(make(LOSS), logs((0.5, 0.5, 0, 0)), row(0)) == pytest.approx(0.5)


def test_gradient() -> None:
    # d(1 - H/log V)/dz_v = p_v (log p_v + H)/log V, with H = 3/2 log 2: ½(-1 + 1.5), ¼(-2 + 1.5), in log 2 / log 3
    logits = logs((0.5, 0.25, 0.25))
    unit = LOG2 / math.log(3)
    close(slope(make(LOSS), logits, logits, row(2)), [[[0.25 * unit, -0.125 * unit, -0.125 * unit]]])


def test_does_not_depend_on_the_target_but_on_its_being_valid() -> None:
    logits = logs((0.5, 0.5, 0, 0), (0.25, 0.25, 0.25, 0.25))
    assert raw(make(LOSS), logits, row(0, 3)) == pytest.approx(0.25)
    assert raw(make(LOSS), logits, row(1, 0)) == pytest.approx(0.25)
    assert raw(make(LOSS), logits, row(1, -100)) == pytest.approx(0.5)


def test_vocabulary_of_one_token() -> None:
    logits = flat(2, 1)
    assert raw(make(LOSS), logits, row(0, 0)) == 0
    close(slope(make(LOSS), logits, logits, row(0, 0)), [[[0], [0]]])


def test_needs_and_untrained() -> None:
    assert term("token_diversity_loss").needs().statistics == {Statistic.ENTROPY}
    assert term("token_diversity_loss").untrained(8) == 0
