"""Small SVG pictures of what a term charges for a probability, and of its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["CURVES", "Curve", "svg"]

WIDTH, HEIGHT = 370, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 16, 44
VALUES = (0.0, 5.0, 1.0)  # smallest and largest value shown, and the distance between lines
SLOPES = (-1.5, 1.5, 0.5)
STEPS = (0.002, 0.005, *(i / 100 for i in range(1, 100)), 0.995, 0.998)
COLORS = ("#2563eb", "#d97706", "#059669", "#b91c1c")
GRAY = "#808080"  # readable on white and on black


@dataclass(frozen=True)
class Curve:
    """A line: its name, and nats against a probability in (0, 1)."""

    name: str
    value: Callable[[float], float]

    def slope(self, p: float) -> float:
        """Return the derivative of the value with respect to the logit of the token, for which dp = p (1 - p) dz."""
        width = 1e-4 * p * (1 - p)
        return (self.value(p + width) - self.value(p - width)) / (2 * width) * p * (1 - p)


def nll(p: float) -> float:
    """Cross-entropy of a target with probability ``p``."""
    return -math.log(p)


def unlikelihood(p: float) -> float:
    """What a penalty charges for a token with probability ``p``."""
    return -math.log1p(-p)


def certainty(p: float) -> float:
    """What is left of the largest entropy, for two tokens of which one has probability ``p``."""
    return 1 + (p * math.log(p) + (1 - p) * math.log1p(-p)) / math.log(2)


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
    "token_diversity_loss": ("probability of one token of two", (Curve("1 - H/ln 2", certainty),)),
}
"""Term to the axis and the lines, for the terms whose value in a row depends on one probability."""


def svg(title: str, axis: str, curves: Sequence[Curve]) -> str:
    """Return a picture with two panels over (0, 1): the curves, and their derivatives with respect to the logit."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="{GRAY}" role="img" aria-label="{title}">',
        f"<title>{title}: value and gradient against the {axis}</title>",
    ]
    lines += _panel("value, nats", axis, [(curve.name, curve.value) for curve in curves], 0, VALUES)
    lines += _panel("gradient of the logit", axis, [("", curve.slope) for curve in curves], WIDTH, SLOPES)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(
    label: str,
    axis: str,
    curves: Sequence[tuple[str, Callable[[float], float]]],
    offset: int,
    limits: tuple[float, float, float],
) -> Iterator[str]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    low, top, step = limits

    def place(p: float, value: float) -> tuple[float, float]:
        return offset + LEFT + p * wide, TOP + (top - value) / (top - low) * high

    for index in range(round((top - low) / step) + 1):
        value = low + index * step
        x, y = place(0, value)
        opacity = 0.6 if value == 0 else 0.25
        yield f'<path d="M{x:.1f},{y:.1f}H{offset + WIDTH - RIGHT}" stroke="{GRAY}" stroke-opacity="{opacity}"/>'
        yield f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    for p in (0, 0.25, 0.5, 0.75, 1):
        x, y = place(p, low)
        yield f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{p:g}</text>'
    for index, (name, function) in enumerate(curves):
        color = COLORS[index]
        points = " ".join("{:.1f},{:.1f}".format(*place(p, function(p))) for p in STEPS if low <= function(p) <= top)
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
        if name:
            yield f'<text x="{offset + LEFT + wide // 2}" y="{TOP + 12 + 16 * index}" fill="{color}">{name}</text>'
    yield f'<text x="{offset + LEFT + wide // 2}" y="{HEIGHT - 8}" text-anchor="middle">{axis}</text>'
    x, y = offset + 14, TOP + high // 2
    yield f'<text x="{x}" y="{y}" text-anchor="middle" transform="rotate(-90 {x} {y})">{label}</text>'
