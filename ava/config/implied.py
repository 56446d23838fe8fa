"""What one field of a document implies for another."""

from __future__ import annotations

from typing import Any

__all__ = ["with_mtp"]


def with_mtp(data: dict[str, Any]) -> dict[str, Any]:
    """Return ``data`` with the term that ``primary.type: adaptive_mtp`` implies, where nothing there says otherwise.

    >>> with_mtp({"primary": {"type": "adaptive_mtp"}})["terms"]
    {'mtp_loss': {'weighting': 'adaptive'}}
    """
    primary, terms = data.get("primary"), data.get("terms", {})
    kind = primary.get("type") if isinstance(primary, dict) else getattr(primary, "type", None)
    if kind != "adaptive_mtp" or not isinstance(terms, dict):
        return data
    term = terms.get("mtp_loss", {})
    if not isinstance(term, dict):
        return data
    return {**data, "terms": {**terms, "mtp_loss": {"weighting": "adaptive", **term}}}
