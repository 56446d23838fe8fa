"""The installed term against its formula, in YAML, in the plan and in the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ava_overconfidence import OverconfidencePenalty
from torch import Tensor

from ava import Config, Loss, Plan
from ava.plan.explain import explain

YAML = Path(__file__).parents[1] / "loss.yaml"
FLOOR = 1.5


def reference(logits: Tensor, targets: Tensor, valid: Tensor, floor: float) -> Tensor:
    """The formula, written out."""
    log_p = logits.double().log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    wrong = 1 - log_p.gather(-1, targets[..., None])[..., 0].exp()
    return ((wrong * (floor - entropy).clamp(min=0)) * valid).sum() / valid.sum()


def reference_gradient(logits: Tensor, targets: Tensor, valid: Tensor, floor: float) -> Tensor:
    """Its derivative by hand: d(1 - p_y) = -p_y (δ_y - p), d(-H) = p (log p + H), the latter below the floor."""
    log_p = logits.double().log_softmax(-1)
    p = log_p.exp()
    entropy = -(p * log_p).sum(-1, keepdim=True)
    hinge = (floor - entropy).clamp(min=0)
    p_y = p.gather(-1, targets[..., None])
    at_target = torch.zeros_like(p).scatter(-1, targets[..., None], 1)
    gradient = -p_y * (at_target - p) * hinge + (1 - p_y) * p * (log_p + entropy) * (hinge > 0)
    return gradient * valid[..., None] / valid.sum()


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Logits sharp enough to fall below the floor in some rows, targets, and a mask."""
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 11, dtype=torch.float64) * torch.linspace(0.5, 4, 15).view(3, 5, 1)
    mask = torch.ones(3, 5)
    mask[2, 3:] = 0
    return logits.requires_grad_(), torch.randint(11, (3, 5)), mask


def load(**term: Any) -> Loss:
    source = {"version": 1, "terms": {"overconfidence_penalty": {"weight": 0.3, "entropy_floor": FLOOR, **term}}}
    return Loss.load(source, overrides={"compile.enabled": False})


def test_value_and_gradient(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, targets, mask = inputs
    out = load()(logits, targets, attention_mask=mask, return_detailed=True)
    expected = reference(logits.detach(), targets, mask, FLOOR)
    assert expected > 0.01
    torch.testing.assert_close(out["raw/overconfidence_penalty"], expected)
    torch.testing.assert_close(out["overconfidence_penalty"], 0.3 * expected)
    (total,) = torch.autograd.grad(out["total_loss"], logits)
    (main,) = torch.autograd.grad(load(weight=0)(logits, targets, attention_mask=mask), logits)
    by_hand = reference_gradient(logits.detach(), targets, mask, FLOOR)
    torch.testing.assert_close(total - main, 0.3 * by_hand)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes(inputs: tuple[Tensor, Tensor, Tensor], dtype: torch.dtype) -> None:
    logits, targets, mask = inputs
    rounded = logits.detach().to(dtype)
    out = load()(rounded, targets, attention_mask=mask, return_detailed=True)
    expected = reference(rounded, targets, mask, FLOOR).float()
    torch.testing.assert_close(out["raw/overconfidence_penalty"], expected)


def test_right_and_certain_costs_nothing() -> None:
    certain = torch.full((1, 2, 7), -30.0)
    certain[..., 3] = 30.0
    right, wrong = torch.tensor([[3, 3]]), torch.tensor([[0, 0]])
    assert load()(certain, right, return_detailed=True)["raw/overconfidence_penalty"].item() == 0
    assert load()(certain, wrong, return_detailed=True)["raw/overconfidence_penalty"].item() == pytest.approx(FLOOR)


def test_the_file_and_its_plan() -> None:
    config = Config.load(YAML, vocab_size=50257, eos_token_id=50256)
    term = config.enabled[-1]
    assert isinstance(term, OverconfidencePenalty)
    assert (term.weight_at(0), term.weight_at(500), term.entropy_floor) == (0.0, 0.05, 1.5)
    assert "overconfidence_penalty" in str(Plan(config))
    told = next(item for item in explain(config).terms if item.name == "overconfidence_penalty")
    assert told.formula == OverconfidencePenalty.formula
    assert Config.load({"version": 1, "terms": {term.name: {}}}).enabled[0] == OverconfidencePenalty.model_validate({})


def test_untrained_value() -> None:
    term = OverconfidencePenalty.model_validate({"entropy_floor": 3.0})
    for size in (5, 50):
        expected = reference(torch.zeros(1, 1, size), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1), 3.0)
        assert term.untrained(size) == pytest.approx(expected.item())


def test_on_every_engine(tmp_path: Path) -> None:
    """Written once: from whole logits, from a head in chunks of rows, and from a shard of the vocabulary."""
    torch.manual_seed(1)
    hidden = torch.randn(2, 9, 4, dtype=torch.float64)
    head = torch.randn(11, 4, dtype=torch.float64) * 2
    targets = torch.randint(11, (2, 9))
    source = {"version": 1, "terms": {"overconfidence_penalty": {"weight": 0.3, "entropy_floor": FLOOR}}}
    loss = Loss.load(source, overrides={"compile.enabled": False, "compile.chunk_tokens": 4}, vocab_size=11)

    def gradients(whole: bool) -> tuple[Tensor, Tensor, Tensor]:
        states, weight = hidden.clone().requires_grad_(), head.clone().requires_grad_()
        given = {"logits": states @ weight.T} if whole else {"hidden_states": states, "lm_head": weight}
        total = loss(**given, targets=targets)
        return total.detach(), *torch.autograd.grad(total, (states, weight))

    for mine, expected in zip(gradients(whole=False), gradients(whole=True), strict=True):
        torch.testing.assert_close(mine, expected)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    try:
        shard = loss(hidden @ head.T, targets, process_group=dist.group.WORLD)
        torch.testing.assert_close(shard, loss(hidden @ head.T, targets))
    finally:
        dist.destroy_process_group()
