"""``z_loss``: the square of the log-partition."""

from __future__ import annotations

import math

import pytest

from ava.terms.base import Statistic
from tests.terms.by_hand import close, flat, logs, make, raw, row, slope, term


def test_square_of_the_shift() -> None:
    # log-probabilities have ℓ = 0; shifted by 3 and -1 they have ℓ = 3 and -1: (9 + 1)/2
    first, second = logs((0.5, 0.25, 0.25)) + 3, logs((0.2, 0.2, 0.6)) - 1
    loss = make({"z_loss": {}})
    assert raw(loss, first, row(0)) == pytest.approx(9)
    assert raw(loss, second, row(0)) == pytest.approx(1)
    assert raw(loss, logs((0.5, 0.25, 0.25)), row(0)) == pytest.approx(0, abs=1e-12)


def test_gradient_is_twice_the_log_partition_times_p() -> None:
    logits = (logs((0.5, 0.25, 0.25), (0.5, 0.25, 0.25)) + 3).detach().requires_grad_()
    # one of two positions counts, so it is not halved
    close(slope(make({"z_loss": {}}), logits, logits, row(1, -100)), [[[3, 1.5, 1.5], [0, 0, 0]]])


def test_taken_at_the_temperature() -> None:
    # four equal logits 6 at τ = 2: ℓ = 6/2 + log 4
    loss = make({"z_loss": {}}, primary={"type": "deepseek", "temperature": {"initial": 2.0}})
    assert raw(loss, flat(1, 4) + 6, row(0)) == pytest.approx((3 + math.log(4)) ** 2)


def test_columns_beyond_the_vocabulary_take_no_part() -> None:
    loss = make({"z_loss": {}}, vocab_size=3, padded_vocab_size=4)
    assert raw(loss, flat(1, 4) + 2, row(0)) == pytest.approx((2 + math.log(3)) ** 2)


def test_needs_and_untrained() -> None:
    assert term("z_loss").needs().statistics == {Statistic.LSE}
    assert term("z_loss").untrained(8) == pytest.approx(math.log(8) ** 2)
    assert raw(make({"z_loss": {}}), flat(3, 8), row(1, 2, 3)) == pytest.approx(term("z_loss").untrained(8))
