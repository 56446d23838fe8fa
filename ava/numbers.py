"""Numbers as people read them, the same in a message, in a terminal and on a page."""

from __future__ import annotations

import math

__all__ = ["bytes_text", "change_text", "count", "number", "percent", "plural", "short", "signed"]


def short(value: float, digits: int = 6) -> str:
    """Return a value as it is written in a file: ``digits`` digits at the most, no zero in its exponent.

    >>> short(0.1), short(3.0), short(0.00001), short(0.123456, 3), short(float("inf"))
    ('0.1', '3', '1e-5', '0.123', 'inf')
    """
    mantissa, e, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def number(value: float | None, digits: int = 4, *, least: float = 1e-4) -> str:
    """Return a measured number in about ``digits`` digits, thousands apart, in powers of ten below ``least``; a dash
    for none.

    >>> number(1234.5678), number(-0.00001234), number(2.50), number(None), number(float("nan"))
    ('1,235', '-1.23e-5', '2.5', '–', 'nan')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value and not least <= size < 1e6:
        mantissa, exponent = f"{size:.{max(digits - 2, 0)}e}".split("e")
        text = f"{_short(mantissa)}e{int(exponent)}"
    else:
        decimals = max(digits - 1 - math.floor(math.log10(size)), 0) if size else 0
        text = _short(f"{size:,.{decimals}f}")
    return f"-{text}" if value < 0 else text


def change_text(value: float, digits: int = 3) -> str:
    """Return a difference, with its sign.

    >>> change_text(0.1), change_text(-0.00009), change_text(0.0)
    ('+0.1', '-9e-5', '0')
    """
    text = number(value, digits)
    return f"+{text}" if value > 0 else text


def percent(share: float | None) -> str:
    """Return a share in percent; a dash for none.

    >>> percent(0.12345), percent(0.00001), percent(-0.00001), percent(0.0), percent(-0.5), percent(None)
    ('12.3 %', '<0.1 %', '>-0.1 %', '0 %', '-50.0 %', '–')
    """
    if share is None or not math.isfinite(share):
        return number(share)
    if share == 0:
        return "0 %"
    if abs(share) < 0.001:
        return "<0.1 %" if share > 0 else ">-0.1 %"
    return f"{100 * share:.1f} %"


def signed(value: float | None) -> str:
    """Return a cosine: always with its sign, but for zero.

    >>> signed(0.256), signed(-1.0), signed(0.001)
    ('+0.26', '-1.00', '0.00')
    """
    if value is None or not math.isfinite(value):
        return number(value)
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}"


def count(value: float) -> str:
    """Return a step or a count: ``12,000``."""
    return f"{value:,.0f}" if value == round(value) else number(value, 8)


def plural(value: int, word: str) -> str:
    """Return ``1 step``, ``2 steps``."""
    return f"{value:,} {word}{'' if value == 1 else 's'}"


def bytes_text(value: float) -> str:
    """Return a number of bytes.

    >>> bytes_text(900), bytes_text(2376460), bytes_text(836_660_000)
    ('900 B', '2.3 MiB', '798 MiB')
    """
    size, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def _short(text: str) -> str:
    """Return a decimal without the zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text
