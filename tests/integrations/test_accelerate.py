"""A plain loop under accelerate: the divisor of a window, the step boundary, the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ava import Loss
from ava.errors import ArgumentValueError
from ava.integrations.accelerate import attach, num_items, prepare_loss

accelerate = pytest.importorskip("accelerate")

SETTINGS = {"version": 1, "terms": {"z_loss": {"weight": 0.1}}, "compile": {"enabled": False}}


@pytest.fixture
def accelerator() -> Any:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def window() -> list[dict[str, torch.Tensor]]:
    targets = torch.randint(0, 5, (4, 6), generator=torch.Generator().manual_seed(0))
    targets[:2, 1:] = -100  # 2 tokens in the first micro-batch, 12 in the second
    return [{"targets": targets[:2]}, {"targets": targets[2:]}]


def table() -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(5, 5)


def test_a_window_is_the_mean_over_its_tokens(accelerator: Any) -> None:
    loss, model = Loss.load(SETTINGS), table()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model, optimizer = accelerator.prepare(model, optimizer)
    prepare_loss(accelerator, loss, optimizer)
    batches = window()
    items = num_items(accelerator, loss, batches)
    assert items.item() == 14 / 2
    for batch in batches:
        with accelerator.accumulate(model):
            total = loss(model(batch["targets"].clamp(min=0)), batch["targets"], num_items=items)
            accelerator.backward(total)
            optimizer.step()
            optimizer.zero_grad()
    assert int(loss.state.step) == 1

    once, expected = Loss.load(SETTINGS), table()
    targets = torch.cat([batch["targets"] for batch in batches])
    once(expected(targets.clamp(min=0)), targets).backward()
    torch.testing.assert_close(model.weight, expected.weight - expected.weight.grad)


def test_the_state_is_saved_with_the_rest(accelerator: Any, tmp_path: Path) -> None:
    loss, model = Loss.load(SETTINGS), table()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model, optimizer = accelerator.prepare(model, optimizer)
    prepare_loss(accelerator, loss, optimizer)
    loss.close_step()
    accelerator.save_state(str(tmp_path))
    loss.close_step()
    accelerator.load_state(str(tmp_path))
    assert int(loss.state.step) == 1


def test_wrong_arguments(accelerator: Any) -> None:
    loss = Loss.load({**SETTINGS, "balancing": "uncertainty"})
    with pytest.raises(ArgumentValueError, match=r"accelerator\.prepare"):
        prepare_loss(accelerator, loss, torch.optim.SGD(table().parameters()))
    with pytest.raises(ArgumentValueError, match="Embedding"):
        attach(loss, table())
    plain = torch.optim.SGD(table().parameters())
    assert attach(loss, plain) is loss
