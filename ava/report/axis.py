"""From values to places on an axis, and the round values that label it."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Axis", "steps_axis", "values_axis"]

_WIDE = 30.0  # a largest value this many times the median asks for a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """An interval, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where ``value`` lies, 0 at ``low`` and 1 at ``high``.

        >>> Axis(0, 10).place(2.5), Axis(1, 100, log=True).place(10)
        (0.25, 0.5)
        """
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(value) - low) / (high - low)
        # Halves, since the width of the interval itself may be more than a float holds.
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def ticks(self, about: int = 4) -> list[float]:
        """Return round values inside the interval, about as many as asked for.

        >>> Axis(0, 1100).ticks(), Axis(0.5, 2000, log=True).ticks()
        ([0.0, 500.0, 1000.0], [1.0, 10.0, 100.0, 1000.0])
        """
        if self.log:
            return self._decades(about)
        rough = self.high / about - self.low / about
        unit = 10.0 ** math.floor(math.log10(rough)) if rough > 1e-300 else rough
        step = next((unit * size for size in (1, 2, 5) if unit * size >= rough), unit * 10)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{index * step:.12g}") for index in range(first, last + 1)]

    def _decades(self, about: int) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        stride = max(1, math.ceil((high - low) / (about + 1)))
        return [10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1, stride)]


def steps_axis(low: float, high: float) -> Axis:
    """Return the axis of steps from the first to the last."""
    return Axis(low, high) if high > low else Axis(low - 1, low + 1)


def values_axis(values: Sequence[float], *, log: bool | None = None) -> Axis:
    """Return an axis on which all of ``values``, finite, can be told apart.

    It is logarithmic where all are positive and the largest is thirty times the median; else it begins at zero where
    that costs little.

    >>> values_axis([2.0, 4.0]), values_axis([1.0] * 9 + [1000.0]).log
    (Axis(low=1.9, high=4.1, log=False), True)
    """
    if not values:
        return Axis(0.0, 1.0)
    low, high = min(values), max(values)
    middle = sorted(values)[len(values) // 2]
    if log is not False and low > 0 and (log or high / _WIDE > middle) and high > low:
        room = (math.log10(high) - math.log10(low)) * 0.05
        start, end = math.log10(low) - room, math.log10(high) + room
        return Axis(10.0**start or low, 10.0**end if end < 308 else sys.float_info.max, log=True)
    if low == high:
        room = abs(low) * 0.1 or 1.0
    else:
        room = (high / 2 - low / 2) * 0.1
    start = 0.0 if 0 <= low < 0.35 * high or low == 0 else low - room
    limit = sys.float_info.max
    return Axis(max(start, -limit), min(high + room, limit))
