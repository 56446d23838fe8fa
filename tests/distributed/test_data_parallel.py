"""Two ranks with different numbers of tokens train as one process does on the whole batch, for every preset."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.distributed.ranks import Ranks
from tests.distributed.training import PRESETS, Job, Outcome, one_process, saved, train, train_rank

ACROSS = {"reduction.across": "data_parallel"}
CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}


def same(left: dict[str, Tensor], right: dict[str, Tensor], what: str) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], **CLOSE, msg=lambda text, name=name: f"{what} {name}: {text}")


def agree(found: list[Outcome], expected: Outcome) -> None:
    """Mean loss, averaged gradients, parameters and state of the ranks are those of one process."""
    mean = [sum(losses) / len(found) for losses in zip(*(rank.losses for rank in found), strict=True)]
    assert mean == pytest.approx(expected.losses, rel=1e-9)
    for rank in found:
        same(rank.gradients, expected.gradients, "gradient of")
        same(rank.parameters, expected.parameters, "parameter")
        same(rank.state, expected.state, "state")
    for name, value in found[0].state.items():
        assert torch.equal(value, found[1].state[name]), f"the ranks differ in {name}"


@pytest.mark.parametrize("wrap", ["ddp", "fsdp2"])
@pytest.mark.parametrize("preset", PRESETS)
def test_two_ranks_are_one_process(ranks: Ranks, preset: str, wrap: str) -> None:
    job = Job(preset, wrap, settings=ACROSS)
    found, expected = ranks.run(train_rank, job), one_process(job)
    agree(found, expected)
    assert found[0].losses != pytest.approx(found[1].losses), "the ranks should have seen different rows"
    if preset in ("standard", "production", "anti_repetition"):
        initial = 1.2 if preset == "anti_repetition" else 1.0
        assert float(expected.state["state.temperature"]) != initial, "the run should be long enough to move it"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_rank_without_a_valid_position(ranks: Ranks, preset: str) -> None:
    job = Job(preset, steps=3, nothing=True, settings=ACROSS)
    found = ranks.run(train_rank, job)
    agree(found, one_process(job))
    assert found[1].losses == [0.0] * 3


@pytest.mark.parametrize("wrap", ["ddp", "fsdp2"])
@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "moe"])
def test_accumulation_with_num_items(ranks: Ranks, preset: str, wrap: str) -> None:
    """Two micro-batches of unequal size on each rank: the mean over all tokens of the step, and one observation."""
    settings = {**ACROSS, "reduction.gradient_accumulation_steps": 2}
    job = Job(preset, wrap, items=True, micro=2, settings=settings)
    agree(ranks.run(train_rank, job), one_process(Job(preset)))


def test_num_items_alone_is_enough_without_state(ranks: Ranks) -> None:
    job = Job("mtp", items=True)
    agree_but_state(ranks.run(train_rank, job), one_process(job))


def agree_but_state(found: list[Outcome], expected: Outcome) -> None:
    mean = [sum(losses) / len(found) for losses in zip(*(rank.losses for rank in found), strict=True)]
    assert mean == pytest.approx(expected.losses, rel=1e-9)
    for rank in found:
        same(rank.gradients, expected.gradients, "gradient of")
        same(rank.parameters, expected.parameters, "parameter")


def test_without_across_a_mean_of_means_is_something_else(ranks: Ranks) -> None:
    """What the setting is for: each rank divides by its own tokens, and keeps its own history."""
    job = Job("standard")
    found, expected = ranks.run(train_rank, job), one_process(job)
    mean = [sum(losses) / 2 for losses in zip(*(rank.losses for rank in found), strict=True)]
    assert mean[0] != pytest.approx(expected.losses[0], rel=1e-3)
    assert not torch.equal(found[0].state["state.history"], found[1].state["state.history"])


@pytest.mark.parametrize("preset", ["standard", "moe"])
@pytest.mark.parametrize("grows", [True, False], ids=["1 to 2", "2 to 1"])
def test_resuming_on_another_number_of_ranks(ranks: Ranks, preset: str, grows: bool) -> None:
    job = Job(preset, settings=ACROSS)
    expected = one_process(job)
    before, after = Job(preset, steps=6, settings=ACROSS), Job(preset, steps=7, start=6, settings=ACROSS)
    half = train(before) if grows else ranks.run(train_rank, before)[0]
    rest = Job(**{**vars(after), "state": saved(half)})
    found = ranks.run(train_rank, rest) if grows else [train(rest)] * 2
    for rank in found:
        same(rank.parameters, expected.parameters, "parameter")
        same(rank.state, expected.state, "state")
