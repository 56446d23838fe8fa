"""The references against PyTorch, high precision, direct formulas, and tiny examples worked by hand from the page."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from . import naive, samples
from .contrastive_loss import chosen, contrastive_loss
from .distillation_loss import distillation_loss
from .eos_penalty import eos_penalty
from .eos_penalty import penalised as eos_penalised
from .expert_diversity_loss import expert_diversity_loss
from .focal_loss import focal_loss
from .head import head_logits
from .immediate_repetition_penalty import immediate_repetition_penalty
from .immediate_repetition_penalty import penalised as immediate_penalised
from .main_loss import main_loss
from .moe_balance_loss import moe_balance_loss, step_load, update_bias, update_usage
from .mtp_loss import adaptive_weight, mtp_loss, own_heads
from .ngram_penalty import candidates, ngram_penalty
from .positions import Positions, positions
from .router_z_loss import router_z_loss
from .rows import unlikelihood
from .samples import CASES, EXTRA_CASES, Sample
from .temperature import observation, temperatures, weight_at
from .token_diversity_loss import token_diversity_loss
from .total import DEFAULT_WEIGHTS, TERMS, Call, prepare, reference
from .z_loss import z_loss

CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
LOGIT_TERMS: dict[str, Any] = {
    "focal_loss": {},
    "z_loss": {},
    "token_diversity_loss": {},
    "immediate_repetition_penalty": {},
    "ngram_penalty": {"size": 2, "window": 6},
}


def call_of(sample: Sample, **sections: Any) -> Call:
    return prepare(sample.config(**sections), **sample.inputs)


def immediate_of(at: Positions, threshold: int = 2) -> list[int | None]:
    return [immediate_penalised(at, 0, t, threshold) for t in range(at.length)]


def candidates_of(at: Positions, size: int, window: int) -> list[list[int]]:
    return [candidates(at, 0, t, size, window) for t in range(at.length)]


# ---- worked by hand ------------------------------------------------------------------------------------------------


def test_runs_and_candidates_by_hand() -> None:
    # No input_ids, no shift: u[t] = y[t−1], undefined at 0. No EOS, no segment_ids: the row is one segment.
    at = positions([[5, 5, 5, 7, 5, 5]])
    assert at.context == [[None, 5, 5, 5, 7, 5]]
    assert at.segment == [[0] * 6]
    assert at.run == [[0, 1, 2, 3, 1, 1]]
    assert at.before == [[0, 1, 2, 3, 4, 5]]
    # c = u[t] unless it is undefined or the target: t = 3 (5, y 7) and t = 4 (7, y 5).
    assert immediate_of(at) == [None, None, None, 5, 7, None]
    # threshold 3 needs run ≥ 2: t = 3 only.
    assert immediate_of(at, 3) == [None, None, None, 5, None, None]
    assert immediate_of(at, 5) == [None] * 6
    # Bigrams, the prefix is u[t]. t = 2: u[1] = 5 was followed by 5 = y. t = 3: 5 was followed by 5, y = 7: {5}.
    # t = 4: no other 7. t = 5: u[3] = 5 was followed by 7; u[2], u[1] by 5 = y: {7}.
    assert candidates_of(at, 2, 50) == [[], [], [], [5], [], [7]]
    # Window 1 sees only u[t−1] as prefix.
    assert candidates_of(at, 2, 1) == [[], [], [], [5], [], []]
    # Trigrams: (5,5) at t = 3 equals (5,5) at t = 2 (d = 1), followed by 5; at t = 2, u[0] is undefined.
    assert candidates_of(at, 3, 50) == [[], [], [], [5], [], []]
    # Size 1: u[t−d+1] for each d with t−d in the row, less y_t. t = 0: no d. t = 3: u[3], u[2], u[1] = 5, once.
    # t = 4: u[4] = 7; 5 is the target. t = 5: u[5] = 5 = y, u[4] = 7.
    assert candidates_of(at, 1, 50) == [[], [], [], [5], [7], [7]]
    assert candidates_of(at, 1, 1) == [[], [], [], [5], [7], []]


def test_eos_segments_by_hand() -> None:
    # EOS = 0. u starts as input_ids; a segment starts where u = 0: t = 2 and t = 5 (t = 0 starts the row anyway).
    at = positions([[3, 0, 4, 4, 0, 4, 1]], input_ids=[[0, 3, 0, 4, 4, 0, 4]], eos_token_id=0)
    assert at.segment == [[0, 0, 1, 1, 1, 2, 2]]
    # u is undefined at the first position of a segment, the row's first excepted.
    assert at.context == [[0, 3, None, 4, 4, None, 4]]
    assert at.before == [[0, 1, 0, 1, 2, 0, 1]]
    assert at.run == [[1, 1, 0, 1, 2, 0, 1]]
    assert immediate_of(at) == [0, 3, None, None, 4, None, 4]
    # t = 4: u[3] = 4 = u[4], followed by u[4] = 4 ≠ y. t = 6: u[5] undefined, the rest beyond the boundary.
    assert candidates_of(at, 2, 50) == [[], [], [], [], [4], [], []]
    # Size 1. t = 1: d = 1 → u[1] = 3 ≠ 0. t = 3: u[3] = 4 = y. t = 4: u[4] = 4 once. t = 6: u[6] = 4.
    assert candidates_of(at, 1, 50) == [[], [3], [], [], [4], [], [4]]
    # q < 2 and y ≠ EOS: not t = 1 (y = EOS), not t = 4 (q = 2).
    assert [eos_penalised(at, 0, t, 0, 2) for t in range(7)] == [True, False, True, True, False, True, True]


def test_segment_ids_win_over_eos_by_hand() -> None:
    at = positions([[3, 0, 4, 4, 4]], segment_ids=[[7, 7, 7, 7, 9]], eos_token_id=0)
    assert at.segment == [[0, 0, 0, 0, 1]]
    assert at.context == [[None, 3, 0, 4, None]]


def test_shift_by_hand() -> None:
    # y = targets[1:], u = targets[:-1]; aligned ids 1,1,2,2: a segment starts at t = 2, where u is undefined; and at
    # t = 0 too, for the token 9 is of document 0, y[0] of document 1.
    at = positions([[9, 8, 7, 6, 5]], segment_ids=[[0, 1, 1, 2, 2]], shift=True)
    assert at.targets == [[8, 7, 6, 5]]
    assert at.segment == [[0, 0, 1, 1]]
    assert at.context == [[None, 8, None, 6]]
    same = positions([[9, 8, 7, 6, 5]], segment_ids=[[1, 1, 1, 2, 2]], shift=True)
    assert same.context == [[9, 8, None, 6]]
    # input_ids lose their last token; the targets' first is never predicted.
    ids = positions([[9, 8, -100, 6, 5]], input_ids=[[1, 2, 3, 4, 0]], shift=True)
    assert ids.targets == [[8, -100, 6, 5]]
    assert ids.context == [[1, 2, 3, 4]]
    assert ids.valid == [[True, False, True, True]]
    # without them an ignored label is an unknown token
    assert positions([[9, 8, -100, 6, 5]], shift=True).context == [[9, 8, None, 6]]


def test_masks_and_pads_by_hand() -> None:
    # Left padding under shift: M = mask[1:], and the tokens at 0 and 1 are masked.
    at = positions([[1, 1, 4, 5, 6]], [[0, 0, 1, 1, 1]], shift=True)
    assert at.valid == [[False, True, True, True]]
    assert at.context == [[None, None, 4, 5]]
    assert at.n == 3
    # Not shifted, no ids: u[t] = y[t−1] with that target's own mask.
    assert positions([[4, 5, 6, 1]], [[1, 1, 1, 0]]).context == [[None, 4, 5, 6]]
    assert positions([[1, 4, 5, 6]], [[0, 1, 1, 1]]).context == [[None, None, 4, 5]]
    # A pad that differs from EOS is invalid as a target and undefined as a context; one that equals EOS is neither.
    pad = positions([[3, 9, 9]], pad_token_id=9, eos_token_id=8)
    assert (pad.valid, pad.context) == ([[True, False, False]], [[None, 3, None]])
    assert positions([[3, 9, 9]], pad_token_id=9).valid == [[True, False, False]]
    both = positions([[3, 9, 9, 4]], pad_token_id=9, eos_token_id=9)
    assert both.valid == [[True] * 4]
    assert (both.segment, both.context) == ([[0, 0, 1, 2]], [[None, 3, None, None]])
    # An undefined token equals nothing, itself included: no run, no n-gram.
    hole = positions([[3, 3, 3, 3, 3]], input_ids=[[3, -100, -100, -100, 3]])
    assert hole.run == [[1, 0, 0, 0, 1]]
    assert candidates_of(positions([[7] * 5], input_ids=[[3, -100, -100, 4, 3]]), 2, 50) == [[], [], [], [], []]
    # ... and a follower that is undefined joins nothing, while size 1 passes over it.
    assert candidates_of(positions([[7] * 5], input_ids=[[3, -100, -100, 4, 3]]), 1, 50)[4] == [3, 4]
    # Invalid positions do not count in q.
    assert positions([[3, -100, 3, 3]]).before == [[0, 1, 1, 2]]


def test_denominator() -> None:
    assert positions([[-100, -100]]).n == 1
    assert positions([[1, -100]], num_items=torch.tensor(5.0)).n == 5
    # data_parallel: the mean of the ranks' counts
    assert positions([[1, 2]], rank_counts=[2, 5]).n == 3.5
    assert positions([[1, 2]], rank_counts=[2, 5]).own_mean_factor == 2 / 3.5


def test_penalties_by_hand() -> None:
    # y = 5,5,5,7,5,5 of V = 8, uniform logits: every ul is log(8/7), n = 6.
    at = positions([[5, 5, 5, 7, 5, 5]])
    x = torch.zeros(1, 6, 8, dtype=torch.float64)
    each = math.log(8 / 7)
    assert float(immediate_repetition_penalty(x, at)) == pytest.approx(2 * each / 6)
    assert float(immediate_repetition_penalty(x, at, threshold=3)) == pytest.approx(each / 6)
    assert float(ngram_penalty(x, at, size=2)) == pytest.approx(2 * each / 6)
    assert float(ngram_penalty(x, at, size=1)) == pytest.approx(3 * each / 6)
    # EOS = 7: u starts a segment after t = 3, so q = 0,1,2,3,0,1; q < 2 and y ≠ 7: t = 0, 1, 4, 5.
    at = positions([[5, 5, 5, 7, 5, 5]], eos_token_id=7)
    assert float(eos_penalty(x, at, eos_token_id=7, min_length=2)) == pytest.approx(4 * each / 6)


def test_mtp_by_hand() -> None:
    # T = 3, K = 3, V = 4, uniform: head 1 has t = 0, 1; head 2 has t = 0; head 3 nothing; n = 3.
    at = positions([[1, 2, 3]])
    x = torch.zeros(3, 1, 3, 4, dtype=torch.float64)
    assert float(mtp_loss(x, at)) == pytest.approx((2 + 1 + 0) * math.log(4) / 3 / 3)
    # A boundary between t = 1 and t = 2 leaves head 1 at t = 0.
    cut = positions([[1, 2, 3]], segment_ids=[[0, 0, 1]])
    assert float(mtp_loss(x, cut)) == pytest.approx(math.log(4) / 3 / 3)
    # M_k[t] = M[t+k], whatever M[t]: y[0] ignored changes only n, to 2.
    assert float(mtp_loss(x, positions([[-100, 2, 3]]))) == pytest.approx((2 + 1) * math.log(4) / 2 / 3)
    assert float(mtp_loss(x, positions([[1, 2, -100]]))) == pytest.approx(1 * math.log(4) / 2 / 3)
    # c = 1/4 < θ = 0.7: ω = 0.5 + 0.5·0.25/0.7 everywhere, and nothing reaches the main logits.
    main = torch.zeros(1, 3, 4, dtype=torch.float64, requires_grad=True)
    weighted = mtp_loss(x.requires_grad_(), at, x=main, weighting="adaptive")
    assert float(weighted.detach()) == pytest.approx((0.5 + 0.5 * 0.25 / 0.7) * math.log(4) / 3)
    torch.autograd.backward(weighted)
    assert main.grad is None
    assert adaptive_weight(0.7, 0.7, (0.5, 1.5)) == 1
    assert adaptive_weight(1.0, 0.7, (0.5, 1.5)) == 1.5
    assert adaptive_weight(0.0, 0.7, (0.5, 1.5)) == 0.5


# ---- against PyTorch, high precision, direct formulas --------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("minus_infinity", "nothing_valid")])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tau", [1.0, 1.3])
def test_main_loss_is_cross_entropy(name: str, smoothing: float, tau: float) -> None:
    call = call_of(CASES[name]().leaves())
    at = call.at
    valid = torch.tensor(at.valid)
    y = torch.tensor(at.targets).masked_fill(~valid, -100)
    total = F.cross_entropy(
        call.x.flatten(0, 1) / tau, y.flatten(), ignore_index=-100, label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(main_loss(call.x, at, tau=tau, label_smoothing=smoothing), total / at.n, **CLOSE)
    if name != "num_items":
        mean = F.cross_entropy(call.x.flatten(0, 1) / tau, y.flatten(), label_smoothing=smoothing)
        torch.testing.assert_close(main_loss(call.x, at, tau=tau, label_smoothing=smoothing), mean, **CLOSE)


def decimal_row(gap: float, others: list[float]) -> tuple[Decimal, Decimal]:
    """`p(c)` and `−log(1 − p(c))` with 120 digits, `z = [gap, *others]`."""
    weights = [Decimal(value).exp() for value in [gap, *others]]
    p = weights[0] / sum(weights)
    return p, -(1 - p).ln()


@pytest.mark.parametrize("gap", [-100.0, -60.0, -30.0, -1.0, 0.0, 1.0, 17.0, 30.0, 60.0, 100.0])
def test_unlikelihood_is_exact(gap: float) -> None:
    others = [0.5, -1.25, 0.0, 2.0]
    z = torch.tensor([gap, *others], dtype=torch.float64, requires_grad=True)
    value = unlikelihood(z, 0)
    (gradient,) = torch.autograd.grad(value, z)
    with localcontext() as context:
        context.prec = 120
        p, expected = decimal_row(gap, others)
        # ∂ul/∂z_c = p_c; ∂ul/∂z_v = −p_c·p_v/(1−p_c) = −p_c·softmax of the others
        rest = [Decimal(value).exp() for value in others]
        slopes = [p, *(-p * weight / sum(rest) for weight in rest)]
    assert float(value.detach()) == pytest.approx(float(expected), rel=1e-13)
    assert gradient.tolist() == pytest.approx([float(slope) for slope in slopes], rel=1e-13)


def test_unlikelihood_at_the_edges() -> None:
    z = torch.tensor([1.0, -torch.inf, 2.0], dtype=torch.float64, requires_grad=True)
    for c, expected in ((1, 0.0), (0, math.log(1 + math.exp(-1))), (5, 0.0)):
        value = unlikelihood(z, c)
        (gradient,) = torch.autograd.grad(value, z)
        assert float(value.detach()) == pytest.approx(expected)
        assert gradient.isfinite().all()
        assert gradient[1] == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_is_the_literal_formula(gamma: float) -> None:
    call = call_of(samples.sample(3))
    x = call.x.detach().requires_grad_()
    p = torch.softmax(x / 1.2, dim=-1)
    literal = torch.zeros((), dtype=torch.float64)
    for b, t in call.at.all_valid():
        p_y = p[b, t, call.at.targets[b][t]]
        literal = literal - 0.7 * (1 - p_y) ** gamma * p_y.log()
    value = focal_loss(x, call.at, tau=1.2, gamma=gamma, alpha=0.7)
    torch.testing.assert_close(value, literal / call.at.n, **CLOSE)
    torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(literal / call.at.n, x), **CLOSE)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("gap", [-800.0, -60.0, 60.0, 800.0, math.inf])
def test_focal_is_finite(gamma: float, gap: float) -> None:
    x = torch.zeros(1, 1, 4, dtype=torch.float64)
    x[0, 0, 2] = gap if gap < math.inf else 1.0
    if gap == math.inf:
        x[0, 0, [0, 1, 3]] = -torch.inf
    x.requires_grad_()
    value = focal_loss(x, positions([[2]]), gamma=gamma)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_z_loss_and_diversity() -> None:
    call = call_of(samples.sample(6))
    valid = torch.tensor(call.at.valid)
    z = call.x / 0.8
    torch.testing.assert_close(z_loss(call.x, call.at, tau=0.8), (z.logsumexp(-1) ** 2)[valid].mean(), **CLOSE)
    spread = 1 - torch.special.entr(z.softmax(-1)).sum(-1) / math.log(11)
    torch.testing.assert_close(token_diversity_loss(call.x, call.at, tau=0.8), spread[valid].mean(), **CLOSE)
    uniform = torch.zeros_like(call.x)
    assert float(token_diversity_loss(uniform, call.at)) == pytest.approx(0, abs=1e-14)


def test_distillation_is_kl() -> None:
    sample = EXTRA_CASES["teacher"]()
    call = call_of(sample)
    assert call.teacher_logits is not None
    valid = torch.tensor(call.at.valid)
    log_p = F.log_softmax(call.x[valid] / 3, dim=-1)
    log_q = F.log_softmax(call.teacher_logits[valid] / 3, dim=-1)
    expected = 9 * F.kl_div(log_p, log_q, log_target=True, reduction="batchmean")
    value = distillation_loss(call.x, call.teacher_logits, call.at, temperature=3)
    torch.testing.assert_close(value, expected, **CLOSE)
    assert float(distillation_loss(call.x, call.x, call.at)) == pytest.approx(0, abs=1e-14)


def test_distillation_passes_over_impossible_tokens() -> None:
    x = torch.tensor([[[1.0, -torch.inf, 0.5]]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[[0.5, -torch.inf, -torch.inf]]], dtype=torch.float64)
    value = distillation_loss(x, teacher, positions([[0]]), temperature=1.0)
    assert float(value.detach()) == pytest.approx(math.log(1 + math.exp(-0.5)))
    (gradient,) = torch.autograd.grad(value, x)
    assert gradient.isfinite().all()
    assert gradient[0, 0, 1] == 0


def test_contrastive_is_the_direct_formula() -> None:
    sample = samples.sample(9, hidden=6, batch=3, length=9)
    call = call_of(sample)
    assert call.hidden_states is not None
    keep = torch.tensor(call.at.valid).flatten()
    f = F.normalize(call.hidden_states.flatten(0, 1)[keep], dim=-1)
    y = torch.tensor(call.at.targets).flatten()[keep]
    itself = torch.eye(len(y), dtype=torch.bool)
    s = (f @ f.T / 0.1).masked_fill(itself, -torch.inf)
    log_p = s - s.logsumexp(dim=1, keepdim=True)
    positive = (y[:, None] == y[None]) & ~itself
    anchors = positive.any(dim=1)
    per_anchor = -torch.where(positive, log_p, 0).sum(1)[anchors] / positive.sum(1)[anchors]
    value = contrastive_loss(call.hidden_states, call.at, temperature=0.1)
    torch.testing.assert_close(value, per_anchor.mean(), **CLOSE)
    # 27 positions, 10 at most: every third, then the valid ones
    taken = [3 * b for b in range(9)]
    expected = [(i // 9, i % 9) for i in taken if call.at.valid[i // 9][i % 9]]
    assert chosen(call.at, 10) == expected
    # own-mean: with num_items the factor is Σ M / n
    half = contrastive_loss(call.hidden_states, call.at.with_n(2.0 * call.at.count), temperature=0.1)
    torch.testing.assert_close(half, value / 2, **CLOSE)
    assert float(contrastive_loss(call.hidden_states, positions([[1, 2, 3]]), max_tokens=2)) == 0


def test_switch_balance_is_one_at_balance() -> None:
    gate = torch.zeros(1, 4, 4, dtype=torch.float64)
    indices = torch.tensor([[[0, 1], [2, 3], [1, 2], [3, 0]]])
    at = positions([[1, 2, 3, 4]])
    balanced = moe_balance_loss(gate, at, expert_indices=indices, method="switch")
    assert float(balanced) == pytest.approx(1)
    assert float(moe_balance_loss(gate, at, expert_indices=indices)) == 0
    assert float(moe_balance_loss(gate, at, expert_indices=indices, method="loss_free")) == 0
    # f = 1/2, 1/2, 0, 0 and uniform P: still Σ f·P·E = 1; r − u = ±1/4, so Σ (r−u)/u·P = 0
    skewed = torch.tensor([[[0, 1]] * 4])
    assert float(moe_balance_loss(gate, at, expert_indices=skewed, method="switch")) == pytest.approx(1)
    # P = softmax(log 3, 0, 0, 0) = 1/2, 1/6, 1/6, 1/6: switch 4·(1/4 + 1/12) = 4/3; gradient 1/2 + 1/6 − 1/3 = 1/3
    gate = gate.clone()
    gate[..., 0] = math.log(3)
    assert float(moe_balance_loss(gate, at, expert_indices=skewed, method="switch")) == pytest.approx(4 / 3)
    assert float(moe_balance_loss(gate, at, expert_indices=skewed)) == pytest.approx(1 / 3)
    # with r given it is used: r = u for no push at all; a list of targets; the mean over two layers
    assert float(moe_balance_loss(gate, at, expert_indices=skewed, usage=[[0.25] * 4])) == pytest.approx(0)
    u = [0.5, 0.5, 0.125, 0.125]
    targeted = moe_balance_loss(gate, at, expert_indices=skewed, target_expert_usage=u)
    assert float(targeted) == pytest.approx(-1 / 3)
    layers = moe_balance_loss([gate, gate], at, expert_indices=[skewed, skewed], usage=[[0.25] * 4, None])
    assert float(layers) == pytest.approx(1 / 6)
    # the mask drops tokens: the last two of four
    masked = torch.tensor([[1, 1, 0, 0]])
    some = torch.tensor([[[0, 1], [0, 1], [2, 3], [2, 3]]])
    assert float(moe_balance_loss(gate, at, expert_indices=some, attention_mask=masked)) == pytest.approx(1 / 3)


def test_balance_state() -> None:
    assert step_load([[1.0, 0.0], [0.0, 1.0]], [3, 1]) == [0.75, 0.25]
    assert step_load([[0.0, 0.0]], [0]) is None
    assert update_usage(None, [0.75, 0.25]) == [0.75, 0.25]
    assert update_usage([0.5, 0.5], [1.0, 0.0], 0.9) == pytest.approx([0.55, 0.45])
    assert update_usage([0.5, 0.5], None) == [0.5, 0.5]
    # signs −, +, + of rate 0.3, then the mean 0.1 taken away
    assert update_bias([0.0, 0.0, 0.0], [0.8, 0.1, 0.1], 0.3) == pytest.approx([-0.4, 0.2, 0.2])


def test_router_z_and_expert_diversity() -> None:
    sample = samples.sample(4, experts=4, layers=2, padding="right", batch=3)
    at, mask = call_of(sample).at, sample.inputs["attention_mask"]
    gates, outputs = sample.inputs["gate_logits"], sample.inputs["expert_outputs"]
    expected = torch.stack([(gate.logsumexp(-1) ** 2)[mask == 1].mean() for gate in gates]).mean()
    torch.testing.assert_close(router_z_loss(gates, at, attention_mask=mask), expected, **CLOSE)
    unit = F.normalize(outputs, dim=-1)[:, mask == 1]
    linear = ((unit.sum(dim=0) ** 2).sum(dim=-1) - 4) / (4 * 3)
    torch.testing.assert_close(expert_diversity_loss(outputs, at, attention_mask=mask), linear.mean(), **CLOSE)
    same = outputs[:1].expand(4, -1, -1, -1)
    assert float(expert_diversity_loss(same, at, attention_mask=mask)) == pytest.approx(1)
    assert float(expert_diversity_loss(list(outputs[:1]), at)) == 0


def test_head_and_own_heads() -> None:
    rng = samples.generator(0)
    h, w, bias = (samples.normal(rng, *shape) for shape in ((2, 5, 6), (9, 6), (9,)))
    torch.testing.assert_close(head_logits(h, w, bias, scale=0.5), 0.5 * F.linear(h, w) + bias, **CLOSE)
    capped = head_logits(h, w, bias, softcap=2.0)
    torch.testing.assert_close(capped, 2 * torch.tanh(F.linear(h, w, bias) / 2), **CLOSE)
    norm = torch.nn.LayerNorm(6, dtype=torch.float64)
    heads = torch.nn.ModuleList(torch.nn.Linear(6, 9, dtype=torch.float64) for _ in range(2))
    blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6, dtype=torch.float64) for _ in range(2))

    def stacked(modules: torch.nn.ModuleList, name: str) -> Tensor:
        return torch.stack([getattr(module, name) for module in modules])

    linear = own_heads(
        h, "linear", {"weight": stacked(heads, "weight"), "bias": stacked(heads, "bias")}, num_future_tokens=2
    )
    torch.testing.assert_close(linear, torch.stack([head(norm(h)) for head in heads]), **CLOSE)
    given = {"block_weight": stacked(blocks, "weight"), "block_bias": stacked(blocks, "bias")}
    expected = torch.stack([h + block(F.silu(norm(h))) for block in blocks])
    shared = own_heads(h, "shared", {**given, "weight": w, "bias": bias}, 2)
    torch.testing.assert_close(shared, F.linear(expected, w, bias), **CLOSE)
    tied = own_heads(h, "tied", given, 2, lm_head=w, lm_head_bias=bias, softcap=2.0)
    torch.testing.assert_close(tied, 2 * torch.tanh(F.linear(expected, w, bias) / 2), **CLOSE)


# ---- states --------------------------------------------------------------------------------------------------------


def test_temperature() -> None:
    # constant: cv = 0 < 0.05 from the tenth observation on
    assert temperatures([2.0] * 11, rate=0.1)[8:] == pytest.approx([1.0, 0.9, 0.8])
    # 1 and 2 in turn: mean 1.5, unbiased std ≈ 0.53: cv ≈ 0.35 > 0.1
    assert temperatures([1.0, 2.0] * 6, rate=0.1)[-3:] == pytest.approx([1.1, 1.2, 1.3])
    assert temperatures([1.0, 2.0] * 60, rate=0.1)[-1] == 2.0
    assert temperatures([2.0] * 60, rate=0.1, bounds=(0.7, 1.5))[-1] == 0.7
    # between the two nothing moves: cv of 1 ± 0.07 is about 0.07
    assert temperatures([0.93, 1.07] * 10) == [1.0] * 20
    # only the last hundred count
    assert temperatures([100.0] + [2.0] * 100)[-1] < temperatures([100.0] + [2.0] * 99)[-1]
    assert temperatures([None] * 9 + [2.0] * 9)[-1] == 1.0
    assert observation([6.0, 0.0, 2.0], [3, 0, 1]) == 2.0
    assert observation([0.0], [0]) is None


def test_schedules() -> None:
    line = {"from": 0.0, "to": 1.0, "steps": 10, "delay": 5}
    assert [weight_at(line, step) for step in (0, 5, 10, 15, 99)] == [0, 0, 0.5, 1, 1]
    curve = {**line, "shape": "cosine"}
    assert weight_at(curve, 10) == pytest.approx(0.5)
    assert weight_at(curve, 7) < weight_at(line, 7)
    assert weight_at(0.3, 12) == 0.3


# ---- the whole -----------------------------------------------------------------------------------------------------


def full_config(sample: Sample, **sections: Any) -> dict[str, Any]:
    """Every term that the sample's inputs and model allow."""
    terms: dict[str, Any] = {name: dict(settings) for name, settings in LOGIT_TERMS.items()}
    if "eos_token_id" in sample.model:
        terms["eos_penalty"] = {"min_length": 3}
    if "hidden_states" in sample.inputs:
        terms["contrastive_loss"] = {}
    if "mtp_logits" in sample.inputs or "mtp_hidden_states" in sample.inputs:
        terms["mtp_loss"] = {"weighting": "adaptive"}
    if "gate_logits" in sample.inputs:
        terms |= {"moe_balance_loss": {}, "router_z_loss": {}, "expert_diversity_loss": {}}
    if "teacher_logits" in sample.inputs:
        terms["distillation_loss"] = {}
    return sample.config(terms, **sections)


DEEPSEEK = {"type": "deepseek", "temperature": {"initial": 1.2}}


@pytest.mark.parametrize("name", [*CASES, *EXTRA_CASES])
def test_every_case_is_finite_and_adds_up(name: str) -> None:
    sample = {**CASES, **EXTRA_CASES}[name]().leaves()
    config = full_config(sample, primary=DEEPSEEK)
    out = reference(config, **sample.inputs)
    terms = [*config["terms"]]
    torch.testing.assert_close(out["total_loss"], out["main_loss"] + sum(out[term] for term in terms), **CLOSE)
    for term in terms:
        torch.testing.assert_close(out[term], DEFAULT_WEIGHTS[term] * out[f"raw/{term}"], **CLOSE)
    assert all(value.isfinite().all() for value in out.values()), {k: float(v) for k, v in out.items() if v.dim() == 0}
    torch.autograd.backward(out["total_loss"])
    unused = {"logits"} if "head" in name else set()
    for key in set(samples.FLOAT_INPUTS) & set(sample.inputs) - unused:
        value = sample.inputs[key]
        for tensor in value if isinstance(value, list) else [value]:
            assert tensor.grad is not None, key
            assert tensor.grad.isfinite().all(), key
            if name == "nothing_valid":
                assert float(out["total_loss"].detach()) == 0
                assert not tensor.grad.any()


def test_terms_fire_on_the_samples() -> None:
    sample = CASES["eos_segments_ids"]()
    out = reference(full_config(sample), **sample.inputs)
    for name in ("immediate_repetition_penalty", "ngram_penalty", "eos_penalty"):
        assert float(out[name]) > 0


def test_nothing_valid_silences_the_experts_too() -> None:
    sample = samples.ignore_all(EXTRA_CASES["everything"]()).leaves()
    out = reference(full_config(sample), **sample.inputs)
    assert all(float(value.detach()) == 0 for name, value in out.items() if not name.startswith(("metrics/", "state/")))
    torch.autograd.backward(out["total_loss"])
    for name in ("logits", "hidden_states", "mtp_logits", "expert_outputs"):
        assert not sample.inputs[name].grad.any()
    assert all(not gate.grad.any() for gate in sample.inputs["gate_logits"])


@pytest.mark.parametrize("name", ["random", "padding_right", "shift_eos", "eos_segments", "segment_ids"])
def test_micro_batches_add_up(name: str) -> None:
    sample = CASES[name]()
    whole = reference(full_config(sample), **sample.inputs)
    items = float(whole["metrics/tokens"])
    parts = [
        reference(full_config(part), **{**part.inputs, "num_items": items}) for part in samples.split_batch(sample)
    ]
    for term in ("total_loss", "main_loss", *full_config(sample)["terms"]):
        torch.testing.assert_close(sum(part[term] for part in parts), whole[term], **CLOSE)


def test_one_row_is_a_batch_of_one() -> None:
    sample = CASES["one_row"]()
    flat = {name: value[0] for name, value in sample.inputs.items()}
    config = full_config(sample)
    torch.testing.assert_close(
        reference(config, **flat)["total_loss"], reference(config, **sample.inputs)["total_loss"], **CLOSE
    )


def test_metrics() -> None:
    sample = CASES["peaked"]()
    call = call_of(sample)
    out = reference(sample.config(primary={"type": "standard", "label_smoothing": 0.1}), **sample.inputs)
    valid = torch.tensor(call.at.valid)
    x, y = call.x[valid], torch.tensor(call.at.targets)[valid]
    assert float(out["metrics/tokens"]) == len(y)
    assert float(out["metrics/accuracy"]) == pytest.approx(float((x.argmax(-1) == y).double().mean()))
    assert float(out["metrics/perplexity"]) == pytest.approx(math.exp(float(F.cross_entropy(x, y))))
    assert float(out["metrics/confidence"]) == pytest.approx(float(x.softmax(-1).amax(-1).mean()))
    assert float(out["metrics/temperature"]) == 1


def test_missing_inputs_uncertainty_and_adaptive_mtp() -> None:
    sample = CASES["random"]()
    with pytest.raises(ValueError, match="gate_logits"):
        reference(sample.config({"router_z_loss": {}}), **sample.inputs)
    skipped = reference(sample.config({"router_z_loss": {"if_missing": "skip"}}), **sample.inputs)
    assert "router_z_loss" not in skipped
    assert "raw/router_z_loss" not in skipped
    learnt = sample.config({"z_loss": {"weight": 0.3}}, balancing="uncertainty")
    out = reference(learnt, log_scales={"z_loss": 0.4}, **sample.inputs)
    expected = 0.5 * math.exp(-0.4) * 0.3 * float(out["raw/z_loss"]) + 0.2
    assert float(out["z_loss"]) == pytest.approx(expected)
    mtp = EXTRA_CASES["mtp"]()
    implied = reference(mtp.config(primary={"type": "adaptive_mtp"}), **mtp.inputs)
    named = reference(mtp.config({"mtp_loss": {"weighting": "adaptive"}}), **mtp.inputs)
    torch.testing.assert_close(implied["total_loss"], named["total_loss"], **CLOSE)
    assert set(DEFAULT_WEIGHTS) == set(TERMS)


def test_a_shifted_row_of_one_token_predicts_nothing() -> None:
    sample = Sample({"logits": torch.randn(1, 1, 5), "targets": torch.tensor([[3]])}, {"vocab_size": 5}, shift=True)
    sample = sample.leaves()
    out = reference(full_config(sample), **sample.inputs)
    assert float(out["total_loss"].detach()) == 0
    torch.autograd.backward(out["total_loss"])
    assert not sample.inputs["logits"].grad.any()


def test_targets_out_of_range_are_errors() -> None:
    with pytest.raises(IndexError):
        main_loss(torch.zeros(1, 1, 3, dtype=torch.float64), positions([[-1]]))
    with pytest.raises(IndexError):
        main_loss(torch.zeros(1, 1, 3, dtype=torch.float64), positions([[3]]))


# ---- the naive composition -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["random", "peaked", "repeating", "eos_segments", "shift_padding", "vocab_7", "one_token", "nothing_valid"]
)
def test_naive_agrees(name: str) -> None:
    sample = CASES[name]().leaves()
    eos = sample.model.get("eos_token_id")
    call = call_of(sample)
    x = call.x.flatten(0, 1)
    at = naive.indices(call.at, size=2, window=6, eos_token_id=eos, min_length=3)
    values = naive.terms(x, at, tau=1.2, label_smoothing=0.1)
    config = full_config(sample, primary={**DEEPSEEK, "label_smoothing": 0.1})
    out = reference(config, **sample.inputs)
    torch.testing.assert_close(values["main_loss"], out["main_loss"], rtol=1e-6, atol=1e-9)
    for term in config["terms"]:
        torch.testing.assert_close(values[term], out[f"raw/{term}"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(naive.total(x, at, tau=1.2, label_smoothing=0.1), out["total_loss"], rtol=1e-6, atol=0)
    shared = naive.shared_total(x, at, tau=1.2, label_smoothing=0.1)
    torch.testing.assert_close(shared, out["total_loss"], rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(shared, sample.inputs["logits"])
    (expected,) = torch.autograd.grad(out["total_loss"], sample.inputs["logits"])
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-9)


def test_naive_has_no_graph_breaks() -> None:
    call = call_of(CASES["random"]())
    at = naive.indices(call.at, size=2, window=6)
    compiled = torch.compile(naive.shared_total, backend="eager", fullgraph=True)
    x = call.x.flatten(0, 1).float()
    torch.testing.assert_close(compiled(x, at), naive.shared_total(x, at))


def test_naive_keeps_the_dtype() -> None:
    sample = CASES["random"]().leaves(torch.bfloat16)
    at = naive.indices(call_of(sample).at, size=2, window=6)
    loss = naive.total(sample.inputs["logits"].flatten(0, 1), at)
    assert loss.dtype == torch.float32
    torch.autograd.backward(loss)
    assert sample.inputs["logits"].grad.dtype == torch.bfloat16
