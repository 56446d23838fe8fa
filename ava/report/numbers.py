"""Numbers as a page shows them: with a true minus sign, and words for what is not finite."""

from __future__ import annotations

import math

from ava import numbers
from ava.numbers import bytes_text, plural

__all__ = ["bytes_text", "count", "number", "percent", "plural", "signed"]


def number(value: float | None, digits: int = 4, *, least: float = 1e-4) -> str:
    """Return a number in about ``digits`` digits, in powers of ten below ``least``; a dash for none.

    >>> number(1234.5678), number(-0.00001234), number(None), number(float("nan")), number(float("-inf"))
    ('1,235', '−1.23e-5', '–', 'not a number', '−∞')
    """
    if value is not None and math.isnan(value):
        return "not a number"
    return _signs(numbers.number(value, digits, least=least)).replace("inf", "∞")


def percent(share: float | None) -> str:
    """Return a share in percent.

    >>> percent(0.12345), percent(-0.00001), percent(-0.5), percent(None)
    ('12.3 %', '>−0.1 %', '−50.0 %', '–')
    """
    return number(share) if share is None or not math.isfinite(share) else _signs(numbers.percent(share))


def signed(value: float | None) -> str:
    """Return a cosine: always with its sign, but for zero.

    >>> signed(0.256), signed(-1.0)
    ('+0.26', '−1.00')
    """
    return number(value) if value is None or not math.isfinite(value) else _signs(numbers.signed(value))


def count(value: float) -> str:
    """Return a step or a count: ``12,000``."""
    return _signs(numbers.count(value))


def _signs(text: str) -> str:
    """Return ``text`` with a true minus sign for the number's, and a hyphen in its exponent."""
    return text.replace("-", "−").replace("e−", "e-")
