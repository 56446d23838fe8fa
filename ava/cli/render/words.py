"""Values and ranges as people read them."""

from __future__ import annotations

from typing import Any

from ava.numbers import short

__all__ = ["range_text", "value_text"]


def value_text(value: Any) -> str:
    """Return a field's value as YAML has it; a schedule in words."""
    if isinstance(value, dict) and "steps" in value:
        from ava.terms.base import Schedule

        return Schedule.model_validate(value).text
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    return short(value) if isinstance(value, float) else str(value)


def range_text(limits: tuple[float, float] | None) -> str:
    """Return ``0.1 – 0.5``, or nothing."""
    return f"{short(limits[0])} – {short(limits[1])}" if limits else ""
