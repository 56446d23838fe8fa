"""A line chart of a few points as SVG: an axis of sizes, an axis of figures from zero, a line a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Line", "chart"]

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 44
LEGEND = 15  # height of a line of it, above the picture
COLORS = ("#2563eb", "#d97706", "#059669", "#b91c1c", "#7c3aed")
GRAY = "#808080"  # readable on white and on black


@dataclass(frozen=True)
class Line:
    """A name and its points, ``(size, figure)``."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, across: str, upward: str, lines: Sequence[Line]) -> str:
    """Return the picture; both axes begin at zero, so what grows linearly lies on a straight line."""
    sizes = sorted({x for line in lines for x, _ in line.points})
    step = _step(max(y for line in lines for _, y in line.points))
    highest = step * -(-max(y for line in lines for _, y in line.points) // step)
    top = TOP + LEGEND * len(lines)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    total = top + high + BOTTOM

    def x_of(size: float) -> float:
        return LEFT + wide * size / sizes[-1]

    def y_of(figure: float) -> float:
        return top + high * (1 - figure / highest)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" '
        f'font-family="sans-serif" font-size="11" fill="{GRAY}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for index in range(round(highest / step) + 1):
        y = y_of(index * step)
        drawn.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}" stroke="{GRAY}" stroke-opacity="0.25"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{index * step:g}</text>')
    drawn += [
        f'<text x="{x_of(size):.1f}" y="{top + high + 16}" text-anchor="middle">{size:,.0f}</text>' for size in sizes
    ]
    for index, line in enumerate(lines):
        color = COLORS[index % len(COLORS)]
        places = [(x_of(x), y_of(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        drawn.append(f'<text x="{LEFT}" y="{TOP + LEGEND * index}" fill="{color}">{escape(line.name)}</text>')
    drawn.append(f'<text x="{LEFT + wide // 2}" y="{total - 8}" text-anchor="middle">{escape(across)}</text>')
    middle = top + high // 2
    drawn.append(f'<text x="12" y="{middle}" transform="rotate(-90 12 {middle})">{escape(upward)}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _step(highest: float) -> float:
    """Return a round distance between grid lines, of which there are five at the most."""
    scale = 1.0
    while scale * 50 < highest:
        scale *= 10
    while scale * 5 >= highest and scale > 1e-9:
        scale /= 10
    return next(scale * factor for factor in (1, 2, 5, 10) if scale * factor * 5 >= highest)
