"""DeepSpeed's ZeRO on two ranks, against one process. Skipped where DeepSpeed is not installed."""

from __future__ import annotations

import pytest
import torch

from tests.distributed.ranks import Ranks
from tests.distributed.training import Job, one_process
from tests.distributed.zero import train_zero

pytest.importorskip("deepspeed")


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("preset", ["standard", "moe", "mtp"])
def test_zero(ranks: Ranks, preset: str, stage: int) -> None:
    job = Job(preset, steps=12, settings={"reduction.across": "data_parallel"})
    found, expected = ranks.run(train_zero, job, stage, 29650), one_process(job)
    mean = [sum(losses) / 2 for losses in zip(*(rank.losses for rank in found), strict=True)]
    assert mean == pytest.approx(expected.losses, rel=1e-5)
    for rank in found:
        for name, value in expected.parameters.items():
            torch.testing.assert_close(rank.parameters[name].double(), value, rtol=1e-4, atol=1e-5)
        for name, value in expected.state.items():
            torch.testing.assert_close(rank.state[name], value, rtol=1e-5, atol=1e-6)
