"""The collectives of a compiled graph: in one piece, one for each call, and the same numbers as one process."""

from __future__ import annotations

import pytest
import torch

from tests.distributed.ranks import Ranks
from tests.distributed.training import Job, Trained, batch_of, one_process, rows_of, train_rank

ACROSS = {"reduction.across": "data_parallel"}
COMPILED = {**ACROSS, "compile.enabled": True}


def counted(job: Job) -> tuple[int, int]:
    """All-reduces of a call in training after the first one, and its graph breaks."""
    trained = Trained(job.preset, job.settings)
    (piece,) = rows_of(batch_of(0, job), job, torch.distributed.get_rank())
    trained(piece).backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trained(piece).backward()
    reduces = sum(event.count for event in profile.key_averages() if event.key == "gloo:all_reduce")
    return reduces, sum(torch._dynamo.utils.counters["graph_break"].values())


@pytest.mark.compiled
def test_a_compiled_call_has_one_collective(ranks: Ranks) -> None:
    assert ranks.run(counted, Job("moe", settings=COMPILED)) == [(1, 0), (1, 0)]


@pytest.mark.compiled
def test_compiled_ranks_are_one_process(ranks: Ranks) -> None:
    job = Job("moe", steps=4, settings=COMPILED)
    found, expected = ranks.run(train_rank, job), one_process(Job("moe", steps=4))
    mean = [sum(losses) / 2 for losses in zip(*(rank.losses for rank in found), strict=True)]
    assert mean == pytest.approx(expected.losses, rel=1e-9)
    for rank in found:
        for name, value in expected.parameters.items():
            torch.testing.assert_close(rank.parameters[name], value, rtol=1e-9, atol=1e-11)
        for name, value in expected.state.items():
            torch.testing.assert_close(rank.state[name], value, rtol=1e-9, atol=1e-11)


def test_an_uncompiled_call_has_one_collective(ranks: Ranks) -> None:
    assert [reduces for reduces, _ in ranks.run(counted, Job("moe", settings=ACROSS))] == [1, 1]
    assert [reduces for reduces, _ in ranks.run(counted, Job("moe"))] == [0, 0]
