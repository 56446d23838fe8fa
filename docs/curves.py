"""Small SVG pictures of what a term charges for a probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["CURVES", "Curve", "svg"]

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 16, 44
LARGEST = 5.0  # nats shown
COLORS = ("#2563eb", "#d97706", "#059669", "#b91c1c")
GRAY = "#808080"  # readable on white and on black


@dataclass(frozen=True)
class Curve:
    """A line: its name, and nats against a probability in (0, 1)."""

    name: str
    value: Callable[[float], float]


def nll(p: float) -> float:
    """Cross-entropy of a target with probability ``p``."""
    return -math.log(p)


def unlikelihood(p: float) -> float:
    """What a penalty charges for a token with probability ``p``."""
    return -math.log1p(-p)


def _focal(gamma: float) -> Callable[[float], float]:
    return lambda p: (1 - p) ** gamma * nll(p)


CURVES: dict[str, tuple[str, tuple[Curve, ...]]] = {
    "main_loss": ("probability of the target", (Curve("-ln p", nll),)),
    "focal_loss": (
        "probability of the target",
        (Curve("gamma 0", nll), *(Curve(f"gamma {gamma:g}", _focal(gamma)) for gamma in (0.5, 2.0, 5.0))),
    ),
    "immediate_repetition_penalty": (
        "probability of repeating the last token",
        (Curve("-ln(1 - p)", unlikelihood),),
    ),
    "ngram_penalty": ("probability of completing the n-gram", (Curve("-ln(1 - p)", unlikelihood),)),
    "eos_penalty": ("probability of the end", (Curve("-ln(1 - p)", unlikelihood),)),
}
"""Term to the axis and the lines, for the terms whose value in a row depends on one probability."""


def svg(title: str, axis: str, curves: Sequence[Curve]) -> str:
    """Return a picture of curves over (0, 1)."""
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(p: float, value: float) -> str:
        return f"{LEFT + p * wide:.1f},{TOP + (1 - min(value, LARGEST) / LARGEST) * high:.1f}"

    steps = [0.002, 0.005, *(i / 100 for i in range(1, 100)), 0.995, 0.998]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="{GRAY}" role="img" aria-label="{title}">',
        f"<title>{title}</title>",
    ]
    for nats in range(int(LARGEST) + 1):
        x, y = place(0, nats).split(",")
        lines.append(f'<path d="M{x},{y}H{WIDTH - RIGHT}" stroke="{GRAY}" stroke-opacity="0.25"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{nats}</text>')
    for p in (0, 0.25, 0.5, 0.75, 1):
        x, y = place(p, 0).split(",")
        lines.append(f'<text x="{x}" y="{float(y) + 16:.1f}" text-anchor="middle">{p:g}</text>')
    for index, curve in enumerate(curves):
        color = COLORS[index]
        points = " ".join(place(p, curve.value(p)) for p in steps if curve.value(p) <= LARGEST)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        lines.append(f'<text x="{LEFT + wide // 2}" y="{TOP + 10 + 15 * index}" fill="{color}">{curve.name}</text>')
    lines.append(f'<text x="{LEFT + wide // 2}" y="{HEIGHT - 8}" text-anchor="middle">{axis}</text>')
    lines.append(f'<text x="12" y="{TOP + high // 2}" transform="rotate(-90 12 {TOP + high // 2})">nats</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
