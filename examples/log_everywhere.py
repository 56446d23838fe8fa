"""Logging: one answer of the loss to a JSON-lines file, to TensorBoard and to Weights & Biases.

python examples/log_everywhere.py
tensorboard --logdir runs/logged
"""

from __future__ import annotations

from pathlib import Path

import tiny
import torch
from torch.utils.tensorboard import SummaryWriter

from ava.integrations.logging import BatchedLogger, JsonlLogger, TensorBoardLogger, WandbLogger

FOLDER = Path("runs/logged")


def loggers(writer: SummaryWriter) -> list[BatchedLogger]:
    """Those that are installed; each reads the device once in ten steps."""
    found = [JsonlLogger(FOLDER / "log.jsonl", every=10), TensorBoardLogger(writer, every=10)]
    try:
        import wandb
    except ImportError:
        return found
    return [*found, WandbLogger(wandb.init(mode="offline", dir=FOLDER), every=10)]


def main() -> None:
    arguments = tiny.options(__doc__)
    model, loss_fn = tiny.TinyLM(), tiny.make_loss(arguments)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    writer = SummaryWriter(str(FOLDER))
    everywhere = loggers(writer)
    for number, (batch,) in enumerate(tiny.windows(arguments.steps, 1), 1):
        out = loss_fn(model(batch["input_ids"]), return_detailed=True, **batch)
        out.backward()
        optimizer.step()
        optimizer.zero_grad()
        for logger in everywhere:
            logger.log(number, out, lr=optimizer.param_groups[0]["lr"])
    for logger in everywhere:
        logger.close()
    writer.close()
    print(f"step {arguments.steps}: {', '.join(name for name in out.log_dict() if name.startswith('loss/'))}")


if __name__ == "__main__":
    main()
