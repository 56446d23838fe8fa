"""Values, numbers and shares as people read them."""

from __future__ import annotations

from typing import Any

__all__ = ["cost_text", "number", "percent", "plain_number", "range_text", "value_text"]


def number(value: float | None, digits: int = 4) -> str:
    """Return a number at a readable length; a dash for none."""
    if value is None:
        return "–"
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 2}e}".split("e") if abs(value) != float("inf") else ("inf", "")
        return f"{mantissa}e{int(exponent)}" if exponent else f"{value}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.0f}"


def percent(share: float | None) -> str:
    """Return a share in percent; below a tenth as ``<0.1 %``, a dash for none.

    >>> percent(0.12345), percent(0.00001), percent(0.0)
    ('12.3 %', '<0.1 %', '0 %')
    """
    if share is None:
        return "–"
    if share != share or share in (float("inf"), float("-inf")):
        return str(share)
    if share == 0:
        return "0 %"
    return f"{'-' if share < 0 else ''}<0.1 %" if abs(share) < 0.001 else f"{100 * share:.1f} %"


def plain_number(value: float) -> str:
    """Return a number as ``:g`` has it, without the zero of its exponent: ``1e-5``."""
    mantissa, e, exponent = f"{value:g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def value_text(value: Any) -> str:
    """Return a field's value as YAML has it; a schedule in words."""
    if isinstance(value, dict) and "steps" in value:
        delay = f" after {value['delay']}" if value.get("delay") else ""
        start, to = plain_number(value["from"]), plain_number(value["to"])
        return f"{start} → {to} over {value['steps']} steps{delay}, {value['shape']}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    return plain_number(value) if isinstance(value, float) else str(value)


def range_text(limits: tuple[float, float] | None) -> str:
    """Return ``0.1 – 0.5``, or nothing."""
    return f"{plain_number(limits[0])} – {plain_number(limits[1])}" if limits else ""


def cost_text(cost: Any) -> str:
    """Return a plan's cost in words."""
    if cost is None:
        return "the one pass over the vocabulary that every loss makes"
    words = [
        f"{cost.columns} {'column' if cost.columns == 1 else 'columns'}" if cost.columns else "",
        f"{cost.saved_bytes} B saved" if cost.saved_bytes else "",
        f"{cost.flops} flops" if cost.flops else "",
        f"{cost.passes} more {'pass' if cost.passes == 1 else 'passes'} over the vocabulary" if cost.passes else "",
    ]
    words = [word for word in words if word]
    text = f"{' · '.join(words)} a row" if words else "nothing that the others do not need too"
    return text + (f" · {cost.parameters:,} parameters" if cost.parameters else "")
