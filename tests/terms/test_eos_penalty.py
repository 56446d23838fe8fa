"""``eos_penalty``: the unlikelihood of ending a document too early."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ava.errors import ArgumentValueError
from ava.terms.base import EOS, TARGET
from tests.terms.by_hand import LOG2, close, flat, logs, make, raw, row, slope, term

UL = -math.log(1 - 1 / 5)  # of any one of five equally likely tokens


def charged(min_length: int, targets: tuple[int, ...], **given: Any) -> float:
    """Return how many positions pay; EOS is token 0."""
    inputs = {name: row(*given.pop(name)) for name in ("input_ids", "segment_ids", "attention_mask") if name in given}
    loss = make({"eos_penalty": {"min_length": min_length}}, eos_token_id=0, **given)
    return raw(loss, flat(len(targets), 5), row(*targets), num_items=1, **inputs) / UL


def test_first_positions_of_a_row() -> None:
    assert charged(1, (1, 2, 3, 4)) == pytest.approx(1)
    assert charged(3, (1, 2, 3, 4)) == pytest.approx(3)
    assert charged(20, (1, 2, 3, 4)) == pytest.approx(4)


def test_where_the_text_ends_nothing_is_charged() -> None:
    assert charged(20, (1, 0, -100, -100)) == pytest.approx(1)


def test_each_document_has_its_own_start() -> None:
    # 1 2 3 EOS | 1 2: positions 0, 1 of the first document and both of the second one
    assert charged(2, (1, 2, 3, 0, 1, 2)) == pytest.approx(4)
    # with segment ids, which go first, the second document starts earlier: 0, 1 and 2; its second position is an EOS
    assert charged(2, (1, 2, 3, 0, 1, 2), segment_ids=(0, 0, 1, 1, 1, 1)) == pytest.approx(3)


def test_only_valid_positions_are_counted() -> None:
    # a prompt of two ignored tokens and a masked one: q is 0 at position 2 and 1 at position 4
    assert charged(2, (-100, -100, 3, 4, 1, 2), attention_mask=(1, 1, 1, 0, 1, 1)) == pytest.approx(2)


def test_value_and_gradient() -> None:
    # p(eos) = ½: log 2; ½ on EOS, -½·¼/½ on the others
    loss = make({"eos_penalty": {"min_length": 1}}, eos_token_id=0)
    logits = logs((0.5, 0.25, 0.25), (0.5, 0.25, 0.25))
    assert raw(loss, logits, row(1, 2)) == pytest.approx(LOG2 / 2)
    close(slope(loss, logits, logits, row(1, 2)), [[[0.25, -0.125, -0.125], [0, 0, 0]]])


def test_without_an_eos_token_the_loss_cannot_be_built() -> None:
    with pytest.raises(ArgumentValueError, match=r"`eos_penalty` needs `model.eos_token_id`.*eos_token_id=…"):
        make({"eos_penalty": {}})


def test_needs_and_untrained() -> None:
    eos = term("eos_penalty")
    needs = eos.needs()
    assert needs.picks == (EOS, TARGET)
    assert needs.positions == {"before"}
    assert needs.model == ("eos_token_id",)
    assert eos.untrained(5) == pytest.approx(UL)
    assert raw(make({"eos_penalty": {}}, eos_token_id=0), flat(3, 5), row(1, 2, 3)) == pytest.approx(eos.untrained(5))
    assert eos.untrained(1) == 0
