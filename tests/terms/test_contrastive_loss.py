"""``contrastive_loss``: hidden states of one target against those of the others."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ava.errors import ArgumentValueError
from tests.terms.by_hand import LOG2, answer, close, flat, make, raw, reals, row, slope, term

LOSS = {"contrastive_loss": {"temperature": 1.0}}


def test_one_pair_and_one_stranger() -> None:
    # a = (1, 0) and b = (2, 0) have target 5, c = (0, 3) has 7. s_ab = 1, s_ac = s_bc = 0.
    # a, b: -(1 - log(e + 1)) = log(1 + 1/e); c has no positive and is no anchor.
    hidden = reals([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]])
    value = raw(make(LOSS), flat(3, 8), row(5, 5, 7), hidden_states=hidden)
    assert value == pytest.approx(math.log(1 + math.exp(-1)))
    # at T_c = ½ the similarity is 2
    cold = {"contrastive_loss": {"temperature": 0.5}}
    value = raw(make(cold), flat(3, 8), row(5, 5, 7), hidden_states=hidden)
    assert value == pytest.approx(math.log(1 + math.exp(-2)))


def test_mean_over_the_positives_of_an_anchor() -> None:
    # three times the same vector and target: each anchor has two positives at 1 against log(2e)
    hidden = reals([[[1.0, 0.0]] * 3])
    assert raw(make(LOSS), flat(3, 8), row(5, 5, 5), hidden_states=hidden) == pytest.approx(LOG2)
    # two orthogonal pairs: each anchor has 1 against log(e + 1 + 1)
    pairs = reals([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])
    value = raw(make(LOSS), flat(4, 8), row(5, 6, 5, 6), hidden_states=pairs)
    assert value == pytest.approx(math.log(math.e + 2) - 1)


def test_no_anchor_has_a_positive() -> None:
    hidden = reals([[[1.0, 0.0], [0.0, 1.0]]])
    loss = make(LOSS)
    assert raw(loss, flat(2, 8), row(5, 6), hidden_states=hidden) == 0
    close(slope(loss, hidden, flat(2, 8), row(5, 6), hidden_states=hidden), torch.zeros(1, 2, 2))
    assert raw(loss, flat(1, 8), row(5), hidden_states=hidden[:, :1]) == 0
    # a zero vector has no direction, and no NaN either
    still = reals([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    assert slope(loss, still, flat(3, 8), row(5, 5, 6), hidden_states=still).isfinite().all()


def test_gradient_turns_a_pair_together() -> None:
    # a = b = (1, 0), c = (0, 1). With w = 1/(1 + e), the derivative of log(1 + e^{s_ac - s_ab}) is -w by s_ab, w by
    # s_ac; ds/da is the part of the other vector that is orthogonal to a: b gives none, c gives (0, 1).
    hidden = reals([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    w = 1 / (1 + math.e)
    found = slope(make(LOSS), hidden, flat(3, 8), row(5, 5, 6), hidden_states=hidden)
    close(found, [[[0, w / 2], [0, w / 2], [w, 0]]])


def test_ignored_positions_are_not_compared() -> None:
    hidden = reals([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [math.nan, math.inf]]])
    value = raw(make(LOSS), flat(4, 8), row(5, 5, 7, -100), hidden_states=hidden)
    assert value == pytest.approx(math.log(1 + math.exp(-1)))


def test_every_third_of_seven_positions() -> None:
    # ceil(7/3) = 3: positions 0, 3 and 6 are the pair and the stranger; the rest, of the same target, is not looked at
    hidden = torch.full((1, 7, 2), -5.0, dtype=torch.float64)
    hidden[0, 0], hidden[0, 3], hidden[0, 6] = torch.eye(2)[0], torch.eye(2)[0], torch.eye(2)[1]
    loss = make({"contrastive_loss": {"temperature": 1.0, "max_tokens": 3}})
    value = raw(loss, flat(7, 8), row(5, 5, 5, 5, 5, 5, 6), hidden_states=hidden)
    assert value == pytest.approx(math.log(1 + math.exp(-1)))
    # under shift six positions are left: every second, 0 2 4; their targets are the tokens 1 3 5
    hidden[0, 0], hidden[0, 2], hidden[0, 4] = torch.eye(2)[0], torch.eye(2)[0], torch.eye(2)[1]
    shifted = make({"contrastive_loss": {"temperature": 1.0, "max_tokens": 3}}, shift=True)
    value = raw(shifted, flat(7, 8), row(6, 5, 6, 5, 5, 6, 5), hidden_states=hidden)
    assert value == pytest.approx(math.log(1 + math.exp(-1)))


def test_scaled_by_the_share_of_the_window() -> None:
    hidden = reals([[[1.0, 0.0]] * 3])
    assert raw(make(LOSS), flat(3, 8), row(5, 5, 5), hidden_states=hidden, num_items=12) == pytest.approx(LOG2 / 4)


def test_missing_and_wrong_hidden_states() -> None:
    with pytest.raises(ArgumentValueError, match="`hidden_states` is missing: `contrastive_loss` needs it"):
        make(LOSS)(flat(2, 8), row(5, 5))
    wrong: list[Tensor] = [torch.zeros(1, 3, 2), torch.zeros(2), torch.zeros(1, 2, 2, dtype=torch.int64)]
    for hidden in wrong:
        with pytest.raises(ArgumentValueError, match="`hidden_states` should be"):
            make(LOSS)(flat(2, 8), row(5, 5), hidden_states=hidden)
    skips = make({"contrastive_loss": {"if_missing": "skip"}})
    with pytest.warns(UserWarning, match="`contrastive_loss` is left out of calls without `hidden_states`") as told:
        outs = [answer(skips, flat(2, 8), row(5, 5)) for _ in range(2)]
    assert len(told) == 1
    assert all("raw/contrastive_loss" not in out for out in outs)


def test_needs_and_untrained() -> None:
    assert term("contrastive_loss").needs().inputs == ("hidden_states",)
    assert term("contrastive_loss").untrained(8) is None
