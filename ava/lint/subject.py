"""What a rule over several sections looks at, and what such a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ava.config import Config
from ava.errors import Path, Rule
from ava.load import Source
from ava.terms.advice import Advice, Project
from ava.terms.base import Schedule, Term

__all__ = ["ConfigRule", "Subject", "numbers"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A configuration, where each of its values was set, and the project that it is used in.

    Of a file with errors, ``config`` holds what is right in it.
    """

    config: Config
    source: Source
    project: Project

    def says(self, *path: str) -> bool:
        """Return whether some file or override sets the field at ``path`` to anything but null."""
        node = self.source.get(path)
        return node is not None and node.value is not None

    @property
    def describes_model(self) -> bool:
        """Whether the configuration describes its model, rather than leaving that to the caller."""
        return any(self.says("model", name) for name in ("vocab_size", "padded_vocab_size", "hidden_size"))


@dataclass(frozen=True, slots=True)
class ConfigRule(Rule):
    """A rule about a configuration; ``project`` is the one under which the rule's example shows it."""

    check: Callable[[Subject], Iterator[Advice]]
    project: Project = field(default=Project())


def numbers(term: Term) -> Iterator[tuple[Path, float]]:
    """Yield the numbers of a term's weight with their paths: one, or where a schedule starts and ends."""
    path: Path = ("terms", term.name, "weight")
    if isinstance(term.weight, Schedule):
        yield (*path, "from"), term.weight.start
        yield (*path, "to"), term.weight.to
    else:
        yield path, term.weight
