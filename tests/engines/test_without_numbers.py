"""The `linear` engine on ``meta`` tensors: beside a CPU, where looking is free, it waits for no number."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ava import Loss
from tests.engines.both import everything
from tests.laws.table import floats, together
from tests.reference.samples import Sample

CALLS: dict[str, Sample] = {
    "own_heads": everything(120, num_items=40.0, ignored=0.8),
    "future_states": everything(121, mtp=2, mtp_hidden=True),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_training_step_waits_for_no_number(name: str, detailed: bool, dtype: torch.dtype) -> None:
    sample = CALLS[name]
    terms: dict[str, Any] = {"mtp_loss": {"weighting": "adaptive", "heads": "shared"}, **together(sample)}
    primary = {"type": "deepseek", "label_smoothing": 0.1, "temperature": {"adaptive": True}}
    config = sample.config(
        terms, primary=primary, balancing="uncertainty", compile={"enabled": False, "chunk_tokens": 7}
    )
    loss = Loss.load(config).to("meta")
    for _ in range(2):
        inputs = sample.leaves(dtype, "meta").inputs
        out = loss(**inputs, return_detailed=detailed)
        total = out["total_loss"] if detailed else out
        total.backward()
        loss.close_step()
        assert (total.device.type, total.dtype, total.shape) == ("meta", torch.float32, ())
        leaves = dict(floats(inputs))
        assert {key for key, leaf in leaves.items() if leaf.grad is not None} == set(leaves)
        if name == "own_heads":
            assert all(parameter.grad is not None for parameter in loss.parameters())
