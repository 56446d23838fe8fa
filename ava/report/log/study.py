"""The values of all runs, put side by side and looked through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ava.report.log.marks import WINDOW, Spike, lost, watch
from ava.report.log.names import Place, place
from ava.report.log.read import Run, Series

__all__ = ["Panel", "Study", "panels"]

_TREND = 100  # from so many values on, the running median is drawn too


@dataclass(frozen=True)
class Study:
    """One value of one run.

    Attributes:
        run: the run.
        index: its place among the runs.
        series: the value over the steps.
        spikes: where it stands out; empty for values of which that says nothing.
        lost: stretches that are not finite, as first and last index.
        medians: the running median, by index.
    """

    run: Run
    index: int
    series: Series
    spikes: Sequence[Spike]
    lost: Sequence[tuple[int, int]]
    medians: Sequence[tuple[int, float]]

    @cached_property
    def finite(self) -> list[float]:
        """The finite values."""
        return [value for value in self.series.values if math.isfinite(value)]

    @property
    def missing(self) -> int:
        """How many values are not finite."""
        return len(self.series.values) - len(self.finite)

    @cached_property
    def lowest(self) -> tuple[float, float] | None:
        """The smallest finite value, and its first step."""
        return self._first(min(self.finite)) if self.finite else None

    @cached_property
    def highest(self) -> tuple[float, float] | None:
        """The largest finite value, and its first step."""
        return self._first(max(self.finite)) if self.finite else None

    def _first(self, value: float) -> tuple[float, float]:
        return value, self.series.steps[self.series.values.index(value)]

    def trend(self, points: int) -> list[tuple[float, float]]:
        """Return the running median at the middle of its window, at about ``points`` steps; nothing for few values."""
        if len(self.series.values) < _TREND:
            return []
        every = max(len(self.medians) // points, 1)
        return [(self.series.steps[max(index - WINDOW // 2, 0)], value) for index, value in self.medians[WINDOW::every]]


@dataclass(frozen=True)
class Panel:
    """One value of all runs that have it: what a chart shows."""

    key: str
    place: Place
    studies: Sequence[Study]


def panels(runs: Sequence[Run]) -> list[Panel]:
    """Return a panel for every value, in the order in which the logs first name them."""
    keys = dict.fromkeys(key for run in runs for key in run.series)
    found: list[Panel] = []
    for key in keys:
        where = place(key)
        if where is not None:
            found.append(Panel(key, where, list(_studies(runs, key, where))))
    return found


def _studies(runs: Sequence[Run], key: str, where: Place) -> Iterator[Study]:
    for index, run in enumerate(runs):
        series = run.series.get(key)
        if series is not None:
            watched = watch(series.values)
            spikes = watched.spikes if where.spiky else []
            yield Study(run, index, series, spikes, lost(series.values), watched.medians)
