"""Hugging Face accelerate: it averages over processes and over the micro-batches of a window.

python examples/accelerate_loop.py
accelerate launch --cpu --num_processes 2 examples/accelerate_loop.py
"""

from __future__ import annotations

import tiny
import torch
from accelerate import Accelerator

from ava.integrations.accelerate import num_items, prepare_loss

ACCUMULATE = 2


def main() -> None:
    arguments = tiny.options(__doc__)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
    model, loss_fn = tiny.TinyLM(), tiny.make_loss(arguments, **{"reduction.across": "data_parallel"})
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=3e-3))
    prepare_loss(accelerator, loss_fn, optimizer)

    for number, window in enumerate(tiny.windows(arguments.steps, ACCUMULATE, accelerator.process_index), 1):
        items = num_items(accelerator, loss_fn, window)  # tokens of all processes ÷ (processes x micro-batches)
        total = torch.zeros(())
        for batch in window:
            with accelerator.accumulate(model):
                loss = loss_fn(model(batch["input_ids"]), num_items=items, **batch)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            total += loss.detach() / ACCUMULATE
        mean = accelerator.reduce(total, "mean")
        if number % 10 == 0 or number == arguments.steps:
            accelerator.print(f"step {int(loss_fn.state.step)}: loss {mean.item():.3f}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
