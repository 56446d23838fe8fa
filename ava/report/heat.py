"""The conflict matrix: a table whose cells are coloured by their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ava.report.html import Html, breakable, element
from ava.report.numbers import signed
from ava.report.tables import scroll

__all__ = ["STRENGTH", "heat_map"]

STRENGTH = 55
"""Per cent of the colour in a cell of -1 or 1: the number in it stays readable on both backgrounds."""


def heat_map(caption: str, matrix: Mapping[str, Mapping[str, float | None]]) -> Html:
    """Return the matrix; a cell's colour says the sign (``neg``, ``pos``), its strength the size."""
    names = list(matrix)
    head = [
        element(
            "th",
            element("span", str(index), aria_hidden="true"),
            element("span", name, class_="unseen"),
            scope="col",
            title=name,
        )
        for index, name in enumerate(names, 1)
    ]
    rows = [
        element(
            "tr",
            element(
                "th",
                element("span", f"{index} ", class_="index", aria_hidden="true"),
                breakable(name),
                scope="row",
            ),
            [_cell(name, other, matrix[name].get(other)) for other in names],
        )
        for index, name in enumerate(names, 1)
    ]
    return scroll(
        caption,
        element(
            "table",
            element("caption", caption, class_="unseen"),
            element("thead", element("tr", element("td"), head)),
            element("tbody", rows),
            class_="heat",
        ),
    )


def _cell(name: str, other: str, cosine: float | None) -> Html:
    if name == other:
        return element("td", element("span", "same term", class_="unseen"), class_="self")
    size = 0.0 if cosine is None or not math.isfinite(cosine) else min(abs(cosine), 1.0)
    kind = "neg" if cosine is not None and cosine < 0 else "pos"
    return element("td", signed(cosine), class_=kind, style=f"--share:{STRENGTH * size:.4g}%")
