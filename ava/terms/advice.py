"""What a rule of advice looks like: a rule that comes with its check. A term's own rules stand beside the term.

Advice is a finding that does not make a file invalid: a warning, or an info.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ava.errors import Path, Rule

__all__ = ["Advice", "Project", "TermRule"]

Dtype = Literal["float16", "bfloat16", "float32", "float64"]


@dataclass(frozen=True, slots=True)
class Project:
    """What a project says of its training in ``[tool.ava-loss]``; None is unknown, and then no rule asks.

    Attributes:
        sequence_length: positions of a row.
        batch_size: rows of a forward pass on one device.
        training_steps: optimizer steps of the whole run.
        dtype: of the logits.
    """

    sequence_length: int | None = None
    batch_size: int | None = None
    training_steps: int | None = None
    dtype: Dtype | None = None

    @property
    def tokens(self) -> int | None:
        """Positions of a forward pass."""
        if self.sequence_length is None or self.batch_size is None:
            return None
        return self.sequence_length * self.batch_size


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice: the finding is at ``path``, with ``key`` at its key; ``others`` played a part too.

    Where ``path`` comes from a parent and one of ``others`` from the file itself, the finding is there instead. With
    ``idle`` there is none in that case: a parent's field that the file made idle is nobody's mistake.
    """

    message: str
    path: Path
    others: tuple[Path, ...] = ()
    key: bool = False
    idle: bool = False


@dataclass(frozen=True, slots=True)
class TermRule(Rule):
    """A rule about one term: ``check`` gets the term and the project, and its paths start at the term.

    ``project`` is the one under which the rule's example shows it.
    """

    check: Callable[[Any, Project], Iterator[Advice]]
    project: Project = Project()
