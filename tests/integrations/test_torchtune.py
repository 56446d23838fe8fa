"""The call of torchtune's recipes, as they document it: a mean that is weighed by the labels that count."""

from __future__ import annotations

import sys
import types
from abc import ABC, abstractmethod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ava import Loss
from ava.errors import ArgumentValueError
from ava.integrations.torchtune import TuneLoss

OFF = {"compile.enabled": False}
V, H = 7, 4


class Decoder(nn.Module):
    """The parts of torchtune's decoder that a loss touches: an output layer that can be left out or cut."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(V, H)
        self.output = nn.Linear(H, V, bias=False)
        self.skip_output_layer = False
        self.num_output_chunks = 0

    def set_num_output_chunks(self, number: int) -> None:
        self.num_output_chunks = number

    def forward(self, tokens: Tensor) -> Tensor | list[Tensor]:
        hidden = self.embedding(tokens)
        if self.skip_output_layer:
            return hidden
        if self.num_output_chunks:
            return [self.output(part) for part in hidden.tensor_split(self.num_output_chunks, dim=1)]
        return self.output(hidden)


def window() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    out = []
    for valid in (1, 6):
        tokens = torch.randint(1, 4, (2, 7), generator=rng)
        labels = tokens[:, 1:].clone()
        labels[:, valid:] = -100
        out.append((tokens[:, :-1], labels))
    return out


def step(loss_fn: Any, model: Decoder) -> tuple[float, list[Tensor]]:
    """What a recipe does in one optimizer step on one rank: weigh, add up, scale the gradients."""
    running, tokens = 0.0, torch.zeros(())
    for inputs, labels in window():
        count = (labels != loss_fn.ignore_index).sum()
        tokens = tokens + count
        loss = loss_fn(model(inputs), labels) * count
        running += loss.item()
        loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad /= tokens
    return running / tokens.item(), [parameter.grad for parameter in model.parameters()]


def whole(loss: Loss, model: Decoder) -> tuple[float, list[Tensor]]:
    inputs, labels = (torch.cat(parts) for parts in zip(*window(), strict=True))
    total = loss(model(inputs), labels)
    total.backward()
    return total.item(), [parameter.grad for parameter in model.parameters()]


def loss_of(preset: str) -> Loss:
    more = {"terms.ngram_penalty.size": 1} if preset == "standard" else {}
    return Loss.load(preset, overrides={**OFF, **more}, eos_token_id=0, vocab_size=V)


@pytest.mark.parametrize("options", [{}, {"num_output_chunks": 3}, {"linear": True}], ids=str)
@pytest.mark.parametrize("preset", ["fast_prototype", "standard"])
def test_a_step_is_the_mean_over_its_tokens(preset: str, options: dict[str, Any]) -> None:
    model, tune = Decoder(), TuneLoss(loss_of(preset), **options)
    tune.set_model_output(model)
    assert tune.apply_compile_strategy(backend="inductor") is tune
    found, expected = step(tune, model), whole(loss_of(preset), Decoder())
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-7)
    assert not list(tune.parameters()), "the model's output layer is not the loss's"


def test_plain_cross_entropy_is_the_recipes_own() -> None:
    class Stock:
        ignore_index = -100

        def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)

    found, expected = step(TuneLoss(loss_of("fast_prototype")), Decoder()), step(Stock(), Decoder())
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-7)


def test_flattened_rows_are_refused_where_it_matters() -> None:
    logits, labels = torch.zeros(6, V), torch.ones(6, dtype=torch.int64)
    assert float(TuneLoss(loss_of("fast_prototype"))(logits, labels)) == pytest.approx(1.9459, rel=1e-4)
    with pytest.raises(ArgumentValueError, match="flattened to one row"):
        TuneLoss(loss_of("standard"))(logits, labels)


def test_it_makes_itself_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe leaves the rows of a loss alone that is an ``SFTLoss``."""

    class SFTLoss(ABC):
        @abstractmethod
        def set_model_output(self, model: nn.Module) -> None: ...

    package, modules, module = (types.ModuleType(name) for name in ("torchtune", "modules", "loss"))
    module.SFTLoss = SFTLoss  # type: ignore[attr-defined]
    for name, value in (("torchtune", package), ("torchtune.modules", modules), ("torchtune.modules.loss", module)):
        monkeypatch.setitem(sys.modules, name, value)
    assert isinstance(TuneLoss(loss_of("fast_prototype")), SFTLoss)


def test_what_cannot_be_right_is_refused() -> None:
    with pytest.raises(ArgumentValueError, match=r"targets\.shift"):
        TuneLoss(Loss.load("fast_prototype", overrides={**OFF, "targets.shift": True}))
    with pytest.raises(ArgumentValueError, match="num_output_chunks"):
        TuneLoss(loss_of("fast_prototype"), linear=True, num_output_chunks=2)
    with pytest.raises(ArgumentValueError, match="set_model_output"):
        TuneLoss(loss_of("fast_prototype"), linear=True)(torch.zeros(1, 2, H), torch.ones(1, 2, dtype=torch.int64))
    model = Decoder()
    model.output = nn.Identity()  # type: ignore[assignment]
    linear = TuneLoss(loss_of("fast_prototype"), linear=True)
    linear.set_model_output(model)
    with pytest.raises(ArgumentValueError, match="leave `linear` out"):
        linear(torch.zeros(1, 2, H), torch.ones(1, 2, dtype=torch.int64))
