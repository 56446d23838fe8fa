"""``expert_diversity_loss``: how alike the experts' outputs are."""

from __future__ import annotations

import math

import pytest
import torch

from ava.errors import ArgumentValueError
from tests.terms.by_hand import answer, close, flat, make, raw, reals, row, slope, term

LOSS = {"expert_diversity_loss": {}}
# three experts, two tokens: (1, 0), (0, 2), (3, 0) have cosines 0, 1, 0; three of one direction have 1, 1, 1
OUTPUTS = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 5.0]], [[3.0, 0.0], [0.0, 2.0]]]


def test_mean_over_pairs_and_tokens() -> None:
    outputs = reals(OUTPUTS)[:, None]
    assert raw(make(LOSS), flat(2, 4), row(0, 1), expert_outputs=outputs) == pytest.approx((1 / 3 + 1) / 2)


def test_opposite_orthogonal_and_single_experts() -> None:
    opposite, orthogonal = reals([[[[1.0, 1.0]]], [[[-3.0, -3.0]]]]), reals([[[[1.0, 1.0]]], [[[-3.0, 3.0]]]])
    assert raw(make(LOSS), flat(1, 4), row(0), expert_outputs=opposite) == pytest.approx(-1)
    assert raw(make(LOSS), flat(1, 4), row(0), expert_outputs=orthogonal) == pytest.approx(0, abs=1e-12)
    assert raw(make(LOSS), flat(1, 4), row(0), expert_outputs=orthogonal[:1]) == pytest.approx(0, abs=1e-12)


def test_gradient_turns_the_outputs_apart() -> None:
    # unit vectors at 60°: d cos/da = b - cos·a, with cos = ½
    s = math.sqrt(3) / 2
    outputs = reals([[[[1.0, 0.0]]], [[[0.5, s]]]])
    found = slope(make(LOSS), outputs, flat(1, 4), row(0), expert_outputs=outputs)
    close(found, [[[[0, s]]], [[[1 - 0.25, -0.5 * s]]]])


def test_list_or_tensor() -> None:
    outputs = reals(OUTPUTS)
    shapes = [outputs, outputs[:, None], list(outputs), [expert[None] for expert in outputs]]
    values = [raw(make(LOSS), flat(2, 4), row(0, 1), expert_outputs=shape) for shape in shapes]
    assert values == [values[0]] * 4
    grads = [slope(make(LOSS), outputs, flat(2, 4), row(0, 1), expert_outputs=shape) for shape in shapes]
    assert all(torch.equal(grad, grads[0]) for grad in grads)


def test_padding_and_silent_experts() -> None:
    outputs = torch.tensor(OUTPUTS, dtype=torch.float64)
    outputs[:, 1] = math.nan
    masked = raw(make(LOSS), flat(2, 4), row(0, 1), expert_outputs=outputs, attention_mask=row(1, 0))
    assert masked == pytest.approx(1 / 3)
    # a prompt's token is routed like any other
    assert raw(make(LOSS), flat(2, 4), row(0, -100), expert_outputs=reals(OUTPUTS)) == pytest.approx(2 / 3)
    # an expert that says nothing is like none
    silent = reals([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
    assert raw(make(LOSS), flat(1, 4), row(0), expert_outputs=silent) == 0
    assert slope(make(LOSS), silent, flat(1, 4), row(0), expert_outputs=silent).isfinite().all()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.zeros(3, 3, 2), r"`expert_outputs` should be \[E, \.\.\., H\] with B \* T = 2 entries an expert"),
        (torch.zeros(2, 2), r"`expert_outputs` should be \[E, \.\.\., H\]"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), "`expert_outputs` should be .* floating-point"),
        ([torch.zeros(2, 2), torch.zeros(3, 2)], r"`expert_outputs\[1\]` should be"),
    ],
)
def test_wrong_shapes(outputs: object, message: str) -> None:
    with pytest.raises(ArgumentValueError, match=message):
        make(LOSS)(flat(2, 4), row(0, 1), expert_outputs=outputs)


def test_missing_expert_outputs() -> None:
    with pytest.raises(ArgumentValueError, match="`expert_outputs` is missing: `expert_diversity_loss` needs it"):
        make(LOSS)(flat(2, 4), row(0, 1))
    with pytest.warns(UserWarning, match="`expert_diversity_loss` is left out of calls without `expert_outputs`"):
        out = answer(make({"expert_diversity_loss": {"if_missing": "skip"}}), flat(1, 4), row(0))
    assert "expert_diversity_loss" not in out


def test_needs_and_untrained() -> None:
    assert term("expert_diversity_loss").needs().inputs == ("expert_outputs",)
    assert term("expert_diversity_loss").untrained(8) == 0
