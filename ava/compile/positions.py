"""What each position predicts and has read, from the integers of a call: the same lines for tensors and for arrays.

Torch and numpy write what is done here alike, so it is written once: :mod:`ava.compile.prepare` has it done by torch,
:mod:`ava.compile.prepare_cpu` by numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["NOTHING", "History", "Reader"]

Array: TypeAlias = Any
"""A tensor, or an array of numpy."""
_APART = -(1 << 40)
NOTHING = -(1 << 41)
"""Equals no token, and none of the numbers that stand where there is none."""


@dataclass(frozen=True, slots=True)
class History:
    """What was read before each prediction, ``[B, T]`` each.

    Attributes:
        facts: those that were wanted, by name.
        apart: the token just before; where there is none, a negative number that equals no other in the row.
        known: the same, ``-1`` where it is no token of the vocabulary.
        age: positions since the segment's first; 0 where nothing is predicted.
    """

    facts: dict[str, Array]
    apart: Array
    known: Array
    age: Array


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads ``targets [B, T]`` and what comes with them.

    Attributes:
        xp: the library that does it, ``torch`` or ``numpy``.
        latest: of numbers ``[B, T]`` that nowhere fall, and marks: the last marked number up to each position.
        vocab_size: columns that take part; a token outside is never picked.
        shift: whether targets are the inputs themselves.
        ignore_index: target that does not count.
        eos_token_id: token that ends a document.
        pad_token_id: token that does not count, unless it equals ``eos_token_id``.
    """

    xp: Any
    latest: Callable[[Array, Array], Array]
    vocab_size: int
    shift: bool
    ignore_index: int
    eos_token_id: int | None
    pad_token_id: int | None

    def predictions(self, targets: Array, unmasked: Array | None) -> tuple[Array, Array, Array]:
        """Return the token that each position predicts, whether that counts, and its column, ``-1`` for none."""
        y = targets
        if self.shift:
            y = self._from_right(targets, self.ignore_index)
            unmasked = None if unmasked is None else self._from_right(unmasked, False)
        valid = self._counts(y, unmasked)
        return y, valid, self.xp.where(valid, self._known(y), -1)

    def history(
        self,
        y: Array,
        valid: Array,
        targets: Array,
        unmasked: Array | None,
        input_ids: Array | None,
        segment_ids: Array | None,
        position: Array,
        wants: Collection[str],
    ) -> History:
        """Return what was read before each prediction.

        Args:
            y: ``[B, T]`` the token that each position predicts.
            valid: bool ``[B, T]``, whether that counts.
            targets: ``[B, T]``.
            unmasked: bool ``[B, T]``, what is no padding.
            input_ids: ``[B, T]``, what the model read; else it is told from the targets.
            segment_ids: ``[B, T]``, the document of each token in a packed row.
            position: ``[T]``, 0, 1, 2, …
            wants: any of ``context``, ``run``, ``before``, ``segment``.
        """
        xp = self.xp
        if input_ids is not None:
            u, defined = input_ids, self._counts(input_ids, unmasked)
        elif self.shift:
            u, defined = targets, self._counts(targets, unmasked)
        else:
            u, defined = self._from_left(y, self.ignore_index), self._from_left(valid, False)

        # Segments: a new one starts where the document changes, or after an end-of-document token. No context crosses.
        starts = xp.zeros_like(valid)
        if segment_ids is not None:
            ids = segment_ids
            if self.shift:
                ids = self._from_right(segment_ids, 0)
                ids[:, -1:] = segment_ids[:, -1:]  # the last position predicts nothing: it stays with the one before
            starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
            defined = defined & ~starts
            if self.shift:  # targets[t] may stand in another document than targets[t + 1]
                defined = defined & (ids == segment_ids)
        elif self.eos_token_id is not None:
            starts[:, 1:] = (defined & (u == self.eos_token_id))[:, 1:]
            defined = defined & ~starts
        starts[:, :1] = True

        since = self.latest(position, starts)
        apart = xp.where(defined, u, _APART - position)
        known = self._known(apart)
        facts = {}
        if "context" in wants:
            facts["context"] = xp.where(valid, known, -1)
        if "run" in wants:
            differs = xp.ones_like(valid)
            differs[:, 1:] = apart[:, 1:] != apart[:, :-1]
            facts["run"] = position - self.latest(position, differs) + 1
        if "before" in wants:
            counted = valid.cumsum(1, dtype=xp.int64) - 1 * valid
            facts["before"] = counted - self.latest(counted, starts)
        if "segment" in wants:
            facts["segment"] = starts.cumsum(1, dtype=xp.int64)
        return History(facts, apart, known, xp.where(valid, position - since, 0))

    def _counts(self, tokens: Array, unmasked: Array | None) -> Array:
        counts = tokens != self.ignore_index
        if unmasked is not None:
            counts = counts & unmasked
        if self.pad_token_id is None or self.pad_token_id == self.eos_token_id:
            return counts
        return counts & (tokens != self.pad_token_id)

    def _known(self, tokens: Array) -> Array:
        return self.xp.where((tokens >= 0) & (tokens < self.vocab_size), tokens, -1)

    def _from_right(self, values: Array, fill: int) -> Array:
        moved = self.xp.full_like(values, fill)
        moved[:, :-1] = values[:, 1:]
        return moved

    def _from_left(self, values: Array, fill: int) -> Array:
        moved = self.xp.full_like(values, fill)
        moved[:, 1:] = values[:, :-1]
        return moved
