"""Three kinds of picture as SVG: dots in rows, bars in rows, and curves. Gray text reads on white and on black."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, FOOT = 680, 190, 30, 26, 46
COLORS = ("#2563eb", "#d97706", "#059669", "#b91c1c", "#7c3aed", "#0891b2", "#be185d", "#65a30d")
GRAY = "#808080"


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, drawn from pixel `start` to pixel `end`, with a mark every `step`."""

    low: float
    high: float
    step: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, *, zero: bool = False) -> Axis:
        low, high = (min(0.0, *values) if zero else min(values)), max(values)
        step = _round((high - low) / 5 or abs(high) / 5 or 1.0)
        return cls(step * math.floor(low / step), step * math.ceil(high / step - 1e-9), step, start, end)

    def at(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / ((self.high - self.low) or 1)

    def marks(self) -> list[float]:
        return [self.low + self.step * number for number in range(round((self.high - self.low) / self.step) + 1)]


def _round(step: float) -> float:
    """The next of 1, 2, 5, 10 … that is at least as large."""
    scale: float = 10.0 ** math.floor(math.log10(step))
    return next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= step * (1 - 1e-9))


def dots(
    title: str, across: str, rows: Mapping[str, Sequence[float]], lines: Mapping[str, float], *, mean: bool = True
) -> str:
    """A row of dots for each name, with a bar at their mean; `lines` stand for one value across all rows."""
    values = [value for row in rows.values() for value in row] + list(lines.values())
    axis, top = Axis.around(values, LEFT, WIDTH - RIGHT), 18 + 15 * len(lines)
    drawn, bottom = [], top + ROW * len(rows)
    for number, (name, row) in enumerate(rows.items()):
        y = top + ROW * number + ROW / 2
        drawn.append(_text(LEFT - 10, y + 4, name, "end"))
        color = COLORS[0]
        drawn += [f'<circle cx="{axis.at(x):.1f}" cy="{y:.1f}" r="4" fill="{color}" fill-opacity="0.55"/>' for x in row]
        if mean:
            x = axis.at(sum(row) / len(row))
            drawn.append(f'<path d="M{x:.1f},{y - 9:.1f}V{y + 9:.1f}" stroke="{color}" stroke-width="2"/>')
    return _picture(title, bottom, [*_across(axis, across, top, bottom), *_lines(axis, lines, top, bottom), *drawn])


def bars(
    title: str,
    across: str,
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    lines: Mapping[str, float],
) -> str:
    """Bars from zero: per row one for each series, as long as the mean, with a thin line from the least to the most."""
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    values = [value for row in rows.values() for part in row.values() for value in part] + list(lines.values())
    axis, thick = Axis.around(values, LEFT, WIDTH - RIGHT, zero=True), 11
    top, high = 18 + 15 * (len(lines) + len(series)), thick * len(series) + 9
    bottom = top + high * len(rows)
    drawn = [_text(LEFT, 14 + 15 * number, name, color=COLORS[number]) for number, name in enumerate(series)]
    for number, (name, row) in enumerate(rows.items()):
        y = top + high * number + 4.5
        drawn.append(_text(LEFT - 10, y + thick * len(series) / 2 + 4, name, "end"))
        for place, part in row.items():
            color, at = COLORS[series.index(place)], y + thick * series.index(place)
            mean, low, most = (axis.at(x) for x in (sum(part) / len(part), min(part), max(part)))
            drawn.append(
                f'<rect x="{LEFT}" y="{at:.1f}" width="{max(0.5, mean - LEFT):.1f}" height="{thick - 2}" '
                f'fill="{color}" fill-opacity="0.75"/>'
            )
            if most - low > 0.5:
                drawn.append(f'<path d="M{low:.1f},{at + 4.5:.1f}H{most:.1f}" stroke="{GRAY}" stroke-width="2"/>')
    frame = [*_across(axis, across, top, bottom), *_lines(axis, lines, top, bottom, below=15 * len(series))]
    return _picture(title, bottom, [*frame, *drawn])


def curves(title: str, across: str, upward: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A line through the points of each name."""
    left, high, top = 64, 260, 18 + 15 * math.ceil(len(lines) / 2)
    points = [point for line in lines.values() for point in line]
    x_axis = Axis.around([x for x, _ in points], left, WIDTH - RIGHT, zero=True)
    y_axis = Axis.around([y for _, y in points], top + high, top)
    drawn = _across(x_axis, across, top, top + high)
    for mark in y_axis.marks():
        y = y_axis.at(mark)
        drawn.append(f'<path d="M{left},{y:.1f}H{WIDTH - RIGHT}" stroke="{GRAY}" stroke-opacity="0.25"/>')
        drawn.append(_text(left - 8, y + 4, f"{mark:.6g}", "end"))
    middle = top + high / 2
    drawn.append(f'<g transform="rotate(-90 14 {middle})">{_text(14, middle, upward, "middle")}</g>')
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        drawn.append(_text(left + number % 2 * (WIDTH - left) / 2, 14 + 15 * (number // 2), name, color=color))
    return _picture(title, top + high, drawn)


def _across(axis: Axis, across: str, top: float, bottom: float) -> list[str]:
    drawn = []
    for mark in axis.marks():
        x = axis.at(mark)
        drawn.append(f'<path d="M{x:.1f},{top}V{bottom}" stroke="{GRAY}" stroke-opacity="0.25"/>')
        drawn.append(_text(x, bottom + 16, f"{mark:,.6g}", "middle"))
    return [*drawn, _text((axis.start + axis.end) / 2, bottom + 36, across, "middle")]


def _lines(axis: Axis, lines: Mapping[str, float], top: float, bottom: float, below: float = 0) -> list[str]:
    drawn = []
    for number, (name, value) in enumerate(lines.items()):
        color, x = COLORS[3 + number], axis.at(value)
        drawn.append(f'<path d="M{x:.1f},{top}V{bottom}" stroke="{color}" stroke-width="1.5" stroke-dasharray="5 3"/>')
        drawn.append(_text(LEFT, 14 + below + 15 * number, f"- - {name}", color=color))
    return drawn


def _text(x: float, y: float, text: str, anchor: str = "start", color: str = GRAY) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'


def _picture(title: str, bottom: float, drawn: Sequence[str]) -> str:
    high = round(bottom + FOOT)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" width="{WIDTH}" height="{high}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}">'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", *drawn, "</svg>"]) + "\n"
