"""The engines that a loss can run on, and the memory that each takes at a given shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ava.plan.plan import ENGINES, Engine, Plan

__all__ = ["ASSUMED_HIDDEN", "EngineInfo", "Shape", "explain_engines"]

ASSUMED_HIDDEN = 768
ITEMSIZES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
_GIVEN = {
    "logits": "logits [B, T, V]",
    "linear": "hidden states and the head's weight; the logits never exist as a whole",
    "vocab_parallel": "logits of which each rank has a part of the columns",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The call that the memory is for; ``ranks`` share the vocabulary where an engine is parallel over it."""

    batch: int = 8
    length: int = 1024
    dtype: str = "bfloat16"
    ranks: int = 2

    def __str__(self) -> str:
        return f"{self.batch} × {self.length} positions in {self.dtype}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"batch": self.batch, "seq_len": self.length, "dtype": self.dtype, "ranks": self.ranks}


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine: what it is given, and the bytes that it holds at the most above that, on each rank.

    ``hidden_size`` is what the linear engine's memory is for, ``assumed`` where the configuration does not say it.
    """

    name: Engine
    given: str
    bytes: int
    hidden_size: int | None = None
    assumed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"engine": self.name, "given": self.given, "bytes": self.bytes, "hidden_size": self.hidden_size}


def explain_engines(plan: Plan, vocab_size: int, shape: Shape) -> tuple[EngineInfo, ...]:
    """Return each engine with its memory.

    >>> from ava.config import Config
    >>> told = explain_engines(Plan(Config.load({"version": 1})), 50257, Shape(1, 512, "float32"))
    >>> [info.name for info in told], told[0].bytes > told[2].bytes
    (['logits', 'linear', 'vocab_parallel'], True)
    """
    model = plan.config.model
    width, itemsize, rows = model.padded_vocab_size or vocab_size, ITEMSIZES[shape.dtype], shape.batch * shape.length
    infos = []
    for name in ENGINES:
        columns = -(-width // shape.ranks) if name == "vocab_parallel" else width
        hidden = (model.hidden_size or ASSUMED_HIDDEN) if name == "linear" else model.hidden_size
        size = plan.memory(rows, columns, itemsize, name, hidden_size=hidden)
        assumed = name == "linear" and model.hidden_size is None
        infos.append(EngineInfo(name, _GIVEN[name], size, hidden if name == "linear" else None, assumed))
    return tuple(infos)
