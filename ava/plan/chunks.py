"""How many rows of logits exist at a time where the head is applied in chunks."""

from __future__ import annotations

from typing import Literal

__all__ = ["chunk_rows"]

_LIMITS = {"cpu": (128, 512, 8), "gpu": (2048, 4096, 4)}
"""Fewest and most rows of a chunk, and the part of all rows that it should not exceed.

Shorter chunks lose to the overhead of their calls and read the head's weight more often; longer ones fall out of the
cache, and need memory for nothing.
"""
_SHARE_OF_FREE = 8


def chunk_rows(
    setting: int | Literal["auto"],
    rows: int,
    columns: int,
    itemsize: int,
    device: str = "cpu",
    free_bytes: int | None = None,
) -> int:
    """Return the rows of a chunk of logits, so that all chunks are of nearly equal size.

    >>> chunk_rows("auto", 2048, 50257, 4), chunk_rows(100, 250, 50257, 4)
    (256, 84)

    Args:
        setting: ``compile.chunk_tokens``.
        rows: rows there are, ``N``.
        columns: columns of the logits.
        itemsize: bytes of a logit.
        device: ``cpu``, or another type of device.
        free_bytes: memory left on the device; a chunk takes an eighth of it at the most.
    """
    if setting == "auto":
        fewest, most, part = _LIMITS["cpu" if device == "cpu" else "gpu"]
        size = min(max(-(-rows // part), fewest), most)
        if free_bytes is not None:
            size = min(size, max(1, free_bytes // _SHARE_OF_FREE // max(1, columns * itemsize)))
    else:
        size = setting
    chunks = max(1, -(-rows // size))
    return max(1, -(-rows // chunks))
