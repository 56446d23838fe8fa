"""Gradient accumulation three ways, and runs that stop in the middle of a window."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ava import Loss
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.integrations.distributed import count_items, window_items

MICRO, STEPS = 4, 13


def loss_of(**overrides: Any) -> Loss:
    settings = {
        "compile.enabled": False,
        "terms.ngram_penalty.size": 1,
        "terms.z_loss.weight": {"from": 0.0, "to": 0.5, "steps": 20, "delay": 2, "shape": "cosine"},
        **overrides,
    }
    return Loss.load("standard", overrides=settings, eos_token_id=0, vocab_size=7)


def window(step: int, unequal: bool) -> list[dict[str, Tensor]]:
    rng = torch.Generator().manual_seed(step)
    out = []
    for index in range(MICRO):
        tokens = torch.randint(1, 7, (2, 9), generator=rng)
        valid = 1 + 2 * index if unequal else 5
        mask = (torch.arange(8) < valid).long().expand(2, -1)
        out.append({"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "attention_mask": mask})
    return out


def table() -> nn.Embedding:
    rng = torch.Generator().manual_seed(0)
    return nn.Embedding.from_pretrained(0.1 * torch.randn(7, 7, generator=rng, dtype=torch.float64), freeze=False)


class Run:
    """A model, its loss and its optimizer."""

    def __init__(self, way: str, unequal: bool) -> None:
        self.way, self.unequal = way, unequal
        self.model = table()
        self.loss = loss_of(**({"reduction.gradient_accumulation_steps": MICRO} if way in ("config", "items") else {}))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        if way == "attach":
            self.loss.attach(self.optimizer)

    def micro_step(self, number: int) -> None:
        """One call, and the optimizer's step where the window ends."""
        step, index = divmod(number, MICRO)
        batches = window(step, self.unequal)
        if self.way == "whole":
            if index:
                return
            batches = [{name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}]
        batch = batches[index]
        items = window_items(self.loss, batches) if self.way in ("items", "attach") else None
        total = self.loss(
            self.model(batch["tokens"]), batch["targets"], attention_mask=batch["attention_mask"], num_items=items
        )
        (total / MICRO if self.way == "config" else total).backward()
        if index == MICRO - 1 or self.way == "whole":
            self.optimizer.step()
            self.optimizer.zero_grad()

    def train(self, numbers: Sequence[int]) -> Run:
        for number in numbers:
            self.micro_step(number)
        return self

    def checkpoint(self) -> dict[str, Any]:
        """Everything that a stop in the middle of a window has to keep, the gradients included."""
        gradients = None if self.model.weight.grad is None else self.model.weight.grad.clone()
        parts = (self.model, self.loss, self.optimizer)
        return {"parts": [copy.deepcopy(part.state_dict()) for part in parts], "gradients": gradients}

    def resume(self, held: dict[str, Any]) -> Run:
        for part, state in zip((self.model, self.loss, self.optimizer), held["parts"], strict=True):
            part.load_state_dict(state)
        self.model.weight.grad = held["gradients"]
        return self


def state(run: Run) -> dict[str, Tensor]:
    return dict(run.loss.state.named_buffers())


@pytest.mark.parametrize("way", ["config", "items", "attach"])
def test_equal_micro_batches_agree_whichever_way(way: str) -> None:
    found, expected = (Run(w, unequal=False).train(range(MICRO * STEPS)) for w in (way, "whole"))
    torch.testing.assert_close(found.model.weight, expected.model.weight, rtol=1e-9, atol=1e-12)
    for name, value in state(expected).items():
        torch.testing.assert_close(state(found)[name], value, rtol=1e-9, atol=1e-12)
    assert int(found.loss.state.step) == STEPS
    assert float(found.loss.state.temperature) != 1.0


@pytest.mark.parametrize("way", ["items", "attach"])
def test_unequal_micro_batches_need_num_items(way: str) -> None:
    found, expected = (Run(w, unequal=True).train(range(MICRO * STEPS)) for w in (way, "whole"))
    torch.testing.assert_close(found.model.weight, expected.model.weight, rtol=1e-9, atol=1e-12)
    mean_of_means = Run("config", unequal=True).train(range(MICRO))
    whole = Run("whole", unequal=True).train(range(MICRO))
    assert not torch.allclose(mean_of_means.model.weight, whole.model.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("way", ["config", "items", "attach"])
@pytest.mark.parametrize("stop", [3, MICRO, MICRO * 5 + 2, MICRO * 12 + 1])
def test_stopping_anywhere_changes_no_bit(way: str, stop: int) -> None:
    """In the middle of a window, and of the schedule of a weight."""
    total = range(MICRO * (STEPS + 1))
    straight = Run(way, unequal=True).train(total)
    held = Run(way, unequal=True).train(total[:stop]).checkpoint()
    resumed = Run(way, unequal=True).resume(held).train(total[stop:])
    assert torch.equal(straight.model.weight, resumed.model.weight)
    for name, value in state(straight).items():
        assert torch.equal(value, state(resumed)[name]), name


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("pad", [None, 0, 3])
def test_items_are_counted_as_the_loss_counts(shift: bool, pad: int | None) -> None:
    overrides = {"targets.shift": shift, "model.pad_token_id": pad}
    loss = Loss.load("fast_prototype", overrides={"compile.enabled": False, **overrides}, eos_token_id=0)
    rng = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 5, (3, 8), generator=rng)
    targets[0, :4] = -100
    mask = torch.ones(3, 8)
    mask[1, 5:] = 0
    out = loss(torch.zeros(3, 8, 5), targets, attention_mask=mask, return_detailed=True)
    assert count_items(loss, targets, mask).item() == int(out["metrics/tokens"])
    assert window_items(loss, [{"labels": targets, "attention_mask": mask}] * 3, averages=2).item() == pytest.approx(
        1.5 * int(out["metrics/tokens"])
    )
    assert count_items(loss, targets[2]).item() == count_items(loss, targets[2:]).item()


def test_wrong_arguments() -> None:
    loss = loss_of()
    for call, kind, part in (
        (lambda: count_items(loss, [1]), ArgumentTypeError, "`targets`.*list"),
        (lambda: count_items(loss, torch.zeros(2, 2)), ArgumentValueError, "integer"),
        (lambda: count_items(loss, torch.ones(2, 2).long(), torch.ones(2)), ArgumentValueError, "`attention_mask`"),
        (lambda: window_items(loss, []), ArgumentValueError, "empty"),
        (lambda: window_items(loss, [{"input": 1}]), ArgumentValueError, "holds input"),
    ):
        with pytest.raises(kind, match=part):
            call()
