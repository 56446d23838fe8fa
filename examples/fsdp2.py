"""FSDP2 (`fully_shard`): parameters in shards, the loss's state whole and the same on every rank.

torchrun --standalone --nproc-per-node 2 examples/fsdp2.py
"""

from __future__ import annotations

import tiny
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard


def main() -> None:
    arguments = tiny.options(__doc__)
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    torch.manual_seed(0)
    model = tiny.TinyLM()
    # tokens are counted over all ranks, because FSDP averages gradients over them
    loss_fn = tiny.make_loss(arguments, **{"reduction.across": "data_parallel"})
    mesh = torch.distributed.init_device_mesh("cpu", (world,))
    fully_shard(model.head, mesh=mesh)
    fully_shard(model, mesh=mesh)
    # a loss with parameters of its own (heads of mtp_loss, learned balance) is sharded like a layer
    if any(True for _ in loss_fn.parameters()):
        fully_shard(loss_fn, mesh=mesh)
    parameters = [*model.parameters(), *loss_fn.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    loss_fn.attach(optimizer)

    for number, (batch,) in enumerate(tiny.windows(arguments.steps, 1, rank), 1):
        loss = loss_fn(model(batch["input_ids"]), **batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        mean = loss.detach().clone()
        torch.distributed.all_reduce(mean)
        if rank == 0 and (number % 10 == 0 or number == arguments.steps):
            print(f"step {int(loss_fn.state.step)}: loss {mean.item() / world:.3f}")

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    saved = {"model": get_model_state_dict(model, options=whole), "loss": loss_fn.state_dict()}
    if rank == 0:
        print(f"saved {sum(len(part) for part in saved.values())} tensors")
    torch.distributed.barrier()  # nothing is under way when the group goes: torch 2.13 can deadlock there
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
