"""Line charts: a picture of lines, marks on it, its description in words, and its numbers in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ava.report.axis import Axis
from ava.report.html import Child, Html, breakable, element
from ava.report.numbers import count, number

__all__ = ["Line", "Mark", "line_chart"]

Points = Sequence[tuple[float, float]]
_SIZE = 1000  # the picture is this many units wide and high, whatever its size on the page
_ROOM = 0.09  # letters at the ends of lines keep this part of the height between them


@dataclass(frozen=True)
class Mark:
    """A sign at one step: ``kind`` is ``spike``, ``missing`` (not finite) or ``resumed``; ``until`` for a stretch."""

    kind: str
    step: float
    value: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class Line:
    """One series.

    Attributes:
        name: of the run.
        letter: what stands at the line's end; none where there is one line.
        tone: its number among the colours and dashes.
        parts: the stretches that are drawn without a break, each a list of (step, value).
        trend: the running median, where it is drawn.
        marks: signs on the line.
    """

    name: str
    parts: Sequence[Points]
    letter: str = ""
    tone: int = 0
    trend: Points = ()
    marks: Sequence[Mark] = field(default=())


def line_chart(
    title: str,
    name: str,
    lines: Sequence[Line],
    across: Axis,
    up: Axis,
    described: str,
    *,
    level: int = 3,
    small: bool = False,
    note: str = "",
    more: Child = None,
) -> Html:
    """Return a figure. ``title`` heads it, ``name`` tells it from all others, ``described`` says what it shows."""
    scale = ", logarithmic" if up.log else ""
    picture = element(
        "svg",
        element("title", name),
        element("desc", described),
        element("path", class_="grid", d=_grid(across, up, small)),
        [_line(line, across, up, alone=len(lines) == 1) for line in lines],
        viewBox=f"0 0 {_SIZE} {_SIZE}",
        preserveAspectRatio="none",
        role="img",
    )
    plot = element(
        "div",
        picture,
        _labels(across, up, small),
        [_mark(mark, line, across, up) for line in lines for mark in line.marks],
        _letters(lines, up),
        element("span", class_="cursor", hidden=True),
        class_="plot",
        data_low=f"{across.low!r}",
        data_high=f"{across.high!r}",
        data_bottom=f"{up.low!r}",
        data_top=f"{up.high!r}",
        data_log="1" if up.log else None,
    )
    return element(
        "figure",
        element(
            "figcaption",
            element(f"h{level}", breakable(title)),
            element("span", note + (" · " if note and scale else "") + scale.removeprefix(", "), class_="note"),
        ),
        plot,
        element("p", class_="readout", aria_hidden="true"),
        more,
        class_="chart small" if small else "chart",
    )


def _x(across: Axis, step: float) -> float:
    return _SIZE * across.place(step)


def _y(up: Axis, value: float) -> float:
    return _SIZE * (1 - min(max(up.place(value), 0.0), 1.0)) if not up.log or value > 0 else float(_SIZE)


def _points(points: Points, across: Axis, up: Axis) -> str:
    return " ".join(f"{_x(across, step):.6g},{_y(up, value):.5g}" for step, value in points)


def _line(line: Line, across: Axis, up: Axis, *, alone: bool) -> Html:
    """Return a group with the line's stretches; a lone point, which has no length, is drawn as a short dash."""
    faint = " faint" if line.trend else ""
    drawn: list[Html] = []
    for mark in line.marks:
        if mark.kind == "missing" and mark.until is not None:
            start, end = _x(across, mark.step), _x(across, mark.until)
            drawn.append(
                element("rect", class_="gone", x=f"{start:.6g}", y=0, width=f"{end - start:.6g}", height=_SIZE)
            )
        elif mark.kind == "resumed":
            drawn.append(element("path", class_="again", d=f"M{_x(across, mark.step):.6g},0V{_SIZE}"))
    for part in line.parts:
        if len(part) == 1:
            x, y = _x(across, part[0][0]), _y(up, part[0][1])
            drawn.append(element("path", class_=f"values point{faint}", d=f"M{x:.6g},{y:.5g}h0.01"))
        else:
            drawn.append(element("polyline", class_=f"values{faint}", points=_points(part, across, up)))
    if line.trend:
        drawn.append(element("polyline", class_="trend", points=_points(line.trend, across, up)))
    dash = "" if alone else f" dash-{line.tone % 4}"
    return element("g", drawn, class_=f"line tone-{line.tone % 6}{dash}", data_run=line.name)


def _grid(across: Axis, up: Axis, small: bool) -> str:
    return "".join(f"M0,{_y(up, tick):.5g}H{_SIZE}" for tick in up.ticks(2 if small else 4))


def _labels(across: Axis, up: Axis, small: bool) -> list[Html]:
    """Return the labels of both axes, which are text of the page: they stay legible at every width."""
    labels = [
        element(
            "span", number(tick, 6, least=1e-3), class_="y", style=f"top:{_y(up, tick) / 10:.5g}%", aria_hidden="true"
        )
        for tick in up.ticks(2 if small else 4)
    ]
    return labels + [
        element("span", _short(tick), class_="x", style=f"left:{_x(across, tick) / 10:.5g}%", aria_hidden="true")
        for tick in across.ticks(5)
        if tick == round(tick)
    ]


def _short(step: float) -> str:
    """Return a step for an axis: ``20k``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(step) >= 10 * size or (abs(step) >= size and step % size == 0):
            return f"{number(step / size, 4)}{unit}"
    return count(step)


def _mark(mark: Mark, line: Line, across: Axis, up: Axis) -> Html:
    sign, words = {
        "spike": ("▲", "spike"),
        "missing": ("×", "not finite"),
        "resumed": ("↺", "resumed"),
    }[mark.kind]
    top = 0.0 if mark.value is None else _y(up, mark.value) / 10
    run = f"{line.letter} {line.name}: " if line.letter else ""
    until = f" to {count(mark.until)}" if mark.until is not None and mark.until != mark.step else ""
    value = f", {number(mark.value)}" if mark.value is not None else ""
    return element(
        "span",
        sign,
        element("small", line.letter) if line.letter else None,
        class_=f"mark {mark.kind}{'' if line.letter else ' alone'} tone-{line.tone % 6}",
        style=f"left:{_x(across, mark.step) / 10:.5g}%;top:{top:.5g}%",
        title=f"{run}{words} at step {count(mark.step)}{until}{value}",
        aria_hidden="true",
        data_step=f"{mark.step:g}",
    )


def _letters(lines: Sequence[Line], up: Axis) -> list[Html]:
    """Return each run's letter at the end of its line, pushed apart where lines end close together."""
    ended = [(_y(up, line.parts[-1][-1][1]) / _SIZE, line) for line in lines if line.letter and line.parts]
    ended.sort(key=lambda pair: pair[0])
    room = min(_ROOM, 1 / max(len(ended) - 1, 1))
    tops: list[float] = []
    for wanted, _ in ended:
        tops.append(max(wanted, tops[-1] + room if tops else 0.0))
    for index in reversed(range(len(tops))):
        tops[index] = min(tops[index], 1 - room * (len(tops) - 1 - index))
    return [
        element(
            "span",
            line.letter,
            class_=f"letter tone-{line.tone % 6}",
            style=f"top:{100 * top:.4g}%",
            aria_hidden="true",
        )
        for top, (_, line) in zip(tops, ended, strict=True)
    ]
