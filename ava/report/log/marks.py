"""What stands out in a series: spikes, stretches that are not finite, and gaps."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["ENOUGH", "FACTOR", "GAP", "WINDOW", "Spike", "Watched", "lost", "segments", "stride", "watch"]

WINDOW = 50
"""How many finite values before one it is compared with."""
ENOUGH = 10
"""How many there must be."""
FACTOR = 8.0
"""How many robust standard deviations above their median a spike is."""
GAP = 5.0
"""A distance between steps this many times the usual one breaks the line."""
_NORMAL = 1.4826  # the standard deviation of a normal distribution, in median absolute deviations
_MEAN = 1.2533  # the same, in mean absolute deviations


@dataclass(frozen=True, slots=True)
class Spike:
    """Neighbouring values that all are spikes, as indices: from ``start`` up to ``stop``, largest at ``peak``."""

    start: int
    stop: int
    peak: int


@dataclass(frozen=True, slots=True)
class Watched:
    """The spikes of a series, and for each value, by index, the median of the window that ends before it."""

    spikes: list[Spike]
    medians: list[tuple[int, float]]


def watch(values: Sequence[float]) -> Watched:
    """Return the spikes and the running median of a series.

    A value is a spike if it is more than eight robust standard deviations above the median of the fifty finite values
    before it. The robust standard deviation is 1.4826 times the median absolute deviation from that median; where
    more than half of the values are equal, so that this is zero, 1.2533 times the mean absolute deviation. Where all
    are equal there is no yardstick, and no spike.

    >>> watch([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.1, 1.0, 0.9, 1.0, 1.1, 9.0, 8.0, 1.0]).spikes
    [Spike(start=11, stop=13, peak=11)]
    """
    found: list[Spike] = []
    medians: list[tuple[int, float]] = []
    for index, value, window in _windows(values):
        if len(window) < ENOUGH:
            continue
        medians.append((index, window[len(window) // 2]))
        if not _stands_out(value, window):
            continue
        last = found[-1] if found else None
        if last is not None and last.stop == index:
            peak = index if value > values[last.peak] else last.peak
            found[-1] = Spike(last.start, index + 1, peak)
        else:
            found.append(Spike(index, index + 1, index))
    return Watched(found, medians)


def _stands_out(value: float, window: list[float]) -> bool:
    """Compare with a sorted window, without computing the deviations where two searches tell enough."""
    size, middle = len(window), window[len(window) // 2]
    rise = value - middle
    if rise <= 0:
        return False
    limit = rise / (FACTOR * _NORMAL)
    if bisect_left(window, middle + limit) - bisect_right(window, middle - limit) <= size // 2:
        return False
    if bisect_right(window, middle) - bisect_left(window, middle) <= size // 2:
        return True
    mean = sum(abs(item - middle) for item in window) / size
    return 0 < FACTOR * _MEAN * mean < rise


def _windows(values: Sequence[float]) -> Iterator[tuple[int, float, list[float]]]:
    """Yield each finite value with the finite values before it, sorted."""
    order: deque[float] = deque()
    window: list[float] = []
    for index, value in enumerate(values):
        if not math.isfinite(value):
            continue
        yield index, value, window
        order.append(value)
        insort(window, value)
        if len(order) > WINDOW:
            del window[bisect_left(window, order.popleft())]


def lost(values: Sequence[float]) -> list[tuple[int, int]]:
    """Return the stretches that are not finite, as first and last index.

    >>> lost([1.0, math.nan, math.inf, 2.0, math.nan])
    [(1, 2), (4, 4)]
    """
    found: list[tuple[int, int]] = []
    for index, value in enumerate(values):
        if math.isfinite(value):
            continue
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


def stride(steps: Sequence[float]) -> float:
    """Return the usual distance between two steps."""
    distances = sorted(after - before for before, after in pairwise(steps))
    return distances[len(distances) // 2] if distances else 1.0


def segments(steps: Sequence[float], values: Sequence[float]) -> list[range]:
    """Return the stretches to draw in one go: finite, and without a gap of five times the usual distance."""
    limit = GAP * stride(steps)
    found: list[range] = []
    for index, value in enumerate(values):
        if not math.isfinite(value):
            continue
        last = found[-1] if found else None
        if last is not None and last.stop == index and steps[index] - steps[index - 1] < limit:
            found[-1] = range(last.start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found
