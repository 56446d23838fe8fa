"""Operators of our own: each is one opaque node of a compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch

__all__ = ["operator"]

F = TypeVar("F", bound=Callable[..., Any])
_LIBRARY = torch.library.Library("ava", "FRAGMENT")  # type: ignore[no-untyped-call]


def operator(
    name: str, fake: Callable[..., Any], mutates: Sequence[str] = (), on_cpu: Callable[..., Any] | None = None
) -> Callable[[F], F]:
    """Register the decorated function as ``torch.ops.ava.<name>``, which takes its place.

    ``torch.library.custom_op`` does so too, with wrappers in Python around every call that take a tenth of a
    millisecond where a pass over the vocabulary has left the caches cold. Without them it is the function that sees
    to it that no gradient flows through, and that no answer shares storage with an argument.

    Args:
        name: the operator's.
        fake: takes the same arguments, and returns answers of the same shapes and dtypes.
        mutates: names of the arguments that are written to.
        on_cpu: what takes the function's place for tensors of a CPU.
    """

    def register(function: F) -> F:
        schema = name + torch.library.infer_schema(function, mutates_args=mutates)
        _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        if on_cpu is not None:
            _LIBRARY.impl(name, on_cpu, "CPU")  # type: ignore[no-untyped-call]
        torch.library.register_fake(f"ava::{name}", fake, lib=_LIBRARY)
        return cast("F", getattr(torch.ops.ava, name).default)

    return register
