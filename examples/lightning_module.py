"""Lightning: the loss is a submodule, so its state is in every checkpoint; the callback logs every term.

python examples/lightning_module.py
"""

from __future__ import annotations

from typing import Any

import tiny
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import ava
from ava.integrations.lightning import LossCallback


class Rows(Dataset[dict[str, Tensor]]):
    """One row at a time."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[0] for name, value in tiny.batch(index, rows=1).items()}


class LanguageModel(LightningModule):
    """A model with its loss."""

    def __init__(self, loss: ava.Loss) -> None:
        super().__init__()
        self.model = tiny.TinyLM()
        self.loss = loss

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        return self.loss(self.model(batch["input_ids"]), return_detailed=True, **batch).total_loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        self.loss(self.model(batch["input_ids"]), return_detailed=True, **batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main() -> None:
    arguments = tiny.options(__doc__)
    module = LanguageModel(tiny.make_loss(arguments))
    settings: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_steps=arguments.steps,
        log_every_n_steps=1,
        logger=CSVLogger("runs", name="lightning"),
        callbacks=[LossCallback()],
        **settings,
    )
    loader = DataLoader(Rows(), batch_size=4)
    trainer.fit(module, loader)
    (found,) = trainer.validate(module, loader, verbose=False)
    print(f"step {int(module.loss.state.step)}: perplexity {found['val/metrics/perplexity']:.1f}")


if __name__ == "__main__":
    main()
