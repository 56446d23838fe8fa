"""Markup, built from the inside out: whatever is not :class:`Html` is text, and is escaped."""

from __future__ import annotations

import html as standard
import re
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Child", "Html", "anchor", "breakable", "code", "element", "join", "prose"]

_VOID = frozenset({"br", "col", "hr", "link", "meta", "wbr"})
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SAFE_LINK = re.compile(r"(https?://|#)", re.IGNORECASE)


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "Html | str | int | float | Iterable[Child] | None"
Attribute: TypeAlias = "str | int | float | bool | None"


def element(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """Return an element. None among the children is nothing; a trailing ``_`` of an attribute's name goes, others
    become ``-``; an attribute that is None or False is left out.

    >>> element("p", "a < b", class_="note", aria_hidden="true")
    '<p class="note" aria-hidden="true">a &lt; b</p>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        words.append(label if value is True else f'{label}="{_escaped(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Html(start if name in _VOID else f"{start}{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Return the markup of ``children``, one after the other.

    >>> join(["<b>", Html("<i></i>"), None, 3])
    '&lt;b&gt;<i></i>3'
    """
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    if isinstance(children, (str, int, float)):
        return Html(_escaped(str(children)))
    return Html("".join(map(join, children)))


def _escaped(text: str) -> str:
    """Escape ``text``; controls, direction marks and lone surrogates, which could garble a page, become �."""
    return standard.escape(_UNPRINTABLE.sub("\ufffd", text))


def anchor(text: Child, url: str | None, **attributes: Attribute) -> Html:
    """Return a link, or only its text where ``url`` is not one that a page may safely carry.

    >>> anchor("x", "javascript:alert(1)")
    'x'
    """
    return element("a", text, href=url, **attributes) if url and _SAFE_LINK.match(url) else join(text)


def breakable(name: str) -> Html:
    """Return a long name that may be broken after ``_``, ``/`` and ``.``.

    >>> breakable("raw/z_loss")
    'raw/<wbr>z_<wbr>loss'
    """
    return Html(re.sub(r"(?<=[_/.])(?=.)", "<wbr>", _escaped(name)))


def code(text: str) -> Html:
    """Return ``text`` as code."""
    return element("code", breakable(text) if len(text) > 12 else text)


def prose(text: str) -> Html:
    """Return a sentence in which backticks mark code.

    >>> prose("`a` < b")
    '<code>a</code> &lt; b'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return join(text)
    return join([code(part) if index % 2 else part for index, part in enumerate(parts)])
