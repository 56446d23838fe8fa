"""The row statistics where arithmetic breaks: NaN rows, impossible columns, wide gaps, equal maxima, 16 bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ava.compile.measure import Asked, compute_dtype, ordered
from ava.compile.statistics import RowStatistics
from ava.terms.base import Statistic
from ava.terms.rows import CERTAIN

FREE = [name for name in Statistic if name not in (Statistic.MAX_LOG_PROB, Statistic.ARGMAX)]


def statistics(
    x: Tensor, columns: list[Tensor], *, valid: Tensor | None = None, vocab_size: int, teacher: Tensor, tau: float = 1.0
) -> tuple[dict[Statistic, Tensor], list[Tensor]]:
    mask = torch.ones(len(x), dtype=torch.bool) if valid is None else valid
    inverse = torch.tensor(1 / tau, dtype=compute_dtype(x.dtype))
    columns = [torch.where(mask[:, None], column, -1) for column in columns]
    names = ordered(frozenset(Statistic))
    answers = RowStatistics.apply(Asked(frozenset(names), vocab_size, 2.0), x, inverse, mask, teacher, *columns)
    return dict(zip(names, answers, strict=False)), list(answers[len(names) :])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def everything(found: dict[Statistic, Tensor], log_probs: list[Tensor], columns: list[Tensor]) -> Tensor:
    """A sum in which each statistic and each pick has a coefficient of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for k, name in enumerate(FREE):
        total = total + (0.3 + 0.2 * k) * found[name].double().sum()
    for k, (column, p) in enumerate(zip(columns, log_probs, strict=True)):
        total = total + (0.7 - 0.4 * k) * torch.where(column >= 0, p, 0.0).double().sum()
    return total


def plain(x: Tensor, columns: list[Tensor], teacher: Tensor, tau: float = 1.0) -> Tensor:
    """The same sum by autograd on float64 formulas; the margin where the maximum is certain."""
    z, q = x / tau, (teacher / 2).softmax(1)
    possible = x > -torch.inf
    log_p = z.log_softmax(1)
    finite = torch.where(possible, log_p, 0.0)
    peak = z.max(1)
    others = z.scatter(1, peak.indices[:, None], -torch.inf)
    certain = log_p.amax(1) > CERTAIN
    found = {
        Statistic.LSE: z.logsumexp(1),
        Statistic.ENTROPY: -(finite.exp() * finite * possible).sum(1),
        Statistic.MEAN_LOGIT: z.mean(1),
        Statistic.MARGIN: torch.where(certain, peak.values - others.logsumexp(1), 0.0),
        Statistic.DIVERGENCE: (q * (q.log() - (x / 2).log_softmax(1))).sum(1),
    }
    return everything(found, [log_p.gather(1, c.clamp(min=0)) for c in columns], columns)


def gradient(of: Tensor, x: Tensor) -> Tensor:
    (answer,) = torch.autograd.grad(of, x)
    return answer


COLUMNS = [
    torch.tensor([[0], [3], [5]]),
    torch.tensor([[1], [3], [-1]]),
    torch.tensor([[1, 2, 0], [3, 0, -1], [-1] * 3]),
]


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
def test_an_invalid_row_may_hold_anything(poison: float) -> None:
    x, teacher, valid = randn(3, 8), randn(3, 8, seed=1), torch.tensor([True, False, True])
    clean = x.clone().requires_grad_()
    x[1] = poison
    x.requires_grad_()
    found, log_probs = statistics(x, COLUMNS, valid=valid, vocab_size=6, teacher=teacher)
    expected, exact = statistics(clean, COLUMNS, valid=valid, vocab_size=6, teacher=teacher)
    for name in FREE:
        assert bool(found[name][1] == 0)
        assert torch.equal(found[name], expected[name]), name
    for ours, theirs in zip(log_probs, exact, strict=True):
        assert torch.equal(ours, theirs)
        assert bool((ours[1] == -torch.inf).all())
    ours, theirs = (gradient(everything(f, p, COLUMNS), of) for f, p, of in
                    [(found, log_probs, x), (expected, exact, clean)])  # fmt: skip
    assert torch.equal(ours, theirs)
    assert bool((ours[1] == 0).all())
    assert bool((ours[0] != 0).any())


def test_padding_columns_may_hold_anything() -> None:
    x, teacher = randn(3, 9), randn(3, 9, seed=1)
    bare = x[:, :6].clone().requires_grad_()
    x[:, 6:] = torch.tensor([torch.nan, 1e30, -torch.inf], dtype=torch.float64)
    x.requires_grad_()
    wide = gradient(everything(*statistics(x, COLUMNS, vocab_size=6, teacher=teacher), COLUMNS), x)
    narrow = everything(*statistics(bare, COLUMNS, vocab_size=6, teacher=teacher[:, :6]), COLUMNS)
    assert torch.equal(wide[:, :6], gradient(narrow, bare))
    assert bool((wide[:, 6:] == 0).all())


@pytest.mark.parametrize("peaked", [False, True])
def test_impossible_columns(peaked: bool) -> None:
    """A column at -inf has no probability and no gradient, and disturbs no other; the mean logit is out of question."""
    x, teacher = randn(3, 6), randn(3, 6, seed=1)
    if peaked:
        x[0, 0] += 20
    x[0, 4] = x[1, 1] = x[1, 5] = x[2, 2] = -torch.inf
    x.requires_grad_()
    found, log_probs = statistics(x, COLUMNS[:1], vocab_size=6, teacher=teacher)
    used = found[Statistic.LSE] + 2 * found[Statistic.ENTROPY] + 3 * found[Statistic.MARGIN] - log_probs[0][:, 0]
    possible = x > -torch.inf
    log_p = x.log_softmax(1)
    finite = torch.where(possible, log_p, 0.0)
    others = x.scatter(1, x.argmax(1)[:, None], -torch.inf).logsumexp(1)
    margin = torch.where(log_p.amax(1) > CERTAIN, x.amax(1) - others, 0.0)
    entropy = -(finite.exp() * finite * possible).sum(1)
    expected = x.logsumexp(1) + 2 * entropy + 3 * margin - log_p.gather(1, COLUMNS[0])[:, 0]
    torch.testing.assert_close(used, expected, rtol=1e-12, atol=1e-13)
    ours = gradient(used.sum(), x)
    assert bool((ours[~possible] == 0).all())
    torch.testing.assert_close(ours, gradient(expected.sum(), x), rtol=1e-11, atol=1e-13)


def test_one_possible_column() -> None:
    x = torch.full((1, 4), -torch.inf).index_fill(1, torch.tensor([2]), 1.5).requires_grad_()
    column = [torch.tensor([[2]])]
    found, log_probs = statistics(x, column, vocab_size=4, teacher=torch.zeros(1, 4))
    assert bool(found[Statistic.ENTROPY] == 0)
    assert bool(log_probs[0] == 0)
    used = found[Statistic.LSE] + found[Statistic.ENTROPY] - log_probs[0][:, 0]
    assert gradient(used.sum(), x).tolist() == [[0, 0, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("gap", [1.0, 15.0, 60.0, 120.0, 1e3, 1e4])
@pytest.mark.parametrize("up", [True, False], ids=["one far above", "one far below"])
def test_gaps(gap: float, up: bool, dtype: torch.dtype) -> None:
    """Finite, in the dtype of the logits, and equal to float64 formulas on the same logits."""
    x, teacher = randn(3, 6), randn(3, 6, seed=1).to(dtype)
    x[:, 1] += gap if up else -gap
    x = x.to(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    value = everything(*statistics(x, COLUMNS, vocab_size=6, teacher=teacher, tau=0.8), COLUMNS)
    expected = plain(exact, COLUMNS, teacher.double(), tau=0.8)
    torch.testing.assert_close(value, expected, rtol=1e-12 if dtype == torch.float64 else 3e-6, atol=1e-5)
    ours = gradient(value, x)
    assert ours.dtype == dtype
    assert bool(ours.isfinite().all())
    # the gap itself is rounded to `eps * gap`, so that is what exp of a difference of two gaps can know
    rounding = 3 * gap * torch.finfo(compute_dtype(dtype)).eps
    rtol = max(torch.finfo(dtype).eps, rounding, 1e-11 if dtype == torch.float64 else 3e-6)
    atol = 1e-12 if dtype == torch.float64 else max(torch.finfo(dtype).eps / 16, 2e-6)
    torch.testing.assert_close(ours.double(), gradient(expected, exact), rtol=rtol, atol=atol)


@pytest.mark.parametrize("tied", [2, 3, 6])
def test_gradient_at_equal_maxima(tied: int) -> None:
    x, teacher = randn(3, 6), randn(3, 6, seed=1)
    x[:, :tied] = x.amax() + 9
    x.requires_grad_()
    found, log_probs = statistics(x, COLUMNS, vocab_size=6, teacher=teacher)
    assert bool((found[Statistic.MARGIN] == 0).all())
    assert bool((found[Statistic.ARGMAX] == 0).all())
    ours = gradient(everything(found, log_probs, COLUMNS), x)
    torch.testing.assert_close(ours, gradient(plain(x, COLUMNS, teacher), x), rtol=1e-11, atol=1e-13)
