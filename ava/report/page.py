"""The frame of a report: head, style, script, landmarks."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from ava.report.html import Child, Html, anchor, element, join

__all__ = ["Part", "render"]


@dataclass(frozen=True)
class Part:
    """A section of the page: what its link and its heading say, and what it holds."""

    name: str
    title: str
    content: Child


@cache
def _resource(name: str) -> str:
    return files("ava.report").joinpath(name).read_text(encoding="utf-8")


def _policy() -> str:
    """Return what the page may load: nothing; and run: its own script."""
    digest = base64.b64encode(hashlib.sha256(_resource("page.js").encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'"
    )


def render(title: str, lead: Child, parts: Sequence[Part]) -> str:
    """Return the page: ``title`` and ``lead`` on top, then ``parts``, which the navigation lists."""
    written = f"ava-loss {version('ava-loss')}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=written),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(_resource("page.css"))),
    )
    links = [element("li", anchor(part.title, f"#{part.name}")) for part in parts]
    sections = [
        element(
            "section",
            element("h2", part.title, id=f"{part.name}-title"),
            part.content,
            id=part.name,
            aria_labelledby=f"{part.name}-title",
        )
        for part in parts
    ]
    body = element(
        "body",
        anchor("Skip to the report", "#report", class_="skip"),
        element("header", element("h1", title), lead),
        element("nav", element("ul", links), aria_label="Sections"),
        element("main", sections, id="report", tabindex="-1"),
        element("footer", element("p", f"Written by {written}. This file loads nothing from elsewhere.")),
        element("script", Html(_resource("page.js"))),
    )
    return join([Html("<!doctype html>\n"), element("html", head, body, lang="en"), "\n"])
