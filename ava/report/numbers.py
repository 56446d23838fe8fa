"""Numbers as a page shows them: short, with a true minus sign and thousands apart."""

from __future__ import annotations

import math

__all__ = ["bytes_text", "count", "number", "percent", "plural", "signed"]


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in about ``digits`` digits; a dash for none.

    >>> number(1234.5678), number(-0.00001234), number(None), number(float("nan"))
    ('1,235', '−1.23e-5', '–', 'not a number')
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if value and not 1e-4 <= size < 1e6:
        mantissa, exponent = f"{size:.{max(digits - 2, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(exponent)}"
    else:
        decimals = max(digits - 1 - math.floor(math.log10(size)), 0) if size else 0
        text = f"{size:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"−{text}" if value < 0 else text


def percent(share: float | None) -> str:
    """Return a share in percent.

    >>> percent(0.12345), percent(0.00001), percent(0.0), percent(-0.5), percent(None)
    ('12.3 %', '<0.1 %', '0 %', '−50.0 %', '–')
    """
    if share is None:
        return "–"
    if not math.isfinite(share):
        return number(share)
    if share == 0:
        return "0 %"
    text = "<0.1 %" if abs(share) < 0.001 else f"{100 * abs(share):.1f} %"
    return f"−{text}" if share < 0 else text


def signed(value: float | None) -> str:
    """Return a cosine: always with its sign, but for zero.

    >>> signed(0.256), signed(-1.0), signed(0.001)
    ('+0.26', '−1.00', '0.00')
    """
    if value is None or not math.isfinite(value):
        return number(value)
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "−")


def count(value: float) -> str:
    """Return a step or a count: ``12,000``."""
    return f"{value:,.0f}".replace("-", "−") if value == round(value) else number(value, 8)


def plural(value: int, word: str) -> str:
    """Return ``1 step``, ``2 steps``."""
    return f"{value:,} {word}{'' if value == 1 else 's'}"


def bytes_text(value: float) -> str:
    """Return a number of bytes.

    >>> bytes_text(2376460)
    '2.3 MiB'
    """
    size, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
