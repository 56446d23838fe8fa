"""``ngram_penalty``: the unlikelihood of what would complete an n-gram of the window."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ava.terms.base import TARGET, Candidates
from tests.terms.by_hand import LOG2, close, flat, logs, make, raw, row, slope, term

UL = -math.log(1 - 1 / 5)  # of any one of five equally likely tokens


def charged(size: int, window: int, read: tuple[int, ...], last: int, **given: Any) -> int:
    """Return how many candidates pay when these tokens are read, each predicts the next one, and the last ``last``."""
    segments = {"segment_ids": row(*given.pop("segment_ids"))} if "segment_ids" in given else {}
    loss = make({"ngram_penalty": {"size": size, "window": window}}, **given)
    targets = row(*read[1:], last)
    count = raw(loss, flat(len(read), 5), targets, input_ids=row(*read), num_items=1, **segments) / UL
    assert count == pytest.approx(round(count), abs=1e-9)
    return round(count)


def test_bigrams_of_a_short_text() -> None:
    # read 1 2 1 3 1. At t = 2, 1 was followed by 2 (d = 2). At t = 4 it was followed by 3 (d = 2) and 2 (d = 4).
    assert charged(2, 1, (1, 2, 1, 3, 1), 4) == 0
    assert charged(2, 3, (1, 2, 1, 3, 1), 4) == 2
    assert charged(2, 4, (1, 2, 1, 3, 1), 4) == 3


def test_the_target_is_no_candidate_and_no_token_counts_twice() -> None:
    # at t = 4 the token 2 followed twice; as the target it is not charged
    assert charged(2, 50, (1, 2, 1, 2, 1), 3) == 1
    assert charged(2, 50, (1, 2, 1, 2, 1), 2) == 0


def test_longer_prefixes() -> None:
    # read 1 2 3 4 1 2: the pair 1 2 was followed by 3, the triple before it (4 1 2) was not there
    assert charged(3, 50, (1, 2, 3, 4, 1, 2), 0) == 1
    assert charged(3, 3, (1, 2, 3, 4, 1, 2), 0) == 0
    assert charged(4, 50, (1, 2, 3, 4, 1, 2), 0) == 0
    assert charged(4, 50, (3, 1, 2, 4, 3, 1, 2), 0) == 1
    assert charged(9, 50, (1, 2, 1), 0) == 0


def test_size_one_is_every_token_of_the_window() -> None:
    # candidates are u[t-d+1] for each d ≤ w with t-d ≥ 0. Read 1 2 3 with targets 2 3 0:
    # t = 1: {2}; t = 2: {3, 2} with w = 2, {3} with w = 1
    assert charged(1, 1, (1, 2, 3), 0) == 2
    assert charged(1, 2, (1, 2, 3), 0) == 3
    assert charged(1, 2, (1, 2, 3), 3) == 2


def test_value_and_gradient() -> None:
    # read 0 1 0: at t = 2 the candidate 1, p = ½: log 2, pushed by ½ down and the others by -p_v p/(1-p) = -¼
    half = (0.25, 0.5, 0.25)
    loss, logits = make({"ngram_penalty": {"size": 2}}), logs(half, half, half)
    inputs = {"input_ids": row(0, 1, 0), "num_items": 1}
    assert raw(loss, logits, row(1, 0, 2), **inputs) == pytest.approx(LOG2)
    close(slope(loss, logits, logits, row(1, 0, 2), **inputs), [[[0, 0, 0], [0, 0, 0], [-0.25, 0.5, -0.25]]])


def test_no_look_across_documents() -> None:
    # read 1 2 0 1: the earlier 1 2 stands in another document
    assert charged(2, 50, (1, 2, 0, 1), 3) == 1
    assert charged(2, 50, (1, 2, 0, 1), 3, eos_token_id=0) == 0
    assert charged(2, 50, (1, 2, 0, 1), 3, segment_ids=(0, 0, 1, 1)) == 0
    # read 1 2 | 4 1 3 1: in the second document 1 was followed by 3, and only that is seen
    assert charged(2, 50, (1, 2, 4, 1, 3, 1), 0, segment_ids=(0, 0, 1, 1, 1, 1)) == 1


def test_context_from_the_targets() -> None:
    # targets 1 2 1 3 were read as - 1 2 1: at t = 3 the candidate 2
    loss = make({"ngram_penalty": {"size": 2}})
    assert raw(loss, flat(4, 5), row(1, 2, 1, 3)) == pytest.approx(UL / 4)


def test_needs_and_untrained() -> None:
    ngram = term("ngram_penalty", size=3, window=7)
    assert ngram.needs().picks == (Candidates(3, 7), TARGET)
    assert ngram.untrained(5) == 0
    loss = make({"ngram_penalty": {"size": 3, "window": 7}})
    assert raw(loss, flat(4, 5), row(1, 2, 3, 4)) == ngram.untrained(5)
    assert term("ngram_penalty", size=1).untrained(5) is None
