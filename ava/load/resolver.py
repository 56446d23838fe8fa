"""Plain scalars by the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema).

>>> [resolve(text) for text in ("1e-3", "017", "0o17", "0x1F", ".5", "on", "2026-01-02", "1:30", "~")]
[0.001, 17, 15, 31, 0.5, 'on', '2026-01-02', '1:30', None]
"""

from __future__ import annotations

import math
import re

__all__ = ["bounded", "resolve"]

_CONSTANTS: dict[str, bool | float | None] = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((sign + word for sign in ("", "+") for word in (".inf", ".Inf", ".INF")), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_FLOAT_DIGITS = 309  # an integer of more digits than this is beyond the largest float


def resolve(text: str) -> bool | int | float | str | None:
    """Return the value of the plain scalar ``text``.

    A number too large for a float is infinity, which validation refuses: so nothing that comes out of here
    can overflow later, and none is too long to print.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-").lstrip("0")
        if len(digits) > _FLOAT_DIGITS:
            return -math.inf if text[0] == "-" else math.inf
        return bounded(int(text[0] + digits if text[0] == "-" else digits)) if digits else 0
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text):
        return bounded(int(text[2:], 8))
    if _HEXADECIMAL.fullmatch(text):
        return bounded(int(text[2:], 16))
    return text


def bounded(number: int) -> int | float:
    """Return ``number``, or the infinity of its sign where it is beyond the largest float.

    >>> bounded(10**308) == 10**308, bounded(-(10**5000))
    (True, -inf)
    """
    try:
        float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    return number
