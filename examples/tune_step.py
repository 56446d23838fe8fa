"""torchtune: what a recipe does in a step, with a stand-in for the recipe.

In a recipe's configuration: a function of yours as `loss._component_`, which returns `TuneLoss(ava.Loss.load(…))`.

    python examples/tune_step.py
"""

from __future__ import annotations

import tiny
import torch

from ava.integrations.torchtune import TuneLoss

ACCUMULATE = 2


def main() -> None:
    arguments = tiny.options(__doc__)
    settings = {"reduction.gradient_accumulation_steps": ACCUMULATE}
    loss_fn = TuneLoss(tiny.make_loss(arguments, **settings))
    model = tiny.TinyLM()
    loss_fn.set_model_output(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    for number, window in enumerate(tiny.windows(arguments.steps, ACCUMULATE), 1):
        running, tokens = torch.zeros(()), torch.zeros(())
        for batch in window:
            labels = batch["targets"].masked_fill(batch["attention_mask"] == 0, loss_fn.ignore_index)
            count = (labels != loss_fn.ignore_index).sum()
            loss = loss_fn(model(batch["input_ids"]), labels) * count
            loss.backward()
            running, tokens = running + loss.detach(), tokens + count
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= tokens
        optimizer.step()
        optimizer.zero_grad()
        if number % 10 == 0 or number == arguments.steps:
            print(f"step {int(loss_fn.loss.state.step)}: loss {(running / tokens).item():.3f}")


if __name__ == "__main__":
    main()
