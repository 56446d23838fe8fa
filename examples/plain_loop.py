"""A plain PyTorch loop: accumulation over unequal micro-batches, mixed precision, a log file, a checkpoint.

python examples/plain_loop.py --steps 20
ava-loss report runs/plain/log.jsonl
"""

from __future__ import annotations

from pathlib import Path

import tiny
import torch

from ava.integrations.distributed import window_items
from ava.integrations.logging import JsonlLogger

ACCUMULATE = 4
FOLDER = Path("runs/plain")


def main() -> None:
    arguments = tiny.options(__doc__)
    model, loss_fn = tiny.TinyLM(), tiny.make_loss(arguments)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_fn.attach(optimizer)  # an optimizer step is the loss's step, however many calls it took
    scaler = torch.amp.GradScaler("cpu")  # a step that it skips closes nothing

    with JsonlLogger(FOLDER / "log.jsonl", every=10) as logger:
        for number, window in enumerate(tiny.windows(arguments.steps, ACCUMULATE), 1):
            items = window_items(loss_fn, window)  # so that every token counts the same
            for batch in window:
                with torch.autocast("cpu", dtype=torch.float16):
                    logits = model(batch["input_ids"])
                out = loss_fn(logits, num_items=items, return_detailed=True, **batch)
                scaler.scale(out.total_loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            logger.log(number, out)
            if number % 10 == 0 or number == arguments.steps:
                print(f"step {number}: perplexity {out['metrics/perplexity'].item():.1f}")

    state = {"model": model.state_dict(), "loss": loss_fn.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, FOLDER / "checkpoint.pt")


if __name__ == "__main__":
    main()
