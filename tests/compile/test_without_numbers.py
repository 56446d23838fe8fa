"""A whole training step on ``meta`` tensors, which hold no numbers: nothing in it can wait for one.

The dispatch mode in ``test_compiled`` watches a CPU call; here also what only an accelerator runs is executed, and the
inside of the operators, which a dispatch mode does not see.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from ava.compile.prepare import _prepare
from ava.compile.put import _put
from ava.config.roster import ROSTER
from tests.laws.table import floats
from tests.reference import samples
from tests.reference.samples import Sample


def everything() -> Sample:
    return samples.sample(
        3, eos=2, pad=0, padding="right", length=12, batch=3, hidden=6, experts=4, layers=2, teacher=True,
        packed="ids", with_input_ids=True, num_items=40.0,
    )  # fmt: skip


def on_meta(sample: Sample, dtype: torch.dtype) -> dict[str, Any]:
    return sample.leaves(dtype, "meta").inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("method", ["gradient", "loss_free"])
def test_a_training_step_waits_for_no_number(method: str, detailed: bool, dtype: torch.dtype) -> None:
    sample = everything()
    terms: dict[str, dict[str, Any]] = {name: {} for name in ROSTER}
    terms |= {"moe_balance_loss": {"method": method}, "mtp_loss": {"weighting": "adaptive", "heads": "shared"}}
    primary = {"type": "deepseek", "label_smoothing": 0.1, "temperature": {"adaptive": True}}
    config = sample.config(terms, primary=primary, balancing="uncertainty", compile={"enabled": False})
    loss = Loss.load(config).to("meta")
    for _ in range(2):
        inputs = on_meta(sample, dtype)
        out = loss(**inputs, return_detailed=detailed)
        total = out["total_loss"] if detailed else out
        total.backward()
        loss.close_step()
        assert (total.device.type, total.dtype, total.shape) == ("meta", torch.float32, ())
        reached = {name for name, leaf in floats(inputs) if leaf.grad is not None}
        assert reached == {"logits", "hidden_states", "gate_logits.0", "gate_logits.1", "expert_outputs"}
    assert {buffer.device.type for buffer in loss.buffers()} == {"meta"}
    assert loss.state.temperature.dtype == torch.float64


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("given", ["targets", "segment_ids", "eos"])
def test_preparation_waits_for_no_number(given: str, shift: bool) -> None:
    tokens = torch.zeros(2, 9, dtype=torch.int64, device="meta")
    others: list[Tensor | None] = [tokens, tokens, tokens] if given == "segment_ids" else [None, None, None]
    eos = 3 if given == "eos" else None
    answers = _prepare(tokens, *others, 11, shift, -100, eos, 5, "before context run segment", [4, 50, 1, 3])
    assert [tuple(answer.shape) for answer in answers] == [(18,)] * 6 + [(18, 50), (18, 3)]


def test_writing_columns_waits_for_no_number() -> None:
    rows, columns = torch.empty(4, 9, device="meta"), torch.zeros(4, 2, dtype=torch.int64, device="meta")
    assert _put(rows, columns, torch.empty(4, 2, device="meta")) is None
