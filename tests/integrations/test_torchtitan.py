"""The call of torchtitan's trainers, as they document it: a sum over tokens ÷ the valid tokens of the step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ava import Loss
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.integrations.torchtitan import TitanLoss, TitanLossConfig, build_loss_fn

OFF = {"compile.enabled": False}


def micro_batches() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    out = []
    for valid in (2, 5, 0):
        labels = torch.randint(1, 7, (2, 5), generator=rng)
        labels[:, valid:] = -100
        out.append((torch.randn(2, 5, 7, generator=rng, dtype=torch.float64), labels))
    return out


def step(loss_fn: Any, newer: bool) -> tuple[float, list[Tensor]]:
    """What a trainer does in one optimizer step: count, call, divide (or let divide), add up."""
    batches = micro_batches()
    tokens = torch.stack([(labels != -100).sum() for _, labels in batches]).sum().float()
    total, gradients = 0.0, []
    for pred, labels in batches:
        pred.requires_grad_()
        loss = loss_fn(pred, labels, tokens)[0] if newer else loss_fn(pred, labels) / tokens
        loss.backward()
        total += loss.item()
        gradients.append(pred.grad)
    return total, gradients


@pytest.mark.parametrize("newer", [False, True], ids=["sum", "quotient"])
def test_plain_cross_entropy_is_the_trainers_own(newer: bool) -> None:
    def stock(pred: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(pred.flatten(0, 1), labels.flatten(), reduction="sum", ignore_index=-100)

    found, gradients = step(TitanLoss(Loss.load("fast_prototype", overrides=OFF)), newer)
    expected, wanted = step(stock, False)
    assert found == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradients, wanted, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("newer", [False, True], ids=["sum", "quotient"])
def test_every_term_is_the_mean_over_the_step(newer: bool) -> None:
    def loss() -> Loss:
        return Loss.load("standard", overrides={**OFF, "terms.z_loss.weight": 0.1}, eos_token_id=0)

    found, gradients = step(TitanLoss(loss()), newer)
    pred, labels = (torch.cat(parts) for parts in zip(*micro_batches(), strict=True))
    pred.requires_grad_()
    expected = loss()(pred, labels)
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(torch.cat(gradients), pred.grad, rtol=1e-6, atol=1e-12)


def test_one_packed_row() -> None:
    loss = Loss.load("fast_prototype", overrides={**OFF, "terms.ngram_penalty": {"size": 1, "weight": 1.0}})
    pred, labels = torch.zeros(6, 5), torch.tensor([1, 2, 1, 3, 2, 4])
    together = TitanLoss(loss)(pred, labels)
    apart = TitanLoss(loss)(pred, labels, positions=torch.tensor([0, 1, 2, 0, 1, 2]))
    assert float(apart) < float(together), "an n-gram of the first document is none of the second"
    with pytest.raises(ArgumentTypeError, match=r"`attention_masks`.*did you mean `attention_mask`"):
        TitanLoss(loss)(pred, labels, attention_masks=None)


def test_what_builds_it() -> None:
    build = build_loss_fn("standard", vocab_size=7, eos_token_id=0)
    training, validation = build(object()), build(object(), parallel_dims=None)
    assert training.loss is not validation.loss
    assert training.loss.config.model.vocab_size == 7
    assert build_loss_fn(training.loss)(None).loss.config is training.loss.config
    made = TitanLossConfig(source="standard", vocab_size=7, eos_token_id=0, with_metrics=False).build(compile_config=1)
    assert made.with_metrics is False
    plain = TitanLoss(Loss.load("fast_prototype", overrides=OFF), with_metrics=False)
    assert isinstance(plain(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.int64), 2.0), Tensor)
    assert isinstance(plain.fn(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.int64)), Tensor)
    with pytest.raises(ArgumentTypeError, match="int"):
        build_loss_fn(3)  # type: ignore[arg-type]


def test_what_cannot_be_right_is_refused() -> None:
    with pytest.raises(ArgumentValueError, match=r"targets\.shift"):
        TitanLoss(Loss.load("fast_prototype", overrides={**OFF, "targets.shift": True}))
    with pytest.raises(ArgumentValueError, match="balancing"):
        TitanLoss(Loss.load("fast_prototype", overrides={**OFF, "balancing": "uncertainty"}))


def test_an_attached_optimizer_closes_the_step() -> None:
    loss = Loss.load("fast_prototype", overrides=OFF)
    parameter = torch.nn.Parameter(torch.zeros(1, 2, 3))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    loss.attach(optimizer)
    titan = TitanLoss(loss)
    for _ in range(3):
        titan(parameter, torch.ones(1, 2, dtype=torch.int64), 6.0)[0].backward()
    assert int(loss.state.step) == 0
    optimizer.step()
    assert int(loss.state.step) == 1
