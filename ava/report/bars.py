"""Bars: a share drawn as long as it is, with its number."""

from __future__ import annotations

import math

from ava.report.html import Html, element
from ava.report.numbers import percent

__all__ = ["bar"]


def bar(what: str, of: str, share: float | None, *, low: float = 0.0, tone: str = "") -> Html:
    """Return a share's number over its bar, on an axis from ``low`` (0, or below it where a share is negative) to 1.

    The bar's rectangle is measured in hundredths: a share of 0.25 is 25 wide.
    """
    text = percent(share)
    drawn = 0.0 if share is None or not math.isfinite(share) else min(max(share, low), 1.0)
    start, span = 100 * min(drawn, 0.0), 100 * abs(drawn)
    left = 100 * low
    picture = element(
        "svg",
        element("title", f"{what}: {text} of {of}"),
        element("desc", f"A bar on an axis from {percent(low)} to 100 %."),
        element("rect", class_="track", x=f"{left:g}", y="0", width=f"{100 - left:g}", height="8"),
        element("rect", class_=f"bar {tone}".strip(), x=f"{start:.6g}", y="0", width=f"{span:.6g}", height="8"),
        element("path", class_="zero", d="M0,0V8") if low < 0 else None,
        viewBox=f"{left:g} 0 {100 - left:g} 8",
        preserveAspectRatio="none",
        role="img",
        class_="share",
    )
    return element("div", element("span", text, class_="num"), picture, class_="bar-cell")
