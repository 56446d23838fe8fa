"""Rows whose positions are split over ranks: exact for terms on one position, refused for those that look around."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from ava.errors import ArgumentValueError
from ava.integrations.distributed import check_split_positions, looks_around
from tests.distributed.ranks import Ranks

ALONE = {"focal_loss": {}, "z_loss": {"weight": 0.1}, "token_diversity_loss": {}, "distillation_loss": {}}
AROUND = (
    "immediate_repetition_penalty",
    "ngram_penalty",
    "eos_penalty",
    "mtp_loss",
    "contrastive_loss",
)


def inputs() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 7, (2, 8), generator=rng)
    targets[0, 1:6] = -100  # 1 and 2 valid positions in the parts of row 0
    return {
        "logits": torch.randn(2, 8, 7, generator=rng, dtype=torch.float64),
        "targets": targets,
        "teacher_logits": torch.randn(2, 8, 7, generator=rng, dtype=torch.float64),
    }


def loss_of(terms: dict[str, Any], **model: Any) -> Loss:
    return Loss.load(
        {
            "version": 1,
            "primary": {"label_smoothing": 0.1},
            "terms": terms,
            "model": model,
            "reduction": {"across": "data_parallel"},
            "compile": {"enabled": False},
        }
    )


def part(terms: dict[str, Any]) -> tuple[float, Tensor]:
    """The loss of one rank's positions, and its gradient."""
    rank = torch.distributed.get_rank()
    given = {name: value[:, 4 * rank : 4 * rank + 4] for name, value in inputs().items()}
    given["logits"] = given["logits"].clone().requires_grad_()
    loss = loss_of(terms)(**given)
    loss.backward()
    return loss.item(), given["logits"].grad


def test_terms_on_one_position_are_exact(ranks: Ranks) -> None:
    found = ranks.run(part, ALONE)
    given = inputs()
    given["logits"].requires_grad_()
    expected = loss_of(ALONE)(**given)
    expected.backward()
    assert sum(loss for loss, _ in found) / 2 == pytest.approx(expected.item(), rel=1e-12)
    # what averaging over ranks makes of them
    torch.testing.assert_close(torch.cat([gradient for _, gradient in found], 1) / 2, given["logits"].grad)
    check_split_positions(loss_of(ALONE))


def test_terms_that_look_around_are_refused() -> None:
    loss = loss_of({**ALONE, **{name: {} for name in AROUND}}, eos_token_id=0)
    assert sorted(looks_around(loss)) == sorted(AROUND)
    with pytest.raises(ArgumentValueError, match=r"`ngram_penalty`.*neighbouring positions"):
        check_split_positions(loss)
    with pytest.raises(ArgumentValueError, match=r"targets\.shift"):
        check_split_positions(Loss.load("fast_prototype", overrides={"targets.shift": True}))


def test_why_they_are_refused(ranks: Ranks) -> None:
    """An n-gram that began on the other rank is not seen."""
    terms = {"ngram_penalty": {"size": 1, "window": 8, "weight": 1.0}}
    found = ranks.run(part, terms)
    given = inputs()
    assert sum(loss for loss, _ in found) / 2 < float(loss_of(terms)(**given)) - 1e-3
