"""A term for ``ava-loss``, found through the entry-point group ``ava.terms``."""

from __future__ import annotations

from ava_overconfidence.overconfidence_penalty import OverconfidencePenalty

__all__ = ["OverconfidencePenalty"]
