"""The row statistics: values against plain formulas, gradients against finite differences and autograd."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ava.compile.measure import _PIECE, Asked, _exact_rest, _mend, _mend_log_rest, compute_dtype, ordered
from ava.compile.statistics import RowStatistics
from ava.terms.base import Statistic
from ava.terms.rows import CERTAIN

VOCAB = 6
FREE = [name for name in Statistic if name not in (Statistic.MAX_LOG_PROB, Statistic.ARGMAX)]
"""Statistics with a gradient."""
PICKS: dict[str, list[list[list[int]]]] = {
    "one": [[[0], [3], [5]]],
    "two apart": [[[0], [3], [5]], [[1], [2], [0]]],
    "two that meet": [[[0], [3], [5]], [[0], [2], [5]]],
    "three that meet": [[[1], [3], [5]], [[1], [3], [2]], [[1], [0], [2]]],
    "candidates that hold both": [[[1], [3], [5]], [[2], [3], [0]], [[2, 1, 4], [3, 0, -1], [-1, 5, 0]]],
    "some without a token": [[[0], [3], [5]], [[-1], [2], [-1]], [[-1, -1], [-1, 3], [4, -1]]],
    "the first without a token": [[[-1], [3], [-1]], [[4], [-1], [0]]],
}


def logits(kind: str = "random", width: int = VOCAB) -> Tensor:
    """Three rows: two ordinary, and with ``certain`` one whose maximum is certain and one that nearly is."""
    rows = torch.randn(3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    if kind == "certain":
        rows[0, 0] += 30.0
        rows[1, 3] += 3.5
    return rows.requires_grad_()


def picks(name: str) -> list[Tensor]:
    return [torch.tensor(columns) for columns in PICKS[name]]


def statistics(
    x: Tensor,
    wanted: frozenset[Statistic],
    columns: list[Tensor],
    *,
    tau: float = 1.0,
    valid: list[bool] | None = None,
    teacher: Tensor | None = None,
    vocab_size: int = VOCAB,
) -> tuple[dict[Statistic, Tensor], list[Tensor]]:
    """The answers of the engine: statistics by name, and the log-probability of each pick."""
    inverse = torch.tensor(1 / tau, dtype=compute_dtype(x.dtype))
    mask = torch.tensor([True] * len(x) if valid is None else valid)
    columns = [torch.where(mask[:, None], column, -1) for column in columns]
    answers = RowStatistics.apply(Asked(wanted, vocab_size, 2.0), x, inverse, mask, teacher, *columns)
    names = ordered(wanted)
    return dict(zip(names, answers, strict=False)), list(answers[len(names) :])


def teacher_logits(width: int = VOCAB) -> Tensor:
    return torch.randn(3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def plainly(x: Tensor, tau: float, teacher: Tensor) -> dict[Statistic, Tensor]:
    """The statistics as anyone would write them down."""
    z = x / tau
    log_p = z.log_softmax(1)
    others = torch.where(torch.arange(z.shape[1]) == z.argmax(1)[:, None], -torch.inf, z)
    q = (teacher / 2).softmax(1)
    return {
        Statistic.LSE: z.logsumexp(1),
        Statistic.ENTROPY: -(log_p.exp() * log_p).sum(1),
        Statistic.MEAN_LOGIT: z.mean(1),
        Statistic.MAX_LOG_PROB: log_p.amax(1),
        Statistic.MARGIN: z.amax(1) - others.logsumexp(1),
        Statistic.ARGMAX: z.argmax(1),
        Statistic.DIVERGENCE: (q * (q.log() - (x / 2).log_softmax(1))).sum(1),
    }


@pytest.mark.parametrize("width", [VOCAB, VOCAB + 3])
@pytest.mark.parametrize("tau", [1.0, 0.6, 1.7])
@pytest.mark.parametrize("kind", ["random", "certain"])
def test_values(kind: str, tau: float, width: int) -> None:
    x, teacher = logits(kind, width), teacher_logits(width)
    found, log_probs = statistics(x, frozenset(Statistic), picks("candidates that hold both"), tau=tau, teacher=teacher)
    expected = plainly(x[:, :VOCAB], tau, teacher[:, :VOCAB])
    assert list(found) == list(Statistic)
    for name, value in expected.items():
        certain = expected[Statistic.MAX_LOG_PROB] > CERTAIN
        kept = certain if name is Statistic.MARGIN else torch.ones(3, dtype=torch.bool)
        torch.testing.assert_close(found[name][kept], value[kept], rtol=1e-12, atol=1e-14)
        if name is Statistic.MARGIN:
            assert bool((found[name][~kept] == 0).all())
    log_p = (x[:, :VOCAB] / tau).log_softmax(1)
    for columns, answer in zip(PICKS["candidates that hold both"], log_probs, strict=True):
        for i, row in enumerate(columns):
            for k, column in enumerate(row):
                exact = log_p[i, column] if column >= 0 else torch.tensor(-torch.inf, dtype=torch.float64)
                torch.testing.assert_close(answer[i, k], exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("width", [2 * _PIECE, 2 * _PIECE + 1, 3 * _PIECE - 5])
@pytest.mark.parametrize("kind", ["random", "certain"])
def test_rows_that_are_summed_in_pieces(kind: str, width: int) -> None:
    x, teacher = logits(kind, width), teacher_logits(width)
    expected = plainly(x, 1.3, teacher)
    found, _ = statistics(x, frozenset(Statistic), [], tau=1.3, teacher=teacher, vocab_size=width)
    certain = expected[Statistic.MAX_LOG_PROB] > CERTAIN
    assert bool(certain.any()) is (kind == "certain")
    for name, value in expected.items():
        kept = certain if name is Statistic.MARGIN else torch.ones(3, dtype=torch.bool)
        torch.testing.assert_close(found[name][kept], value[kept], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_maximum_that_stands_twice_counts_twice(dtype: torch.dtype) -> None:
    x = torch.tensor([[2.0, 2.0, -9.0], [2.0, 1.0, 1.0]]).to(dtype)
    found, _ = statistics(x, frozenset({Statistic.LSE, Statistic.MARGIN}), [], vocab_size=3)
    torch.testing.assert_close(found[Statistic.LSE], x.float().logsumexp(1))
    assert found[Statistic.MARGIN][0] == 0  # nothing is certain there


def combined(
    wanted: frozenset[Statistic], columns: list[Tensor], weights: Tensor, **options: Any
) -> Callable[[Tensor], Tensor]:
    """A function of logits that mixes everything differentiable, each with a coefficient of its own per row."""

    def value(x: Tensor) -> Tensor:
        found, log_probs = statistics(x, wanted, columns, **options)
        parts = [found[name] for name in FREE if name in found]
        parts += [torch.where(column >= 0, p, 0.0).sum(1) for column, p in zip(columns, log_probs, strict=True)]
        total: Tensor = sum((w * part.square() for w, part in zip(weights, parts, strict=False)), torch.zeros(3))
        return total.sum()

    return value


@pytest.mark.parametrize("kind", ["random", "certain"])
@pytest.mark.parametrize("name", FREE)
def test_gradient_of_each_statistic(name: Statistic, kind: str) -> None:
    teacher = teacher_logits()
    wanted = frozenset({name, Statistic.MAX_LOG_PROB})
    for tau in (1.0, 0.7):
        value = combined(wanted, [], torch.ones(1, 3), tau=tau, teacher=teacher)
        torch.autograd.gradcheck(value, (logits(kind),))


@pytest.mark.parametrize("kind", ["random", "certain"])
@pytest.mark.parametrize("meeting", PICKS)
def test_gradient_of_picks(meeting: str, kind: str) -> None:
    weights = torch.rand(9, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    value = combined(frozenset({Statistic.MAX_LOG_PROB}), picks(meeting), weights, tau=1.3)
    torch.autograd.gradcheck(value, (logits(kind),))


@pytest.mark.parametrize("valid", [[True, True, True], [False, True, False], [False, False, False]], ids=str)
@pytest.mark.parametrize("width", [VOCAB, VOCAB + 2])
@pytest.mark.parametrize("kind", ["random", "certain"])
@pytest.mark.parametrize("meeting", PICKS)
def test_gradient_of_everything_at_once(meeting: str, kind: str, width: int, valid: list[bool]) -> None:
    weights = torch.rand(9, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    # what an invalid row answers for MAX_LOG_PROB is no one's business; the others answer 0 there
    value = combined(
        frozenset(Statistic), picks(meeting), weights * torch.tensor(valid), tau=0.8, valid=valid,
        teacher=teacher_logits(width),
    )  # fmt: skip
    x = logits(kind, width)
    torch.autograd.gradcheck(lambda x: value(x).nan_to_num(0.0), (x,))
    (gradient,) = torch.autograd.grad(value(x), x)
    assert bool((gradient[:, VOCAB:] == 0).all())
    assert bool((gradient[~torch.tensor(valid)] == 0).all())


@pytest.mark.parametrize("subset", list(itertools.combinations(FREE, 2)), ids=str)
def test_what_is_asked_for_changes_no_other_answer(subset: tuple[Statistic, ...]) -> None:
    """Asking for more statistics must not change the gradient of the ones in use."""
    x, teacher, columns = logits("certain"), teacher_logits(), picks("three that meet")

    def gradient(wanted: frozenset[Statistic]) -> Tensor:
        found, log_probs = statistics(x, wanted, columns, teacher=teacher)
        used = sum(found[name].sum() for name in subset) + sum(p.sum() for p in log_probs)
        (answer,) = torch.autograd.grad(used, x)
        return answer

    few, all_of_them = gradient(frozenset({*subset, Statistic.MAX_LOG_PROB})), gradient(frozenset(Statistic))
    torch.testing.assert_close(few, all_of_them, rtol=1e-12, atol=1e-14)


def test_statistics_without_a_gradient() -> None:
    found, _ = statistics(logits(), frozenset(Statistic), picks("one"), teacher=teacher_logits())
    assert not found[Statistic.MAX_LOG_PROB].requires_grad
    assert not found[Statistic.ARGMAX].requires_grad
    assert found[Statistic.ARGMAX].dtype == torch.int64
    assert all(found[name].requires_grad for name in FREE)


def test_the_first_of_equal_maxima() -> None:
    x = torch.tensor([[1.0, 5.0, 5.0, 0.0, 5.0, 2.0]], dtype=torch.float64)
    found, _ = statistics(x, frozenset(Statistic), [torch.tensor([[1]])], teacher=torch.zeros(1, 6).double())
    assert int(found[Statistic.ARGMAX]) == 1
    assert float(found[Statistic.MARGIN]) == 0  # three share it, so no token is certain


def test_the_teacher_gets_no_gradient() -> None:
    teacher = teacher_logits().requires_grad_()
    found, _ = statistics(logits(), frozenset({Statistic.MAX_LOG_PROB, Statistic.DIVERGENCE}), [], teacher=teacher)
    found[Statistic.DIVERGENCE].sum().backward()
    assert teacher.grad is None


def test_a_teacher_that_says_never() -> None:
    """Where the teacher gives a token no chance, it says nothing about the student's."""
    teacher = teacher_logits()
    teacher[:, 2] = -torch.inf
    x = logits()
    found, _ = statistics(x, frozenset({Statistic.MAX_LOG_PROB, Statistic.DIVERGENCE}), [], teacher=teacher)
    q = (teacher / 2).softmax(1)
    log_q = torch.where(q > 0, (teacher / 2).log_softmax(1), 0.0)
    expected = (q * (log_q - (x / 2).log_softmax(1))).sum(1)
    torch.testing.assert_close(found[Statistic.DIVERGENCE], expected, rtol=1e-12, atol=0)
    (ours,) = torch.autograd.grad(found[Statistic.DIVERGENCE].sum(), x)
    (theirs,) = torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    x = logits().detach().to(dtype).requires_grad_()
    found, log_probs = statistics(x, frozenset(FREE), picks("two apart"), teacher=teacher_logits().to(dtype))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert {value.dtype for value in (*found.values(), *log_probs)} == {wide}
    sum(value.sum() for value in (*found.values(), *log_probs)).backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


# ---- log of the sum without the maximum ---------------------------------------------------------------------------


def rest(x: Tensor) -> Tensor:
    e = (x - x.amax(1, keepdim=True)).exp()
    return torch.where(x < x.amax(1, keepdim=True), e, 0.0).sum(1)


GAPPED = torch.tensor([[0.0, 1.0, 2.0], [0.0, -80.0, -90.0], [150.0, 0.0, 1.0], [0.0, -2000.0, -2001.0]])


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_the_rest_is_exact_where_its_sum_underflows(tau: float) -> None:
    inverse = torch.tensor(1 / tau)
    z = GAPPED / tau
    found = rest(z).log()
    _mend_log_rest(GAPPED, inverse, found)
    exact = torch.tensor([[1.0, 0.0], [-80.0, -90.0], [1.0, 0.0], [-2000.0, -2001.0]]).double() / tau
    expected = exact.logsumexp(1) - torch.tensor([2.0, 0.0, 150.0, 0.0]).double() / tau
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(_exact_rest(GAPPED, inverse).double(), expected, rtol=1e-6, atol=1e-7)


def test_no_rest_without_any_other_column() -> None:
    alone = torch.tensor([[3.0]])
    found = rest(alone).log()
    _mend_log_rest(alone, torch.ones(()), found)
    assert float(found) == -torch.inf


def test_the_rest_away_from_the_cpu_looks_at_nothing() -> None:
    """There every row is taken again: a choice would need the host. ``meta`` runs that branch, without numbers."""
    meta = GAPPED.to("meta")
    assert _mend(meta, torch.ones((), device="meta"), torch.ones(4, device="meta")) is None


def test_operator_contract() -> None:
    arguments = (GAPPED, torch.tensor(0.5), rest(GAPPED).log())
    torch.library.opcheck(torch.ops.ava.mend_log_rest.default, arguments)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_compute_dtype(dtype: torch.dtype) -> None:
    assert compute_dtype(dtype) == (torch.float64 if dtype == torch.float64 else torch.float32)
