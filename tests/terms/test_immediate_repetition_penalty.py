"""``immediate_repetition_penalty``: the unlikelihood of the token just read."""

from __future__ import annotations

import math

import pytest

from ava.terms.base import CONTEXT, TARGET
from tests.terms.by_hand import LOG2, close, flat, logs, make, raw, row, slope, term

UL = -math.log(1 - 1 / 5)  # of any one of five equally likely tokens


def charged(settings: dict[str, int], targets: tuple[int, ...], *, shift: bool = False, **given: object) -> float:
    """Return how many positions pay, of a model that prefers nothing among five tokens."""
    inputs = {name: row(*given.pop(name)) for name in ("input_ids", "segment_ids", "attention_mask") if name in given}
    loss = make({"immediate_repetition_penalty": settings}, shift=shift, **given)
    return raw(loss, flat(len(targets), 5), row(*targets), num_items=1, **inputs) / UL


@pytest.mark.parametrize(("threshold", "positions"), [(2, 2), (3, 1), (4, 1), (5, 0)])
def test_runs_against_the_threshold(threshold: int, positions: int) -> None:
    # read 1 1 1 2, then 1 1 2 3: the first two repeats are the text's own. At t = 2 a fourth 1, at t = 3 a second 2.
    settings = {"threshold": threshold}
    assert charged(settings, (1, 1, 2, 3), input_ids=(1, 1, 1, 2)) == pytest.approx(positions)


def test_context_without_input_ids() -> None:
    # targets 1 1 2 3 were read as - 1 1 2: positions 2 and 3 pay, 0 has no context
    assert charged({}, (1, 1, 2, 3)) == pytest.approx(2)
    # with shift the tokens 1 1 2 3 are read themselves and predict 1 2 3: positions 1 (1) and 2 (2)
    assert charged({}, (1, 1, 2, 3), shift=True) == pytest.approx(2)


def test_value_and_gradient() -> None:
    # p = ½: -log(1 - ½) = log 2, gradient p_c = ½ on it and -p_c p_v/(1 - p_c) = -¼ on the others
    loss, logits = make({"immediate_repetition_penalty": {}}), logs((0.5, 0.25, 0.25))
    assert raw(loss, logits, row(1), input_ids=row(0)) == pytest.approx(LOG2)
    close(slope(loss, logits, logits, row(1), input_ids=row(0)), [[[0.5, -0.25, -0.25]]])


def test_certain_repeat_feels_a_push_of_one() -> None:
    # gap 50: value log(1 + e^50) ≈ 50, in float32 too
    loss = make({"immediate_repetition_penalty": {}})
    logits = (50 * logs((1, math.exp(-1)))).float().detach().requires_grad_()
    assert raw(loss, logits, row(1), input_ids=row(0)) == pytest.approx(50, rel=1e-6)
    close(slope(loss, logits, logits, row(1), input_ids=row(0)), [[[1, -1]]], rtol=1e-5)
    # and gap 22 in float64 keeps its e^-22
    wide = 22 * logs((1, math.exp(-1)))
    assert raw(loss, wide, row(1), input_ids=row(0)) == pytest.approx(22 + math.exp(-22), rel=1e-14)


def test_packed_documents_do_not_see_each_other() -> None:
    # read 1 2 | 3 4: the first token of the second document was not predicted from the first one
    assert charged({}, (2, 3, 4, 1), input_ids=(1, 2, 3, 4)) == pytest.approx(4)
    assert charged({}, (2, 3, 4, 1), input_ids=(1, 2, 3, 4), segment_ids=(0, 0, 1, 1)) == pytest.approx(3)
    # an EOS in the context starts a document, and is no context itself; as a row's first token it is
    assert charged({}, (2, 3, 4, 1), input_ids=(1, 2, 0, 4), eos_token_id=0) == pytest.approx(3)
    assert charged({}, (2, 3, 4, 1), input_ids=(0, 2, 3, 4), eos_token_id=0) == pytest.approx(4)


def test_undefined_context_ends_a_run() -> None:
    # 1 1 [masked] 1: position 2 is not valid and no context; at position 3 the run begins anew
    inputs = {"input_ids": (1, 1, 1, 1), "attention_mask": (1, 1, 0, 1)}
    assert charged({}, (2, 2, 2, 2), **inputs) == pytest.approx(3)
    assert charged({"threshold": 3}, (2, 2, 2, 2), **inputs) == pytest.approx(1)
    # a pad that is not EOS is no context either
    assert charged({}, (2, 2, 2, 3), input_ids=(1, 4, 1, 1), pad_token_id=4) == pytest.approx(3)


def test_needs_and_untrained() -> None:
    pairs = term("immediate_repetition_penalty")
    assert pairs.needs().picks == (CONTEXT, TARGET)
    assert pairs.needs().positions == frozenset()
    assert pairs.untrained(5) == pytest.approx(UL)
    loss = make({"immediate_repetition_penalty": {}})
    assert raw(loss, flat(2, 5), row(1, 2), input_ids=row(3, 4)) == pytest.approx(pairs.untrained(5))
    triples = term("immediate_repetition_penalty", threshold=3)
    assert triples.needs().positions == {"run"}
    assert triples.untrained(5) == 0
