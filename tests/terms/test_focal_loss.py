"""``focal_loss``: cross-entropy that fades for tokens predicted well."""

from __future__ import annotations

import math

import pytest
import torch

from ava.terms.base import TARGET
from tests.terms.by_hand import LOG2, close, flat, logs, make, raw, row, slope, term


def test_two_positions() -> None:
    # (1 - ½)² log 2 = ¼ log 2 and (1 - ¼)² log 4 = 9/8 log 2; their mean is 11/16 log 2
    logits = logs((0.5, 0.25, 0.25), (0.5, 0.25, 0.25))
    assert raw(make({"focal_loss": {}}), logits, row(0, 1)) == pytest.approx(11 / 16 * LOG2)


def test_gamma_zero_is_cross_entropy_times_alpha() -> None:
    loss = make({"focal_loss": {"gamma": 0.0, "alpha": 0.25}})
    assert raw(loss, logs((0.5, 0.25, 0.25)), row(1)) == pytest.approx(0.25 * 2 * LOG2)


def test_gradient() -> None:
    # With f(p) = -(1-p)² log p: f' = 2(1-p) log p - (1-p)²/p = -log 2 - ½ at p = ½, and dp/dz_y = p(1-p) = ¼.
    logits = logs((0.5, 0.5))
    expected = (LOG2 + 0.5) / 4
    close(slope(make({"focal_loss": {}}), logits, logits, row(0)), [[[-expected, expected]]])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_finite_where_the_model_is_certain_and_right_or_wrong(gamma: float) -> None:
    logits = torch.tensor([[[60.0, 0.0], [0.0, 60.0]]], requires_grad=True)
    loss = make({"focal_loss": {"gamma": gamma}})
    # right: nothing is left; wrong: 60 nats at full weight, half of the mean
    assert raw(loss, logits, row(0, 0)) == pytest.approx(30.0)
    close(slope(loss, logits, logits, row(0, 0)), [[[0, 0], [-0.5, 0.5]]], rtol=1e-5)


def test_needs_and_untrained() -> None:
    focal = term("focal_loss", gamma=2.0, alpha=0.5)
    assert focal.needs().picks == (TARGET,)
    assert focal.needs().inputs == ()
    assert focal.untrained(8) == pytest.approx(0.5 * (7 / 8) ** 2 * math.log(8))
    loss = make({"focal_loss": {"gamma": 2.0, "alpha": 0.5}})
    assert raw(loss, flat(3, 8), row(1, 2, 3)) == pytest.approx(focal.untrained(8))
