"""``distillation_loss``: the divergence of the student from a teacher at their own temperature."""

from __future__ import annotations

import math

import pytest
import torch

from ava.errors import ArgumentValueError
from ava.terms.base import Statistic
from tests.terms.by_hand import LOG2, answer, close, flat, logs, make, raw, row, slope, term

LOSS = {"distillation_loss": {}}


def test_equal_logits_at_temperature_two() -> None:
    logits = logs((0.7, 0.2, 0.1), (0.1, 0.1, 0.8))
    inputs = {"teacher_logits": logits.detach() + 5}
    assert raw(make(LOSS), logits, row(0, 1), **inputs) == pytest.approx(0, abs=1e-12)
    close(slope(make(LOSS), logits, logits, row(0, 1), **inputs), torch.zeros(1, 2, 3))


def test_value_and_gradient_by_hand() -> None:
    # x = 2 log p and teacher 2 log q are p = (0.8, 0.2), q = (½, ½) at T = 2.
    # KL(q‖p) = ½ log(0.5/0.8) + ½ log(0.5/0.2) = log 1.25, times T² = 4; gradient T (p - q) = 2·(0.3, -0.3).
    logits = (2 * logs((0.8, 0.2))).detach().requires_grad_()
    teacher = (2 * logs((0.5, 0.5))).detach().requires_grad_()
    assert raw(make(LOSS), logits, row(0), teacher_logits=teacher) == pytest.approx(4 * math.log(1.25))
    close(slope(make(LOSS), logits, logits, row(0), teacher_logits=teacher), [[[0.6, -0.6]]])
    close(slope(make(LOSS), teacher, logits, row(0), teacher_logits=teacher), [[[0, 0]]])


def test_own_temperature_whatever_that_of_the_main_loss() -> None:
    # T_d = 1: KL of (1, 0) from (¼, ¾) is log 4, and the teacher's -inf column counts nothing
    warm = {"type": "deepseek", "temperature": {"initial": 1.5}}
    loss = make({"distillation_loss": {"temperature": 1.0}}, primary=warm)
    assert raw(loss, logs((0.25, 0.75)), row(1), teacher_logits=logs((1, 0))) == pytest.approx(2 * LOG2)


def test_only_valid_positions() -> None:
    loss = make({"distillation_loss": {"temperature": 1.0}})
    student, teacher = logs((0.25, 0.75), (0.25, 0.75)), logs((0.5, 0.5), (0.9, 0.1))
    # ½ log(½/¼) + ½ log(½/¾) = ½ log(4/3)
    value = raw(loss, student, row(0, -100), teacher_logits=teacher)
    assert value == pytest.approx(0.5 * math.log(4 / 3))
    value = raw(loss, student, row(0, 1), teacher_logits=teacher, attention_mask=row(1, 0), num_items=4)
    assert value == pytest.approx(0.125 * math.log(4 / 3))


def test_shift_keeps_the_teacher_beside_the_student() -> None:
    # token 0 predicts token 1: the teacher's row 0 counts, its last one does not
    loss = make({"distillation_loss": {"temperature": 1.0}}, shift=True)
    student, teacher = logs((0.25, 0.75), (0.25, 0.75)), logs((0.5, 0.5), (0.9, 0.1))
    assert raw(loss, student, row(0, 1), teacher_logits=teacher) == pytest.approx(0.5 * math.log(4 / 3))


def test_columns_beyond_the_vocabulary() -> None:
    loss = make({"distillation_loss": {"temperature": 1.0}}, vocab_size=2, padded_vocab_size=3)
    student = torch.cat([logs((0.25, 0.75)), flat(1, 1) + 9], 2)
    narrow = logs((0.5, 0.5))
    wide = torch.cat([narrow, flat(1, 1) - 3], 2)
    for teacher in (narrow, wide):
        assert raw(loss, student, row(0), teacher_logits=teacher) == pytest.approx(0.5 * math.log(4 / 3))


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (torch.zeros(1, 2, 5), "`teacher_logits` should have 4 columns like `logits`"),
        (torch.zeros(1, 3, 4), r"`teacher_logits` should be a tensor \[1, 2, V\]"),
        (torch.zeros(1, 2, 4, dtype=torch.int64), "`teacher_logits` should be .* floating-point"),
    ],
)
def test_wrong_shapes(teacher: torch.Tensor, message: str) -> None:
    with pytest.raises(ArgumentValueError, match=message):
        make(LOSS)(flat(2, 4), row(0, 1), teacher_logits=teacher)


def test_missing_teacher() -> None:
    with pytest.raises(ArgumentValueError, match="`teacher_logits` is missing: `distillation_loss` needs it"):
        make(LOSS)(flat(2, 4), row(0, 1))
    skips = make({"distillation_loss": {"if_missing": "skip"}})
    with pytest.warns(UserWarning, match="`distillation_loss` is left out of calls without `teacher_logits`") as told:
        outs = [answer(skips, flat(2, 4), row(0, 1)) for _ in range(2)]
    assert len(told) == 1
    assert not {"distillation_loss", "raw/distillation_loss"} & set(outs[1])
    # and it is back as soon as there is a teacher
    assert "distillation_loss" in answer(skips, flat(2, 4), row(0, 1), teacher_logits=flat(2, 4))


def test_needs_and_untrained() -> None:
    needs = term("distillation_loss", temperature=3.0).needs()
    assert needs.statistics == {Statistic.DIVERGENCE}
    assert needs.inputs == ("teacher_logits",)
    assert needs.teacher_temperature == 3
    assert term("distillation_loss").untrained(8) is None
