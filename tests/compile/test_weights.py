"""Schedules as tensors against schedules as Python."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ava.compile.weights import schedule_table, weights_at
from ava.terms.base import Schedule
from tests.reference.temperature import weight_at

weights = st.floats(0, 10, allow_nan=False).map(lambda x: round(x, 6))
schedules = st.fixed_dictionaries(
    {"from": weights, "to": weights, "steps": st.integers(1, 50)},
    optional={"delay": st.integers(0, 40), "shape": st.sampled_from(["linear", "cosine"])},
)


@given(st.lists(weights | schedules, max_size=5), st.integers(0, 120))
def test_every_form_agrees(given_: list[float | dict[str, Any]], step: int) -> None:
    parsed = [Schedule.model_validate(weight) if isinstance(weight, dict) else weight for weight in given_]
    table = schedule_table(parsed)
    assert (table.shape, table.dtype) == ((len(given_), 5), torch.float64)
    found = weights_at(table, torch.tensor(step)).tolist()
    assert found == pytest.approx([weight_at(weight, step) for weight in given_], abs=1e-12)
    assert found == pytest.approx([w.at(step) if isinstance(w, Schedule) else w for w in parsed], abs=1e-12)


def test_held_before_and_after() -> None:
    table = schedule_table([Schedule.model_validate({"from": 1.0, "to": 3.0, "steps": 4, "delay": 2})])
    assert [float(weights_at(table, torch.tensor(step))) for step in range(8)] == [1, 1, 1, 1.5, 2, 2.5, 3, 3]
