"""DistributedDataParallel: ranks with different numbers of tokens train as one process on the whole batch.

torchrun --standalone --nproc-per-node 2 examples/ddp.py
"""

from __future__ import annotations

import contextlib

import tiny
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import ava
from ava.integrations.distributed import window_items

ACCUMULATE = 2


class Trained(nn.Module):
    """A model with its loss: wrapped together, the gradients of a loss with parameters are averaged too."""

    def __init__(self, model: nn.Module, loss: ava.Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: dict[str, Tensor], items: Tensor) -> Tensor:
        total: Tensor = self.loss(self.model(batch["input_ids"]), num_items=items, **batch)
        return total


def main() -> None:
    arguments = tiny.options(__doc__)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    settings = {"reduction.across": "data_parallel", "reduction.gradient_accumulation_steps": ACCUMULATE}
    trained = Trained(tiny.TinyLM(), tiny.make_loss(arguments, **settings))
    wrapped = DistributedDataParallel(trained)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=3e-3)

    for number, window in enumerate(tiny.windows(arguments.steps, ACCUMULATE, rank), 1):
        items = window_items(trained.loss, window)  # tokens of all ranks ÷ ranks: DDP averages gradients
        total = torch.zeros(())
        for index, batch in enumerate(window):
            last = index == ACCUMULATE - 1
            with contextlib.nullcontext() if last else wrapped.no_sync():
                loss = wrapped(batch, items)
                loss.backward()
            total += loss.detach()
        optimizer.step()
        optimizer.zero_grad()
        torch.distributed.all_reduce(total)
        if rank == 0 and (number % 10 == 0 or number == arguments.steps):
            print(f"step {int(trained.loss.state.step)}: loss {total.item() / torch.distributed.get_world_size():.3f}")

    if rank == 0:  # the state is the same on all ranks, and loads on any number of them
        print(f"saved {len(trained.state_dict())} tensors")
    torch.distributed.barrier()  # nothing is under way when the group goes: torch 2.13 can deadlock there
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
