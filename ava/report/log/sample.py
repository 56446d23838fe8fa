"""Fewer points, such that the picture stays the same: of each column the first, lowest, highest and last."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ava.report.axis import Axis

__all__ = ["chosen", "thin"]


def thin(
    steps: Sequence[float], values: Sequence[float], part: range, across: Axis, columns: int
) -> list[tuple[float, float]]:
    """Return the points of ``part``, where they are more than two a column those that a column is drawn by."""
    width = max(round(columns * (across.place(steps[part[-1]]) - across.place(steps[part[0]]))), 1)
    if len(part) <= 2 * width or len(part) <= 4:
        return [(steps[index], values[index]) for index in part]
    scale, low_end = columns / (across.high - across.low), across.low
    kept: list[int] = []
    start = part.start
    while start < part.stop:
        column, stop = int(scale * (steps[start] - low_end)), start + 1
        while stop < part.stop and int(scale * (steps[stop] - low_end)) == column:
            stop += 1
        inside = range(start, stop)
        low, high = min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)
        kept += sorted({start, low, high} if start == part.start else {low, high})
        start = stop
    if kept[-1] != part[-1]:
        kept.append(part[-1])
    return [(steps[index], values[index]) for index in kept]


def chosen(steps: Sequence[float], marked: Collection[float], limit: int) -> list[float]:
    """Return at most about ``limit`` of ``steps``, evenly, with the first, the last and the ``marked`` ones among them.

    >>> chosen([1, 2, 3, 4, 5, 6, 7, 8, 9], [4], 3)
    [1, 4, 5, 9]
    """
    if len(steps) <= limit:
        return list(steps)
    evenly = {steps[round(index * (len(steps) - 1) / (limit - 1))] for index in range(limit)}
    some = sorted(set(marked) & set(steps))[: 2 * limit]
    return sorted(evenly | set(some))
