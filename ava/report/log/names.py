"""Where a key of a log belongs in the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Place", "place"]

Group = Literal["total", "weighted", "raw", "metrics", "other"]

_COUNTERS = frozenset(
    ("epoch", "iteration", "tokens", "seconds", "time", "wall_time", "timestamp", "elapsed", "_runtime", "_timestamp")
)
_FULL = {"total_loss": "total", "main_loss": "main"}
_UPWARD = ("perplexity", "grad_norm", "expert_load_cv", "expert_load_max", "loss")


@dataclass(frozen=True, slots=True)
class Place:
    """A value's place: its group, its name there, and what stood before (``eval`` of ``eval/loss/main``)."""

    group: Group
    name: str
    prefix: str = ""

    @property
    def title(self) -> str:
        """What a chart of it is called."""
        return f"{self.name} ({self.prefix})" if self.prefix else self.name

    @property
    def spiky(self) -> bool:
        """Whether a sudden rise of it is worth a mark: of losses and what goes with them, not of rates and scores."""
        return self.group in ("total", "weighted", "raw") or self.name.rpartition("/")[2] in _UPWARD


def place(key: str) -> Place | None:
    """Return where ``key`` belongs; None for what only counts on, such as seconds.

    >>> place("loss/z_loss").group, place("eval/raw/main_loss"), place("lr").group, place("seconds")
    ('weighted', Place(group='raw', name='main', prefix='eval'), 'other', None)
    """
    parts = key.split("/")
    if parts[-1].lower() in _COUNTERS and "metrics" not in parts:
        return None
    if key in _FULL:
        return Place("total" if key == "total_loss" else "weighted", _FULL[key])
    at = next((index for index, part in enumerate(parts[:-1]) if part in ("loss", "raw", "metrics")), None)
    if at is None:
        return Place("other", key)
    prefix, name = "/".join(parts[:at]), "/".join(parts[at + 1 :])
    if parts[at] == "metrics":
        return Place("metrics", name, prefix)
    name = _FULL.get(name, name)
    if parts[at] == "raw":
        return Place("raw", name, prefix)
    return Place("total" if name == "total" else "weighted", name, prefix)
