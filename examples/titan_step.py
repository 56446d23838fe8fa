"""torchtitan: what its trainer does in a step, with a stand-in for the trainer, which needs GPUs.

In a `TrainSpec`: `build_loss_fn=ava.integrations.torchtitan.build_loss_fn("standard", vocab_size=…)`.

    python examples/titan_step.py
"""

from __future__ import annotations

import tiny
import torch

from ava.integrations.torchtitan import build_loss_fn

ACCUMULATE = 2


def main() -> None:
    arguments = tiny.options(__doc__)
    loss_fn = build_loss_fn(tiny.make_loss(arguments))(job_config=None)
    model = tiny.TinyLM()
    optimizers = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_fn.loss.attach(optimizers)

    for number, window in enumerate(tiny.windows(arguments.steps, ACCUMULATE), 1):
        labels = [batch["targets"].masked_fill(batch["attention_mask"] == 0, -100) for batch in window]
        global_valid_tokens = torch.stack([(each != -100).sum() for each in labels]).sum().float()
        total = torch.zeros(())
        for batch, each in zip(window, labels, strict=True):
            loss, _ = loss_fn(model(batch["input_ids"]), each, global_valid_tokens)
            loss.backward()
            total += loss.detach()
        optimizers.step()
        optimizers.zero_grad()
        if number % 10 == 0 or number == arguments.steps:
            print(f"step {int(loss_fn.loss.state.step)}: loss {total.item():.3f}")


if __name__ == "__main__":
    main()
