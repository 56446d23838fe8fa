"""The callback in a real ``Trainer``: what is logged, when a step closes, and what a checkpoint holds."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ava import Loss
from ava.errors import ArgumentValueError

pytest.importorskip("lightning")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from ava.integrations.lightning import LossCallback, find_loss

warnings.filterwarnings("ignore", module="lightning")


class Data(Dataset[Tensor]):
    """Rows of nine tokens, some of them ignored."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Tensor:
        row = torch.randint(0, 7, (9,), generator=torch.Generator().manual_seed(index))
        return row.masked_fill(torch.arange(9) > 3 + index % 6, -100)


class Module(LightningModule):
    """A table of next-token logits; the loss is a submodule, or stays outside."""

    def __init__(self, loss: Loss, inside: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(7, 7)
        if inside:
            self.loss = loss
        else:
            self.outside = [loss]

    def answer(self, batch: Tensor) -> Any:
        loss = self.loss if hasattr(self, "loss") else self.outside[0]
        return loss(self.table(batch.clamp(min=0)), batch, return_detailed=True)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.answer(batch).total_loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.answer(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


def loss_of(**overrides: Any) -> Loss:
    settings = {
        "targets.shift": True,
        "compile.enabled": False,
        "terms.z_loss.weight": {"from": 0.0, "to": 0.1, "steps": 12},
        **overrides,
    }
    return Loss.load("standard", overrides=settings, eos_token_id=0, vocab_size=7)


def trainer(folder: Path, *callbacks: Any, logger: Logger | bool = False, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder, accelerator="cpu", logger=logger, callbacks=list(callbacks), log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, **{"enable_checkpointing": False, **options},
    )  # fmt: skip


def loader(batch: int = 2) -> DataLoader[Tensor]:
    return DataLoader(Data(), batch_size=batch)


def test_every_term_is_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    loss = loss_of()
    trainer(tmp_path, LossCallback(), logger=logger, max_steps=3).fit(Module(loss), loader(), loader(16))
    with Path(logger.log_dir, "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    rows = [{name: float(value) for name, value in row.items() if value} for row in table if row["loss/total"]]
    assert [row["step"] for row in rows] == [0, 1, 2]
    terms = {name for name in rows[0] if name.startswith("loss/")}
    names = {"z_loss", "ngram_penalty", "immediate_repetition_penalty", "eos_penalty"}
    assert terms == {"loss/total", "loss/main", *(f"loss/{name}" for name in names)}
    for row in rows:
        parts = sum(row[name] for name in terms - {"loss/total"})
        assert row["loss/total"] == pytest.approx(parts, rel=1e-5)
    assert rows[0]["loss/z_loss"] == 0 < rows[1]["loss/z_loss"], "the schedule moves with the optimizer"
    assert "metrics/accuracy" in rows[0]


def test_validation_is_the_mean_over_all_tokens(tmp_path: Path) -> None:
    module = Module(loss_of())
    run = trainer(tmp_path, LossCallback(prefix="lm/"))
    (found,) = run.validate(module, loader(3), verbose=False)
    assert int(module.loss.state.step) == 0
    whole = module.eval().answer(next(iter(loader(16))))
    assert found["lm/val/loss/main"] == pytest.approx(float(whole["main_loss"]), rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_is_a_step_of_the_optimizer(tmp_path: Path, accumulate: int) -> None:
    loss = loss_of()
    callback = LossCallback()
    run = trainer(tmp_path, callback, max_epochs=1, accumulate_grad_batches=accumulate)
    module = Module(loss)
    run.fit(module, loader())
    assert int(loss.state.step) == run.global_step == 8 // accumulate
    assert int(loss.state.observed) == 8 // accumulate
    assert not loss._forward_hooks


class Kept(Module):
    """Gives the same optimizer to every ``fit``."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if not hasattr(self, "kept"):
            self.kept = super().configure_optimizers()
        return self.kept


def test_a_second_fit_does_not_close_twice(tmp_path: Path) -> None:
    loss, callback = loss_of(), LossCallback()
    module = Kept(loss)
    for steps in (2, 5):
        trainer(tmp_path, callback, max_steps=steps).fit(module, loader())
    assert int(loss.state.step) == 7


@pytest.mark.parametrize("inside", [True, False], ids=["submodule", "outside"])
def test_resuming_is_bit_identical(tmp_path: Path, inside: bool) -> None:
    def fit(epochs: int, checkpoint: str | None = None) -> tuple[Module, Trainer]:
        loss = loss_of()
        module = Module(loss, inside)
        callback = LossCallback() if inside else LossCallback(loss)
        run = trainer(tmp_path, callback, max_epochs=epochs)
        run.fit(module, loader(), ckpt_path=checkpoint)
        return module, run

    straight, _ = fit(2)
    _, run = fit(1)  # Lightning does not resume a plain loader in the middle of an epoch
    run.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = fit(2, str(tmp_path / "half.ckpt"))
    assert torch.equal(straight.table.weight, resumed.table.weight)
    left, right = (m.loss if inside else m.outside[0] for m in (straight, resumed))
    for name, value in left.state_dict().items():
        assert torch.equal(value, right.state_dict()[name]), name
    assert int(right.state.step) == 16
    assert float(right.state.temperature) != 1.0
    held = torch.load(tmp_path / "half.ckpt", weights_only=False)
    assert any(name.endswith("state.step") for name in held["state_dict"]) is inside


def test_a_loss_outside_with_parameters_is_refused(tmp_path: Path) -> None:
    loss = loss_of(balancing="uncertainty")
    with pytest.raises(ArgumentValueError, match=r"self\.loss = loss"):
        trainer(tmp_path, LossCallback(loss), max_steps=1).fit(Module(loss, inside=False), loader())
    with pytest.raises(ArgumentValueError, match="`optimizer` should be below 1"):
        trainer(tmp_path, LossCallback(optimizer=1), max_steps=1).fit(Module(loss_of()), loader())


def test_finding_the_loss() -> None:
    loss = loss_of()
    assert find_loss(Module(loss)) is loss
    for module in (nn.Linear(1, 1), nn.ModuleList([loss_of(), loss_of()])):
        with pytest.raises(ArgumentValueError, match="should have one"):
            find_loss(module)
