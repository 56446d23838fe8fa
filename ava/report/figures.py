"""Parts that several pages share: findings, and facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ava.errors import Span
from ava.report.html import Child, Html, anchor, element, prose

__all__ = ["Found", "facts", "findings_list"]

_RANK = ("error", "warning", "info")


class Found(Protocol):
    """A finding, as it is made or as it was read from a file."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def span(self) -> Span: ...
    @property
    def url(self) -> str | None: ...


def findings_list(findings: Sequence[Found]) -> Html:
    """Return findings, worst first, each with its place and a link to its rule."""
    rank = {name: index for index, name in enumerate(_RANK)}
    items = [
        element(
            "li",
            element("strong", finding.severity),
            " ",
            anchor(f"{finding.code} {finding.name}", finding.url),
            ": ",
            prose(finding.message),
            element("div", element("code", f"{finding.span.file}:{finding.span.line}"), class_="note"),
            class_=finding.severity if finding.severity in rank else "info",
        )
        for finding in sorted(findings, key=lambda item: rank.get(item.severity, len(rank)))
    ]
    return element("ul", items, class_="findings")


def facts(pairs: Iterable[tuple[str, Child, Child]]) -> Html:
    """Return a list of figures: what it is, the figure, and a remark."""
    return element(
        "dl",
        [
            element(
                "div",
                element("dt", name),
                element("dd", value, element("small", remark) if remark is not None else None),
            )
            for name, value, remark in pairs
        ],
        class_="facts",
    )
