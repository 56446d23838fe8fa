"""Tables, and the frame in which a wide one scrolls by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ava.report.html import Child, Html, element

__all__ = ["details", "scroll", "table"]


def table(
    caption: str,
    heads: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    *,
    right: Sequence[int] = (),
    shown: bool = False,
    class_: str | None = None,
) -> Html:
    """Return a table whose first column names its rows; ``right`` are the columns of numbers.

    The caption is for screen readers, unless it is to be ``shown``.
    """

    def kind(index: int) -> str | None:
        return "num" if index in right else None

    head = [element("th", item, scope="col", class_=kind(index)) for index, item in enumerate(heads)]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row", class_=kind(0)),
            [element("td", item, class_=kind(index)) for index, item in enumerate(row[1:], 1)],
        )
        for row in rows
    ]
    return scroll(
        caption,
        element(
            "table",
            element("caption", caption, class_=None if shown else "unseen"),
            element("thead", element("tr", head)),
            element("tbody", body),
            class_=class_,
        ),
    )


def scroll(label: str, content: Html) -> Html:
    """Return ``content`` in a frame that scrolls sideways, by keyboard too."""
    return element("div", content, class_="scroll", role="region", aria_label=label, tabindex="0")


def details(summary: Child, *content: Child, open_: bool = False) -> Html:
    """Return what is shown on demand."""
    return element("details", element("summary", summary), content, open_=open_)
