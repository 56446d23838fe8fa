"""Spikes against their definition, gaps, thinning, axes."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ava.report.axis import Axis, values_axis
from ava.report.log.marks import ENOUGH, FACTOR, WINDOW, lost, segments, watch
from ava.report.log.sample import chosen, thin
from ava.report.numbers import number

VALUES = st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100), st.just(math.nan)), max_size=140)


def by_definition(values):
    """Return the indices of the spikes, from the words of the documentation."""
    found, before = set(), []
    for index, value in enumerate(values):
        if not math.isfinite(value):
            continue
        window = sorted(before[-WINDOW:])
        before.append(value)
        if len(window) < ENOUGH:
            continue
        middle = window[len(window) // 2]
        apart = sorted(abs(item - middle) for item in window)
        spread = 1.4826 * apart[len(apart) // 2] or 1.2533 * statistics.fmean(apart)
        if spread and value - middle > FACTOR * spread * (1 + 1e-9):
            found.add(index)
    return found


@given(VALUES)
def test_spikes_are_those_of_the_definition(values):
    marked = {index for spike in watch(values).spikes for index in range(spike.start, spike.stop)}
    assert by_definition(values) <= marked
    slack = {index for index in marked if index not in by_definition(values)}
    assert all(_at_the_limit(values, index) for index in slack)


def _at_the_limit(values, index):
    return index in by_definition([value * (1 + 1e-6) if i == index else value for i, value in enumerate(values)])


def test_noise_has_no_spikes_and_a_jump_is_one():
    noise = random.Random(3)
    values = [5 * math.exp(-i / 500) + noise.gauss(0, 0.1) for i in range(5000)]
    assert watch(values).spikes == []
    values[3000:3003] = [3.0, 4.0, 3.5]
    (spike,) = watch(values).spikes
    assert (spike.start, spike.stop, spike.peak) == (3000, 3003, 3001)


def test_a_fall_and_a_constant_are_no_spikes():
    assert watch([1.0, 1.1] * 20 + [-50.0]).spikes == []
    assert watch([0.0] * 60 + [1.0]).spikes == []


def test_lines_break_at_gaps_and_where_nothing_is_finite():
    steps = [1, 2, 3, 4, 20, 21, 22, 23, 24]
    values = [1.0, 1.0, math.nan, 1.0, 1.0, 1.0, math.inf, 1.0, 1.0]
    assert segments(steps, values) == [range(0, 2), range(3, 4), range(4, 6), range(7, 9)]
    assert lost(values) == [(2, 2), (6, 6)]
    assert segments([0, 100, 200, 300], [1.0] * 4) == [range(0, 4)]


def test_thinning_keeps_the_extremes_of_every_column():
    noise = random.Random(4)
    steps, values = list(range(10_000)), [noise.gauss(0, 1) for _ in range(10_000)]
    values[1234], values[7777] = 50.0, -50.0
    points = thin(steps, values, range(10_000), Axis(0, 9999), 100)
    assert len(points) <= 2 * 100 + 4
    assert points == sorted(points)
    assert set(points) <= set(zip(steps, values, strict=True))
    assert {(1234, 50.0), (7777, -50.0), (0, values[0]), (9999, values[-1])} <= set(points)
    for column in range(100):
        inside = [values[step] for step in steps if int(100 * step / 9999) == column]
        drawn = [value for step, value in points if int(100 * step / 9999) == column]
        assert (min(inside), max(inside)) == (min(drawn), max(drawn))


def test_a_short_run_is_drawn_whole():
    steps, values = [1, 2, 3, 4, 5], [1.0, 2.0, 1.0, 3.0, 1.0]
    assert thin(steps, values, range(5), Axis(1, 5), 100) == list(zip(steps, values, strict=True))


def test_tables_show_the_marked_steps():
    some = chosen(list(range(1, 1001)), {500, 77}, 20)
    assert {1, 1000, 500, 77} <= set(some)
    assert len(some) <= 22


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=30))
@example([4e16, 4e16, 1.0000007e308])
@example([5e-324, 1.0, 1.0, 1e3])
@example([5e-324, 5e-324, 1.7e308])
def test_every_value_lies_on_its_axis(values):
    axis = values_axis(values)
    places = [axis.place(value) for value in values]
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert len(axis.ticks()) <= 12


@given(st.floats(1e-300, 1e300), st.floats(1.0, 1e6))
def test_ticks_lie_inside(low, ratio):
    for log in (False, True):
        axis = Axis(low, low * (1 + ratio), log)
        assert all(-1e-6 <= axis.place(tick) <= 1 + 1e-6 for tick in axis.ticks())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (9.99999, "10"), (-0.5, "−0.5"), (1e6, "1e6"), (math.inf, "∞"), (0.00012, "0.00012")],
)
def test_numbers(value, text):
    assert number(value) == text
