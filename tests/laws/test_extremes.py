"""Finite at the extremes: certain of anything, tiny vocabularies, rows shorter than any window, impossible columns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from ava.compile.measure import Asked, ordered
from ava.compile.statistics import RowStatistics
from ava.config.roster import ROSTER
from ava.terms.base import CONTEXT, TARGET, Statistic
from ava.terms.rows import Rows
from tests.laws.table import (
    PRIMARIES,
    Answer,
    assert_gradients,
    assert_values,
    config,
    evaluate,
    expect,
    floats,
    run,
    together,
)
from tests.reference import rows as reference_rows
from tests.reference import samples
from tests.reference.samples import Sample

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
FAVOURED = ("target", "context", "eos", "candidate", "nobody")


def assert_finite(answer: Answer) -> None:
    for name, value in answer.values.items():
        if name != "metrics/perplexity":  # exp of a loss of thousands
            assert bool(value.isfinite().all()), f"{name} is {value}"
    for name, gradient in answer.gradients.items():
        assert bool(gradient.isfinite().all()), f"the gradient of {name} is {gradient}"


def with_gap(whole: Sample, favoured: str, gap: float) -> Sample:
    """The sample with one logit of each row above (or below) all others by about the gap, in every kind of logits."""
    targets = whole.inputs["targets"]
    context = torch.cat([targets[:, :1], targets[:, :-1]], 1)
    column = {
        "target": targets,
        "context": context,
        "eos": torch.full_like(targets, whole.model.get("eos_token_id", 0)),
        "candidate": torch.cat([context[:, :2], context[:, :-2]], 1),
        "nobody": torch.full_like(targets, whole.model["vocab_size"] - 1),
    }[favoured].clamp(0, whole.model["vocab_size"] - 1)

    def raised(logits: Tensor) -> Tensor:
        return logits.clamp(-1, 1).scatter(-1, column.expand(*logits.shape[:-1])[..., None], gap)

    changed = {name: raised(whole.inputs[name]) for name in ("logits", "mtp_logits", "teacher_logits")}
    changed["gate_logits"] = whole.inputs["gate_logits"] * gap
    return Sample({**whole.inputs, **changed}, whole.model, whole.shift)


def everything(vocab: int = 7, **more: Any) -> Sample:
    options: dict[str, Any] = {"length": 12, "eos": vocab - 2 if vocab > 1 else 0, "distinct": 2, "ignored": 0.1}
    inputs = {"hidden": 5, "mtp": 2, "experts": 3, "teacher": True, "num_items": None}
    return samples.sample(5, vocab=vocab, **{**options, **inputs, **more})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gap", [60.0, -60.0, 200.0, -200.0, 1e4, -1e4])
@pytest.mark.parametrize("favoured", FAVOURED)
def test_finite_however_certain(favoured: str, gap: float, dtype: torch.dtype) -> None:
    sample = with_gap(everything(), favoured, gap)
    for primary in ("smoothed", "cold"):
        assert_finite(evaluate(config(sample, together(sample), primary), sample, dtype))


@pytest.mark.parametrize("gap", [60.0, -60.0, 200.0])
@pytest.mark.parametrize("favoured", FAVOURED)
def test_right_however_certain(favoured: str, gap: float) -> None:
    sample = with_gap(everything(), favoured, gap)
    settings = config(sample, together(sample), "deepseek")
    answer, expected = evaluate(settings, sample), expect(settings, sample)
    assert_values(answer.values, expected.values)
    assert_gradients(answer.gradients, expected.gradients)


SHAPES: dict[str, Sample] = {
    "a vocabulary of one": everything(vocab=1, kind="random"),
    "a vocabulary of two": everything(vocab=2),
    "a vocabulary of seven": everything(vocab=7),
    "one token": everything(length=1, batch=1, ignored=0.0),
    "one token a row": everything(length=1, batch=4, ignored=0.0),
    "two tokens": everything(length=2, batch=1, ignored=0.0),
    "nothing valid": samples.ignore_all(everything()),
    "one valid": everything(ignored=0.97),
    "one token, shifted": everything(length=1, batch=2, ignored=0.0, shift=True),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_small_shapes(shape: str, dtype: torch.dtype) -> None:
    sample = SHAPES[shape]
    long = {"ngram_penalty": {"size": 1, "window": 40}, "eos_penalty": {"min_length": 100}}
    settings = config(sample, together(sample) | long, "smoothed")
    answer = evaluate(settings, sample, dtype)
    assert_finite(answer)
    if dtype == torch.float64 and sample.model["vocab_size"] > 1:
        expected = expect(settings, sample)
        assert_values(answer.values, expected.values)
        assert_gradients(answer.gradients, expected.gradients)


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)], ids=str)
def test_an_empty_batch_is_zero(shape: tuple[int, int]) -> None:
    terms = {name: {} for name in ROSTER if not ROSTER[name]().needs().inputs}
    loss = Loss.load({"version": 1, "model": {"eos_token_id": 3}, "terms": terms}, overrides={"compile.enabled": False})
    logits = torch.randn(*shape, 5, requires_grad=True)
    value = loss(logits, torch.zeros(shape, dtype=torch.int64))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert logits.grad.shape == logits.shape


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("impossible", ["context", "eos", "others", "all but the target"])
def test_minus_infinity_where_the_target_is_not(impossible: str, dtype: torch.dtype) -> None:
    sample = everything(ignored=0.0)
    targets, logits = sample.inputs["targets"], sample.inputs["logits"].clone()
    is_target = torch.arange(7) == targets[..., None]
    context = torch.cat([targets[:, :1], targets[:, :-1]], 1)
    hidden = {
        "context": torch.arange(7) == context[..., None],
        "eos": (torch.arange(7) == 5).expand_as(is_target),
        "others": (torch.arange(7) < 3).expand_as(is_target),
        "all but the target": torch.ones_like(is_target),
    }[impossible]
    sample.inputs["logits"] = logits.masked_fill(hidden & ~is_target, -torch.inf)
    if "teacher_logits" in sample.inputs:  # a teacher cannot teach what the student cannot say
        sample.inputs["teacher_logits"] = sample.inputs["teacher_logits"].masked_fill(hidden & ~is_target, -torch.inf)
    settings = config(sample, together(sample), "cold")
    answer = evaluate(settings, sample, dtype)
    assert_finite(answer)
    if dtype == torch.float64:
        expected = expect(settings, sample)
        assert_values(answer.values, expected.values)
        assert_gradients(answer.gradients, expected.gradients)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_focal_is_finite_up_to_certainty(gamma: float, dtype: torch.dtype) -> None:
    for gap in (0.0, 20.0, 60.0, 200.0, 1e4, torch.inf):
        logits = torch.zeros(1, 1, 3, dtype=dtype)
        logits[..., 1:] = -gap
        logits.requires_grad_()
        loss = Loss.load(
            {"version": 1, "terms": {"focal_loss": {"gamma": gamma}}}, overrides={"compile.enabled": False}
        )
        value = loss(logits, torch.zeros(1, 1, dtype=torch.int64))
        value.backward()
        assert bool(value.isfinite())
        assert logits.grad is not None
        assert bool(logits.grad.isfinite().all()), f"gap {gap}: {logits.grad}"


@pytest.mark.parametrize("primary", PRIMARIES)
def test_a_large_offset_does_not_matter(primary: str) -> None:
    """Softmax does not change when a constant is added; only ``z_loss`` sees it."""
    sample = everything()
    terms = {name: settings for name, settings in together(sample).items() if name != "z_loss"}
    settings = config(sample, terms, primary)
    moved = Sample({**sample.inputs, "logits": sample.inputs["logits"] + 4096}, sample.model)
    left, right = evaluate(settings, sample, torch.float32), evaluate(settings, moved, torch.float32)
    torch.testing.assert_close(left.values["total_loss"], right.values["total_loss"], rtol=2e-4, atol=1e-4)


def unlikelihood_of(logits: Tensor, column: int) -> Tensor:
    """The unlikelihood of one column of one row, through the row statistics."""
    wanted = frozenset({Statistic.MARGIN, Statistic.MAX_LOG_PROB})
    at = torch.tensor([[column]])
    one = torch.ones((), dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32)
    answers = RowStatistics.apply(Asked(wanted, logits.shape[0]), logits[None], one, torch.tensor([True]), None, at, at)
    named = dict(zip(ordered(wanted), answers, strict=False))
    columns = {TARGET: at[:, 0], CONTEXT: at[:, 0]}
    picked = dict(zip(columns, (answer[:, 0] for answer in answers[2:]), strict=True))
    return Rows(named, picked, columns, {}, logits.shape[0]).unlikelihood(CONTEXT)[0]


GAPS = [*(float(gap) for gap in range(-60, 61, 5)), 0.3, -0.7, 1.5, 15.9, 16.6, 17.3, 19.9, 20.1, 22.0, 25.0, 33.0]


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=str)
def test_unlikelihood_from_never_to_certain(gap: float, dtype: torch.dtype, tolerance: float) -> None:
    others = torch.tensor([0.5, -1.25, 0.0, 0.75, -0.5, 0.25])
    logits = torch.cat([others[:2], torch.tensor([gap]), others[2:]]).to(dtype).requires_grad_()
    value = unlikelihood_of(logits, 2)
    value.backward()
    exact = logits.detach().double().requires_grad_()
    expected = reference_rows.unlikelihood(exact, 2)
    expected.backward()
    assert logits.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=tolerance, atol=0)


@pytest.mark.parametrize("name", ["immediate_repetition_penalty", "ngram_penalty", "eos_penalty", "focal_loss"])
@pytest.mark.parametrize("gap", [-60.0, -30.0, -5.0, 0.0, 5.0, 10.0, 16.0, 30.0, 60.0])
def test_penalties_in_float32_over_the_whole_range(name: str, gap: float) -> None:
    favoured = {"focal_loss": "target", "eos_penalty": "eos"}.get(name, "context")
    sample = with_gap(everything(), favoured, gap)
    short = {"size": 1, "window": 3} if name == "ngram_penalty" else {}
    settings = config(sample, {name: {"weight": 1.0, **short}})
    answer, expected = evaluate(settings, sample, torch.float32), expect(settings, sample)
    raw = f"raw/{name}"
    # the cross-entropy in a focal loss is exact to float32's 1, as PyTorch's is
    least = 1e-9 if name == "focal_loss" else 1e-30
    torch.testing.assert_close(answer.values[raw].double(), expected.values[raw], rtol=1e-4, atol=least)
    # the primary loss is in the gradient too: at a certain target that is float32 rounding, as it is in PyTorch
    assert_gradients(answer.gradients, expected.gradients, rtol=1e-4, atol=1e-7)


def test_a_training_run_survives_the_extremes() -> None:
    """State stays finite when a step's loss is thousands, and when it is not a number."""
    sample = with_gap(everything(), "nobody", 1e4)
    primary = {"type": "deepseek", "temperature": {"adaptive": True}}
    loss = Loss.load({**config(sample, together(sample)), "primary": primary})
    for _ in range(12):
        assert_finite(run(loss, sample, torch.float32))
    broken = sample.leaves(torch.float32).inputs
    broken["logits"] = torch.full_like(broken["logits"], torch.nan).requires_grad_()
    assert bool(loss(**broken).isnan())
    for name, value in loss.state.state_dict().items():
        assert bool(value.isfinite().all()), name
    assert dict(floats(broken)) is not None
    assert_finite(run(loss, sample, torch.float32))
