"""The integer work against the reference's loops, over small batches of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ava.compile.prepare import _prepare, prepare
from tests.reference.ngram_penalty import candidates as reference_candidates
from tests.reference.positions import positions

VOCAB = 4
WANTS = "before context run segment"
NGRAMS = [(1, 1), (1, 3), (2, 2), (2, 9), (3, 4), (4, 50), (9, 3)]


@dataclass(frozen=True)
class Call:
    """Arguments of ``prepare``, as plain lists."""

    targets: list[list[int]]
    attention_mask: list[list[int]] | None = None
    input_ids: list[list[int]] | None = None
    segment_ids: list[list[int]] | None = None
    shift: bool = False
    ignore_index: int = -100
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def tensors(self) -> dict[str, Tensor | None]:
        return {
            name: None if (value := getattr(self, name)) is None else torch.tensor(value).view(len(value), -1)
            for name in ("targets", "attention_mask", "input_ids", "segment_ids")
        }

    def ids(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("shift", "ignore_index", "eos_token_id", "pad_token_id")}


@st.composite
def calls(draw: st.DrawFn) -> Call:
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    ignore_index = draw(st.sampled_from([-100, -100, 0, 2]))
    # few distinct tokens repeat; some are outside the vocabulary, some are ignored
    token = st.sampled_from([0, 1, 1, 2, 3, VOCAB, -1, ignore_index])

    def table(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[int]]]:
        return st.lists(st.lists(values, min_size=length, max_size=length), min_size=batch, max_size=batch)

    return Call(
        targets=draw(table(token)),
        attention_mask=draw(st.none() | table(st.sampled_from([0, 1, 1, 2]))),
        input_ids=draw(st.none() | table(token)),
        segment_ids=draw(st.none() | table(st.integers(0, 2))),
        shift=draw(st.booleans()),
        ignore_index=ignore_index,
        eos_token_id=draw(st.none() | st.integers(0, VOCAB)),
        pad_token_id=draw(st.none() | st.integers(0, VOCAB)),
    )


def prepared(call: Call, wants: str = WANTS, function: Callable[..., list[Tensor]] = prepare) -> dict[str, Tensor]:
    """The operator's answers by name, ``[B, T]`` or ``[B, T, window]``, without the position a shift makes idle."""
    tensors = call.tensors()
    flat = [number for pair in NGRAMS for number in pair]
    answers = function(*tensors.values(), VOCAB, *call.ids().values(), wants, flat)
    targets = tensors["targets"]
    assert targets is not None
    shape = targets.shape
    names = ["valid", "target", *wants.split(), *(f"{size}, {window}" for size, window in NGRAMS)]
    idle = 1 if call.shift else 0
    out = {}
    for name, answer in zip(names, answers, strict=True):
        table = answer.view(*shape, *answer.shape[1:])
        if call.shift and name == "valid":
            assert not bool(table[:, -1].any())
        out[name] = table[:, : shape[1] - idle]
    return out


def in_vocab(token: int | None) -> int:
    return token if token is not None and 0 <= token < VOCAB else -1


@settings(max_examples=300)
@given(calls())
@example(Call([[1, 1, 1, 1, 1]], eos_token_id=1))
@example(Call([[1, 1, 2, 1, 1]], segment_ids=[[0, 1, 1, 2, 2]], shift=True))
@example(Call([[1]], shift=True))
@example(Call([[3, 3, 3, 3]], pad_token_id=3, eos_token_id=3))
@example(Call([[1, 2, 1, 2, 1, 2, 1, 2, 1]], input_ids=[[-100, 1, 2, 1, 2, 1, 2, 1, 2]]))
def test_positions(call: Call) -> None:
    tensors = call.tensors()
    at = positions(**tensors, **call.ids())
    found = prepared(call)
    assert found["valid"].tolist() == at.valid
    for b in range(at.batch):
        for t in range(at.length):
            here = f"at row {b}, position {t}"
            predicts = at.valid[b][t]
            assert int(found["target"][b, t]) == (in_vocab(at.targets[b][t]) if predicts else -1), here
            assert int(found["context"][b, t]) == (in_vocab(at.context[b][t]) if predicts else -1), here
            assert int(found["before"][b, t]) == at.before[b][t], here
            if at.context[b][t] is not None:
                assert int(found["run"][b, t]) == at.run[b][t], here
            assert int(found["segment"][b, t] - found["segment"][b, 0]) == at.segment[b][t], here
            for size, window in NGRAMS:
                row = found[f"{size}, {window}"][b, t].tolist()
                followed = reference_candidates(at, b, t, size, window) if predicts else set()
                wanted = {c for c in followed if in_vocab(c) >= 0}
                kept = [c for c in row if c >= 0]
                assert len(row) == window
                assert len(kept) == len(set(kept)), here
                assert set(kept) == wanted, f"{here}, size {size}, window {window}"


@settings(max_examples=300)
@given(calls())
@example(Call([[1, 1, 1, 1, 1]], eos_token_id=1))
@example(Call([[1, 1, 2, 1, 1]], segment_ids=[[0, 1, 1, 2, 2]], shift=True))
def test_an_accelerator_finds_what_a_cpu_does(call: Call) -> None:
    """Which has a way of its own, and that is the one that all other tests here take."""
    found, expected = prepared(call, function=_prepare), prepared(call)
    assert list(found) == list(expected)
    for name, answer in expected.items():
        same_order = answer.sort(2).values if answer.ndim == 3 else answer
        assert found[name].dtype == answer.dtype
        assert torch.equal(found[name].sort(2).values if answer.ndim == 3 else found[name], same_order), name


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
@pytest.mark.parametrize("function", [prepare, _prepare])
def test_nothing_in_nothing_out(function: Callable[..., list[Tensor]], shape: tuple[int, int]) -> None:
    targets = torch.zeros(shape, dtype=torch.int64)
    answers = function(targets, targets, None, targets, VOCAB, True, -100, 1, 2, WANTS, [1, 2, 4, 9])
    assert [tuple(answer.shape) for answer in answers] == [(0,)] * 6 + [(0, 2), (0, 9)]


def test_strides_and_masks_of_any_kind() -> None:
    tokens = torch.randint(0, VOCAB, (9, 2), generator=torch.Generator().manual_seed(3)).T
    mask = (tokens != 3).T.contiguous().T
    arguments = (VOCAB, False, -100, 1, None, WANTS, [2, 4])
    expected = prepare(tokens.contiguous(), mask.long().contiguous(), None, None, *arguments)
    for dtype in (torch.bool, torch.bfloat16, torch.int32, torch.float64):
        for answer, wanted in zip(prepare(tokens, mask.to(dtype), None, None, *arguments), expected, strict=True):
            assert torch.equal(answer, wanted)
            assert answer.is_contiguous()


@settings(max_examples=50)
@given(calls(), st.lists(st.sampled_from(WANTS.split()), unique=True))
def test_only_what_is_wanted_is_answered_in_the_order_asked_for(call: Call, wants: list[str]) -> None:
    everything, some = prepared(call), prepared(call, " ".join(wants))
    assert list(some)[2 : 2 + len(wants)] == wants
    for name, answer in some.items():
        assert torch.equal(answer, everything[name]), name


@settings(max_examples=50)
@given(calls())
def test_a_pad_that_is_eos_counts(call: Call) -> None:
    both = Call(**{**call.__dict__, "pad_token_id": 1, "eos_token_id": 1})
    eos = Call(**{**call.__dict__, "pad_token_id": None, "eos_token_id": 1})
    for name, answer in prepared(both).items():
        assert torch.equal(answer, prepared(eos)[name]), name


def test_rows_do_not_see_each_other() -> None:
    rows = torch.randint(0, 3, (4, 9), generator=torch.Generator().manual_seed(1)).tolist()
    together = prepared(Call(rows, eos_token_id=2))
    for b, row in enumerate(rows):
        for name, answer in prepared(Call([row], eos_token_id=2)).items():
            if name != "segment":
                assert torch.equal(answer[0], together[name][b]), name


def test_nothing_else_is_answered_where_nothing_is_wanted() -> None:
    targets = torch.tensor([[1, -100, 9]])
    answers = prepare(targets, None, None, None, VOCAB, False, -100, None, None, "", [])
    assert [answer.tolist() for answer in answers] == [[True, False, True], [1, -1, -1]]
    assert all(answer.data_ptr() != targets.data_ptr() for answer in answers)


def test_the_arguments_stay_as_they_are() -> None:
    call = Call([[1, 1, 2]], [[1, 1, 0]], [[0, 1, 1]], [[0, 0, 1]], shift=True, eos_token_id=2)
    tensors = call.tensors()
    before = {name: tensor.clone() for name, tensor in tensors.items() if tensor is not None}
    answers = prepare(*tensors.values(), VOCAB, *call.ids().values(), WANTS, [2, 3])
    pointers = {tensor.untyped_storage().data_ptr() for tensor in (*answers, *before.values())}
    assert len(pointers) == len(answers) + len(before)
    for name, tensor in before.items():
        assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("given_", ["targets alone", "everything"])
def test_operator_contract(shift: bool, given_: str) -> None:
    """Schema, fake implementation and tracing agree with the operator."""
    tokens = torch.tensor([[1, 1, 2, 1, 1], [0, 3, -100, 3, 3]])
    others = (tokens.new_ones(2, 5), tokens.clamp(0), tokens // 2) if given_ == "everything" else (None, None, None)
    wants, ngrams = (WANTS, [2, 3, 1, 4]) if given_ == "everything" else ("", [])
    arguments = (tokens, *others, VOCAB, shift, -100, 2, 3, wants, ngrams)
    torch.library.opcheck(torch.ops.ava.prepare.default, arguments)


def test_the_fake_answers_have_the_real_shapes() -> None:
    tokens = torch.randint(0, 3, (2, 7))
    real = prepare(tokens, None, None, None, VOCAB, False, -100, None, None, WANTS, [2, 3, 4, 9])
    fake = prepare(tokens.to("meta"), None, None, None, VOCAB, False, -100, None, None, WANTS, [2, 3, 4, 9])
    assert [(a.shape, a.dtype) for a in real] == [(a.shape, a.dtype) for a in fake]
