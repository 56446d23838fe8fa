"""``mtp_loss``: which head predicts which token, how positions are weighted, and where the logits come from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ava.errors import ArgumentValueError
from ava.terms.base import TARGET, Statistic
from tests.terms.by_hand import LOG2, answer, close, flat, logs, make, raw, reals, row, slope, term

HALF, QUARTER = (0.5, 0.25, 0.125, 0.125), (0.25, 0.25, 0.25, 0.25)


def mtp(count: int = 1, **settings: Any) -> dict[str, dict[str, Any]]:
    return {"mtp_loss": {"num_future_tokens": count, **settings}}


def test_head_k_predicts_k_tokens_further_ahead() -> None:
    # y = 3 0 1 2. Head 1 predicts 0 1 2 from positions 0 1 2: (1 + 2 + 3) log 2; head 2 predicts 1 2: (2 + 3) log 2.
    # Each is divided by the n = 4 valid positions: ½ (6/4 + 5/4) log 2.
    heads = logs(*[HALF] * 8, batch=2).unsqueeze(1)
    assert raw(make(mtp(2)), flat(4, 4), row(3, 0, 1, 2), mtp_logits=heads) == pytest.approx(11 / 8 * LOG2)
    both = [heads[0], heads[1]]
    assert raw(make(mtp(2)), flat(4, 4), row(3, 0, 1, 2), mtp_logits=both) == pytest.approx(11 / 8 * LOG2)


def test_gradient_reaches_the_heads_that_have_a_target() -> None:
    # K = 2, n = 2: head 1 at t = 0 gets (p - onehot)/4; t = 1, and all of head 2, have no target
    heads = logs(*[HALF] * 4, batch=2).unsqueeze(1).detach().requires_grad_()
    found = slope(make(mtp(2)), heads, flat(2, 4), row(3, 0), mtp_logits=heads)
    zero = [0.0] * 4
    close(found, [[[[-0.125, 0.0625, 0.03125, 0.03125], zero]], [[zero, zero]]])


def test_no_prediction_across_documents_or_of_ignored_targets() -> None:
    uniform = flat(4, 4).unsqueeze(0)
    loss = make(mtp())
    assert raw(loss, flat(4, 4), row(0, 1, 2, 3), mtp_logits=uniform) == pytest.approx(3 / 4 * math.log(4))
    # documents 0 1 | 2 3: only 0 → 1 and 2 → 3
    packed = {"mtp_logits": uniform, "segment_ids": row(0, 0, 1, 1)}
    assert raw(loss, flat(4, 4), row(0, 1, 2, 3), **packed) == pytest.approx(2 / 4 * math.log(4))
    # the second of four targets is ignored: y[2] and y[3] are predicted, the latter from a valid place or not; n = 3
    assert raw(loss, flat(4, 4), row(0, -100, 2, 3), mtp_logits=uniform) == pytest.approx(2 / 3 * math.log(4))
    # with an EOS, what follows it is a new document: 1 EOS | 2 3 in targets, so 0 → 1 and 2 → 3
    ended = make(mtp(), eos_token_id=0)
    assert raw(ended, flat(4, 4), row(1, 0, 2, 3), mtp_logits=uniform) == pytest.approx(2 / 4 * math.log(4))


def test_shift_moves_the_heads_along() -> None:
    # tokens 3 0 1: the targets are 0 1, head 1 at t = 0 predicts 1 (¼), divided by n = 2
    heads = logs(HALF, HALF, HALF).unsqueeze(0)
    assert raw(make(mtp(), shift=True), flat(3, 4), row(3, 0, 1), mtp_logits=heads) == pytest.approx(LOG2)


def test_adaptive_weights_below_at_and_above_the_threshold() -> None:
    # θ = 0.7, [½, 3/2]: c = 0.35 weighs ½ + ½·½ = 0.75, c = 0.7 weighs 1, c = 0.85 weighs 1 + ½·½ = 1.25
    logits = logs((0.35, 0.35, 0.2, 0.1), (0.7, 0.1, 0.1, 0.1), (0.85, 0.05, 0.05, 0.05), QUARTER)
    loss, heads = make(mtp(weighting="adaptive")), flat(4, 4).unsqueeze(0)
    targets = row(0, 1, 2, 3)
    assert raw(loss, logits, targets, mtp_logits=heads) == pytest.approx((0.75 + 1 + 1.25) / 4 * math.log(4))
    for place, weight in ((0, 0.75), (1, 1.0), (2, 1.25)):
        only = [-100] * 4
        only[place + 1] = 0  # the one valid target is the one that `place` predicts
        assert raw(loss, logits, row(*only), mtp_logits=heads) == pytest.approx(weight * math.log(4))
    # the confidence is a factor, no way for a gradient
    close(slope(loss, logits, logits, targets, mtp_logits=heads), torch.zeros(1, 4, 4))


def test_adaptive_with_its_own_threshold_and_range() -> None:
    # θ = ½, [0, 3]: c = ¼ weighs ½; c = ¾ weighs 1 + 2·½ = 2
    settings = {"weighting": "adaptive", "confidence_threshold": 0.5, "weight_range": [0.0, 3.0]}
    logits = logs(QUARTER, (0.75, 0.25, 0, 0), QUARTER)
    value = raw(make(mtp(**settings)), logits, row(0, 0, 0), mtp_logits=flat(3, 4).unsqueeze(0))
    assert value == pytest.approx((0.5 + 2) / 3 * math.log(4))


def test_hidden_states_through_the_models_head() -> None:
    # h = (1, 0), W = I, scale 2, bias (0, 1), cap 1: logits tanh(2), tanh(1); the target is 0
    hidden, weight, bias = reals([[[[1.0, 0.0]] * 2]]), reals([[1.0, 0.0], [0.0, 1.0]]), reals([0.0, 1.0])
    inputs = {"mtp_hidden_states": hidden, "lm_head": weight, "lm_head_bias": bias, "num_items": 1}
    capped = make(mtp(), logit_scale=2.0, logit_softcap=1.0)
    expected = math.log(1 + math.exp(math.tanh(1) - math.tanh(2)))
    assert raw(capped, flat(2, 2), row(0, 0), **inputs) == pytest.approx(expected)
    # without scale and cap the logits are 1, 1: p = ½, so d/dh = Wᵀ(p - onehot), and d/dW = (p - onehot) hᵀ
    plain = make(mtp())
    close(slope(plain, hidden, flat(2, 2), row(0, 0), **inputs), [[[[-0.5, 0.5], [0, 0]]]])
    close(slope(plain, weight, flat(2, 2), row(0, 0), **inputs), [[-0.5, 0], [0.5, 0]])
    close(slope(plain, bias, flat(2, 2), row(0, 0), **inputs), [-0.5, 0.5])


SILU = 1 / (1 + math.exp(-1))  # SiLU(1)
GAP = {"linear": 2.0, "shared": 2 + SILU, "tied": 2 + SILU}


@pytest.mark.parametrize("kind", ["linear", "shared", "tied"])
def test_own_heads(kind: str) -> None:
    # h = (1, -1) is its own LayerNorm (but for its ε). A projection I makes it the logits: a gap of 2 for `linear`;
    # a block W = [[1, 0], [0, 0]] adds SiLU(1) to the first one. The loss of target 0 is log(1 + e^-gap).
    loss = make(mtp(heads=kind), hidden_size=2, vocab_size=2)
    assert loss.heads is not None
    eye = torch.eye(2)
    with torch.no_grad():
        if kind != "tied":
            loss.heads.projection.copy_(eye)
        if kind != "linear":
            loss.heads.block.copy_(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    hidden = reals([[[1.0, -1.0], [1.0, -1.0]]])
    inputs: dict[str, Any] = {"hidden_states": hidden, "num_items": 1}
    head = eye.double().requires_grad_()
    if kind == "tied":
        inputs["lm_head"] = head
    out = answer(loss, flat(2, 2), row(0, 0), **inputs)
    assert float(out["raw/mtp_loss"]) == pytest.approx(math.log(1 + math.exp(-GAP[kind])), rel=1e-4)
    out.backward()
    reached = dict(loss.heads.named_parameters())
    assert set(reached) == {"norm_weight", "norm_bias", *{"linear": ["projection"], "shared": ["block", "projection"],
                                                          "tied": ["block"]}[kind]}  # fmt: skip
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in reached.values())
    assert float(hidden.grad[0, 0].abs().sum()) > 0
    if kind == "tied":
        assert float(head.grad.abs().sum()) > 0


def test_own_heads_start_near_an_even_prediction() -> None:
    loss = make(mtp(3), hidden_size=4, vocab_size=5)
    assert loss.heads is not None
    assert loss.heads.projection.shape == (3, 5, 4)
    value = raw(loss, flat(9, 5), row(*[1] * 9), hidden_states=torch.randn(1, 9, 4, dtype=torch.float64))
    # (8 + 7 + 6)/9 positions a head
    assert value == pytest.approx(21 / 27 * math.log(5), rel=0.1)


def test_first_source_wins() -> None:
    inputs: dict[str, Tensor] = {"hidden_states": reals([[[1.0, -1.0]] * 2])}
    loss = make(mtp(), hidden_size=2, vocab_size=4)
    with torch.no_grad():
        loss.heads.projection.zero_()  # type: ignore[union-attr]
    assert raw(loss, flat(2, 4), row(0, 0), num_items=1, **inputs) == pytest.approx(2 * LOG2)
    inputs |= {"mtp_hidden_states": reals([[[[1.0]] * 2]]), "lm_head": reals([[0.0], [0.0], [-math.inf], [-math.inf]])}
    assert raw(loss, flat(2, 4), row(0, 0), num_items=1, **inputs) == pytest.approx(LOG2)
    inputs["mtp_logits"] = logs(HALF[::-1], QUARTER).unsqueeze(0)
    assert raw(loss, flat(2, 4), row(0, 0), num_items=1, **inputs) == pytest.approx(3 * LOG2)


MISSING = [
    ({}, {}, "hidden_states"),
    ({}, {"mtp_hidden_states": torch.zeros(1, 1, 2, 2)}, "lm_head"),
    ({"heads": "tied"}, {"hidden_states": torch.zeros(1, 2, 2)}, "lm_head"),
]


@pytest.mark.parametrize(("settings", "inputs", "name"), MISSING)
def test_missing_source(settings: dict[str, Any], inputs: dict[str, Tensor], name: str) -> None:
    with pytest.raises(ArgumentValueError, match=f"`{name}` is missing: `mtp_loss` needs it"):
        make(mtp(**settings), hidden_size=2, vocab_size=4)(flat(2, 4), row(0, 1), **inputs)
    skips = make(mtp(**settings, if_missing="skip"), hidden_size=2, vocab_size=4)
    with pytest.warns(UserWarning, match=f"`mtp_loss` is left out of calls without `{name}`") as told:
        outs = [answer(skips, flat(2, 4), row(0, 1), **inputs) for _ in range(2)]
    assert len(told) == 1
    assert not {"mtp_loss", "raw/mtp_loss"} & set(outs[0])


WRONG = [
    ({"mtp_logits": torch.zeros(1, 1, 2, 5)}, "`mtp_logits` should have 4 columns"),
    ({"mtp_logits": torch.zeros(1, 1, 3, 4)}, "`mtp_logits` should be a tensor"),
    ({"mtp_logits": torch.zeros(4)}, "`mtp_logits` should be a tensor"),
    ({"mtp_logits": torch.zeros(1, 1, 2, 4, dtype=torch.int64)}, "`mtp_logits` should be .* floating-point"),
    ({"mtp_hidden_states": torch.zeros(1, 1, 2, 2), "lm_head": torch.zeros(4, 3)}, r"`lm_head` should be .*\[4, 2\]"),
    (
        {"mtp_hidden_states": torch.zeros(1, 1, 2, 2), "lm_head": torch.zeros(4, 2), "lm_head_bias": torch.zeros(3)},
        r"`lm_head_bias` should be the head's bias \[V\] = \[4\]",
    ),
    ({"hidden_states": torch.zeros(1, 2, 3)}, r"`hidden_states` should be .* H = 2 \(`model.hidden_size`\)"),
]


@pytest.mark.parametrize(("inputs", "message"), WRONG)
def test_wrong_shapes(inputs: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ArgumentValueError, match=message):
        make(mtp(), hidden_size=2, vocab_size=4)(flat(2, 4), row(0, 1), **inputs)


def test_own_heads_need_the_sizes_of_the_model() -> None:
    with pytest.raises(ArgumentValueError, match=r"`heads: linear` needs `model.vocab_size`"):
        make(mtp(), hidden_size=2)
    with pytest.raises(ArgumentValueError, match=r"needs `model.hidden_size` to make its own heads"):
        make(mtp(), vocab_size=4)(flat(2, 4), row(0, 1), hidden_states=torch.zeros(1, 2, 2))


def test_needs_and_untrained() -> None:
    uniform, adaptive = term("mtp_loss"), term("mtp_loss", weighting="adaptive")
    assert uniform.needs().picks == (TARGET,)
    assert uniform.needs().inputs == ("hidden_states",)
    assert uniform.needs().statistics == frozenset()
    assert adaptive.needs().statistics == {Statistic.MAX_LOG_PROB}
    # one head, divided by the two positions that have a target for it
    inputs = {"mtp_logits": flat(3, 4).unsqueeze(0), "num_items": 2}
    assert uniform.untrained(4) == pytest.approx(2 * LOG2)
    assert raw(make(mtp()), flat(3, 4), row(0, 1, 2), **inputs) == pytest.approx(uniform.untrained(4))
    for settings in ({}, {"confidence_threshold": 0.2, "weight_range": [0.5, 2.0]}):
        told = term("mtp_loss", weighting="adaptive", **settings)
        value = raw(make(mtp(weighting="adaptive", **settings)), flat(3, 4), row(0, 1, 2), **inputs)
        assert value == pytest.approx(told.untrained(4))
