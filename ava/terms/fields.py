"""Types of fields that several sections share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

__all__ = ["Bounds", "ExpertUsage", "WeightRange", "as_tuple"]


def as_tuple(value: object) -> object:
    """Turn a list (what YAML gives) into a tuple, so that the section hashes; leave the rest to the type."""
    return tuple(value) if isinstance(value, list) else value


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if low > high:
        raise PydanticCustomError(
            "range_order",
            "the first value, {low}, should not be above the second, {high}",
            {"low": low, "high": high},
        )
    return bounds


_Positive = Annotated[float, Field(gt=0)]

Bounds = Annotated[tuple[_Positive, _Positive], BeforeValidator(as_tuple), AfterValidator(_ordered)]
"""``[low, high]``, both above 0, in order."""

WeightRange = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=1)]], BeforeValidator(as_tuple)
]
"""``[low, high]`` with ``0 <= low <= 1 <= high``."""


def _usage_kind(value: object) -> str:
    return "list" if isinstance(value, (list, tuple)) else "number"


_Share = Annotated[float, Field(gt=0, le=1)]

ExpertUsage = Annotated[
    Annotated[_Share, Tag("number")]
    | Annotated[tuple[_Share, ...], Field(min_length=1), BeforeValidator(as_tuple), Tag("list")],
    Discriminator(_usage_kind),
]
"""A share of the load for every expert, or one share per expert."""
