"""``router_z_loss``: the square of the log-partition of the gate logits."""

from __future__ import annotations

import math

import pytest
import torch

from ava.errors import ArgumentValueError
from tests.terms.by_hand import answer, close, flat, logs, make, raw, row, slope, term

LOSS = {"router_z_loss": {}}


def test_mean_of_squares_over_tokens() -> None:
    # log-partitions 2 and 0, and log 4 for equal zeros
    gates = torch.cat([logs((0.5, 0.5)) + 2, logs((0.9, 0.1))], 1)
    assert raw(make(LOSS), flat(2, 4), row(0, 1), gate_logits=gates) == pytest.approx((4 + 0) / 2)
    assert raw(make(LOSS), flat(2, 4), row(0, 1), gate_logits=flat(2, 4)) == pytest.approx(math.log(4) ** 2)


def test_gradient_is_twice_the_log_partition_times_p() -> None:
    gates = (logs((0.75, 0.25), (0.5, 0.5)) + 2).detach().requires_grad_()
    close(slope(make(LOSS), gates, flat(2, 4), row(0, 1), gate_logits=gates), [[[1.5, 0.5], [1, 1]]])


def test_padding_is_left_out_and_prompts_are_not() -> None:
    padded = torch.cat([logs((0.5, 0.5)) + 2, torch.full((1, 1, 2), torch.inf, dtype=torch.float64)], 1)
    gates = padded.detach().requires_grad_()
    loss, inputs = make(LOSS), {"gate_logits": gates, "attention_mask": row(1, 0)}
    assert raw(loss, flat(2, 4), row(0, 1), **inputs) == pytest.approx(4)
    close(slope(loss, gates, flat(2, 4), row(0, 1), **inputs), [[[2, 2], [0, 0]]])
    both = torch.cat([logs((0.5, 0.5)) + 2, logs((0.9, 0.1))], 1)
    assert raw(loss, flat(2, 4), row(0, -100), gate_logits=both) == pytest.approx(2)


def test_mean_over_layers() -> None:
    layers = [logs((0.5, 0.5)) + 2, logs((0.5, 0.5)) + 4]
    assert raw(make(LOSS), flat(1, 4), row(0), gate_logits=layers) == pytest.approx((4 + 16) / 2)
    flattened = [layer[0] for layer in layers]
    assert raw(make(LOSS), flat(1, 4), row(0), gate_logits=tuple(flattened)) == pytest.approx(10)


def test_missing_gate_logits() -> None:
    with pytest.raises(ArgumentValueError, match="`gate_logits` is missing: `router_z_loss` needs it"):
        make(LOSS)(flat(2, 4), row(0, 1))
    with pytest.warns(UserWarning, match="`router_z_loss` is left out of calls without `gate_logits`"):
        assert "router_z_loss" not in answer(make({"router_z_loss": {"if_missing": "skip"}}), flat(1, 4), row(0))


def test_needs_and_untrained() -> None:
    assert term("router_z_loss").needs().inputs == ("gate_logits",)
    assert term("router_z_loss").untrained(8) is None
