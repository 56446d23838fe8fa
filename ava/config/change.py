"""A difference between two configurations: what changed, how much it matters, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ava.errors import Path

__all__ = ["CLASSES", "Change", "ChangeClass", "worst_first"]

ChangeClass = Literal["breaking", "objective", "numerics", "reporting", "cosmetic"]
CLASSES: tuple[ChangeClass, ...] = ("breaking", "objective", "numerics", "reporting", "cosmetic")
"""The classes, worst first."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a resolved configuration.

    Attributes:
        path: the field, ``("terms", "z_loss", "weight")``; empty where the whole file is meant.
        class_: ``breaking``: it needs an input, a parameter shape or a state that it did not, or no longer loads;
            ``objective``: value or gradient differ beyond rounding; ``numerics``: rounding or cost only;
            ``reporting``: what is checked and shown; ``cosmetic``: nothing but the text.
        before: the value as plain data; None also for a term that was off.
        after: the same afterwards.
        consequence: what follows, in words, parts separated by ``; ``.
        file: where it was set (the parent's file for a change that a parent made); None for what is in no file.
        line: its line there.
    """

    path: Path
    class_: ChangeClass
    before: Any
    after: Any
    consequence: str
    file: str | None = None
    line: int | None = None

    @property
    def name(self) -> str:
        """The path as ``--set`` takes it: ``terms.z_loss.weight``."""
        return ".".join(map(str, self.path))

    @property
    def rank(self) -> int:
        """Place of its class: 0 is the worst."""
        return CLASSES.index(self.class_)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "path": self.name,
            "class": self.class_,
            "before": self.before,
            "after": self.after,
            "consequence": self.consequence,
            "file": self.file,
            "line": self.line,
        }


def worst_first(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes class by class, worst first, each class in the order it came."""
    return tuple(sorted(changes, key=lambda change: change.rank))
